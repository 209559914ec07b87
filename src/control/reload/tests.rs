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
        let arguments = ["--default-signal=HUP", "/bin/sh", "-c", script];
        let shell = Self(Command::new("env").args(arguments).spawn().unwrap());
        let pid = Pid::from_raw(i32::try_from(shell.0.id()).unwrap()).unwrap();
        let test = program(Path::new("/proc/self/exe"));
        let before = [test, Some("env".into()), None];
        let begin = std::time::Instant::now();
        while before.contains(&shell.program()) || script.contains("trap") && !catches_hup(pid) {
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
    let paths = Paths {
        runtime: runtime.path().to_owned(),
        state: runtime.path().to_owned(),
        lib: runtime.path().to_owned(),
    };
    assert_eq!(signalled(&paths), Reload::NoAgent);
    // The test's own process, alive and no wslmesh: the signal would end it.
    let own = std::process::id();
    let text = format!(
        r#"{{"version":1,"pid":{own},"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[]}}"#
    );
    let path = runtime.path().join("status.json");
    fs::write(&path, text).unwrap();
    assert!(written(&paths).unwrap().is_some());
    assert_eq!(signalled(&paths), Reload::NoAgent);
    fs::write(&path, "{").unwrap();
    assert_eq!(signalled(&paths), Reload::NoAgent);
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
}

#[test]
fn an_agent_with_another_configuration_is_not_asked() {
    let (own, file) = (std::process::id(), Source::File("/x/other.toml".into()));
    let words = format!(
        "the agent (process {own}) reads another configuration than /x/other.toml, so it was not asked"
    );
    assert_eq!(elsewhere(own, &file).unwrap().to_string(), words);
    assert_eq!(elsewhere(own, &Source::System), None);
    assert_eq!(elsewhere(u32::MAX, &file), None, "unknown");
    let file = |path: &str| Source::File(path.into());
    assert!(same(&file("/x/a"), &file("/x/./a")) && same(&Source::System, &Source::System));
    assert!(!same(&file("/x/a"), &file("/x/b")) && !same(&Source::System, &file("/x/a")));
}
