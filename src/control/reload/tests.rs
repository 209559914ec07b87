use std::process::{Child, Command};

use super::*;

/// A shell, killed at the end of its test.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

impl Shell {
    /// `env` gives it SIGHUP back where these tests are started with the signal
    /// ignored (nohup): a shell cannot trap what was ignored when it started.
    fn start(script: &str) -> Self {
        Self::start_as(Path::new("/bin/sh"), &["-c", script])
    }

    fn start_as(program: &Path, arguments: &[&str]) -> Self {
        let mut env = Command::new("env");
        env.arg("--default-signal=HUP").arg(program).args(arguments);
        Self::begun(env, arguments.iter().any(|one| one.contains("trap")))
    }

    fn begun(mut command: Command, traps: bool) -> Self {
        let shell = Self(command.spawn().unwrap());
        let pid = Pid::from_raw(i32::try_from(shell.0.id()).unwrap()).unwrap();
        let test = program(Path::new("/proc/self/exe"));
        let before = [test, Some("env".into()), None];
        let begin = std::time::Instant::now();
        // During exec(2) a process has its program before its command line.
        let line = format!("/proc/{}/cmdline", shell.0.id());
        let has_no_line = || fs::read(&line).is_ok_and(|line| line.is_empty());
        while before.contains(&shell.program()) || has_no_line() || traps && !catches_hup(pid) {
            assert!(begin.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
        shell
    }

    fn program(&self) -> Option<OsString> {
        program(Path::new(&format!("/proc/{}/exe", self.0.id())))
    }
}

#[test]
fn only_a_process_of_our_program_that_catches_it_is_signalled() {
    let mut shell = Shell::start("trap 'exit 7' HUP; while :; do sleep 0.01; done");
    let test = program(Path::new("/proc/self/exe"));
    let (own, child) = (shell.program(), &mut shell.0);
    assert!(!hang_up(child.id(), test).unwrap());
    assert!(!hang_up(child.id(), None).unwrap());
    assert!(child.try_wait().unwrap().is_none(), "it was signalled");
    assert!(hang_up(child.id(), own.clone()).unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(!hang_up(child.id(), own.clone()).unwrap(), "it has ended");
    for pid in [0, u32::MAX] {
        assert!(!hang_up(pid, None).unwrap());
    }
    let mut shell = Shell::start("while :; do sleep 0.01; done");
    let deaf = &mut shell.0;
    assert!(!hang_up(deaf.id(), own).unwrap(), "it would have ended it");
    assert!(deaf.try_wait().unwrap().is_none());
}

#[test]
fn another_program_is_not_the_agent() {
    let runtime = tempfile::tempdir().unwrap();
    let paths = paths(runtime.path());
    let file = Source::File("/x/other.toml".into());
    assert_eq!(signalled(&paths), Reload::NoAgent);
    // The test's own process, alive and no wslmesh: the signal would end it.
    document_of(std::process::id(), &paths);
    assert!(written(&paths).unwrap().is_some());
    assert_eq!(signalled(&paths), Reload::NoAgent);
    assert_eq!(elsewhere(&file, &paths), None, "whatever it reads");
    fs::write(paths.runtime.join("status.json"), "{").unwrap();
    assert_eq!(signalled(&paths), Reload::NoAgent);
    assert_eq!(elsewhere(&file, &paths), None);
}

fn paths(folder: &Path) -> Paths {
    Paths {
        runtime: folder.to_owned(),
        state: folder.to_owned(),
        lib: folder.to_owned(),
    }
}

/// Writes the status document of an agent that is this process.
fn document_of(pid: u32, paths: &Paths) {
    let text = format!(
        r#"{{"version":1,"pid":{pid},"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[]}}"#
    );
    fs::write(paths.runtime.join("status.json"), text).unwrap();
}

#[test]
fn the_agents_configuration() {
    for (line, file) in [
        (&b"/usr/bin/wslmesh\0run\0"[..], None),
        (b"wslmesh\0run\0--config\0/x/a.toml\0", Some("/x/a.toml")),
        (b"wslmesh\0--config=a.toml\0run\0", Some("a.toml")),
        (b"wslmesh\0--configure\0b\0--config", None),
    ] {
        assert_eq!(config_option(line), file.map(Path::new), "{line:?}");
    }
    // This process has no such option.
    assert_eq!(configuration_of(std::process::id()), Some(Source::System));
    let file = |path: &str| Some(Source::File(path.into()));
    let (absolute, relative) = (b"w\0--config\0/x/a.toml", b"w\0--config\0a.toml");
    assert_eq!(source_of(relative, || Ok("/y".into())), file("/y/a.toml"));
    // Another user cannot read the working directory.
    let denied = || Err(io::ErrorKind::PermissionDenied.into());
    assert_eq!(source_of(absolute, denied), file("/x/a.toml"));
    assert_eq!(source_of(relative, denied), None);
}

#[test]
fn an_agent_with_another_configuration_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(folder.path());
    // A shell that the kernel calls wslmesh.
    let program = folder.path().join("wslmesh");
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    let script = "while :; do sleep 0.01; done";
    let agent = Shell::start_as(&program, &["-c", script, "run", "--config", "/x/own.toml"]);
    let pid = agent.0.id();
    document_of(pid, &paths);
    let file = |path: &str| Source::File(path.into());
    let words = format!(
        "the agent (process {pid}) reads another configuration than /x/other.toml, so it was not asked"
    );
    let other = elsewhere(&file("/x/other.toml"), &paths);
    assert_eq!(other.unwrap().to_string(), words);
    assert_eq!(elsewhere(&file("/x/own.toml"), &paths), None);
    assert!(elsewhere(&Source::System, &paths).is_some());
    let main = Source::File(Source::System.main().to_owned());
    assert!(same(&main, &Source::System));
    assert!(same(&file("/x/a"), &file("/x/./a")) && same(&Source::System, &Source::System));
    assert!(!same(&file("/x/a"), &file("/x/b")) && !same(&Source::System, &file("/x/a")));
}
