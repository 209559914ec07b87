//! Where a world begins: new namespaces, then the first process inside them.
//!
//! Two small processes stand between the test and the world's server. The
//! launcher leaves the test's namespaces (it must have no thread then) and
//! waits; its child is PID 1 of the new process namespace, builds the private
//! root, starts the server, and collects orphans. When PID 1 ends, for whatever
//! reason, the kernel kills everything in the world and drops its mounts and
//! network namespaces, so nothing can be left behind.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{
    Pid, Signal, WaitOptions, getgid, getuid, set_parent_process_death_signal, wait,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

use crate::options::{LIBRARY, Options};
use crate::{root, topology};

/// The roles this program plays inside a world, given as first argument.
pub(crate) const LAUNCHER: &str = "@launcher";
/// PID 1 of the world.
pub(crate) const FIRST: &str = "@first";
/// The world's server, see `server.rs`.
pub(crate) const SERVER: &str = "@server";

/// The one line a world prints when it is up, or could not be built.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// Everything is in place; the server answers.
    Ready(Facts),
    /// This machine does not let an ordinary program build a world, and why.
    Unavailable(String),
    /// The lab itself is broken, and how.
    Failed(String),
}

/// What could be had on this kernel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// A private binfmt_misc with the entry WSLInterop is mounted (Linux 6.7 and later).
    pub(crate) binfmt: bool,
    /// `wslinfo` and `wslpath` are found in /usr/bin.
    pub(crate) tools: bool,
}

/// An error that means "not on this machine" rather than "broken".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(pub(crate) String);

fn say(report: &Report) {
    let mut out = std::io::stdout().lock();
    let line = serde_json::to_string(report).unwrap_or_else(|e| format!("{{\"failed\":\"{e}\"}}"));
    // A test that has gone away is no reason to fail: its end of the pipe ends us.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn report_error(error: &anyhow::Error) -> ExitCode {
    say(&if error.is::<Unavailable>() {
        Report::Unavailable(format!("{error:#}"))
    } else {
        Report::Failed(format!("{error:#}"))
    });
    ExitCode::FAILURE
}

/// Runs the launcher's role.
pub(crate) fn launcher(options: &str) -> ExitCode {
    match launch(options) {
        Ok(code) => code,
        Err(error) => report_error(&error),
    }
}

fn launch(options: &str) -> Result<ExitCode> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let mapper = Mapper::start(uid, gid);
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    #[expect(
        unsafe_code,
        reason = "rustix marks every unshare unsafe because of FILES, which is not used here"
    )]
    // SAFETY: only CLONE_FILES can invalidate descriptors, and it is not among the flags.
    let left = unsafe { unshare_unsafe(flags) };
    left.map_err(|e| {
        Unavailable(format!(
            "user namespaces are not allowed here (unshare: {e})"
        ))
    })?;
    if !mapper.is_ok_and(Mapper::maps) {
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {uid} 1")),
            ("gid_map", format!("0 {gid} 1")),
        ] {
            std::fs::write(format!("/proc/self/{file}"), text).map_err(|e| {
                Unavailable(format!(
                    "a user namespace without rights (writing {file}: {e})"
                ))
            })?;
        }
    }
    let mut first = again(FIRST)
        .arg(options)
        .spawn()
        .context("starting the world's first process")?;
    let status = first
        .wait()
        .context("waiting for the world's first process")?;
    Ok(status
        .code()
        .and_then(|c| u8::try_from(c).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Gives this process's new user namespace more than one user, which takes rights in the
/// one that it leaves: root's, or newuidmap with /etc/subuid. Else only root can be
/// played.
struct Mapper(Child);

impl Mapper {
    fn start(uid: u32, gid: u32) -> io::Result<Self> {
        let me = std::process::id();
        let script = if uid == 0 {
            format!("echo 0 0 65536 >/proc/{me}/uid_map && echo 0 0 65536 >/proc/{me}/gid_map")
        } else {
            let first = |file: &str| {
                format!(
                    "$(awk -F: -v me=\"$(id -un)\" '$1 == me && $3 > 65535 {{ print $2; exit }}' {file})"
                )
            };
            format!(
                "u={} g={}; newuidmap {me} 0 {uid} 1 1 $u 65535 && newgidmap {me} 0 {gid} 1 1 $g 65535",
                first("/etc/subuid"),
                first("/etc/subgid")
            )
        };
        let child = Command::new("sh")
            .args(["-c", &format!("read go && {script}")])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        child.map(Self)
    }

    /// Does it; gives back whether it worked.
    fn maps(mut self) -> bool {
        let asked = self.0.stdin.take().map(|mut go| go.write_all(b"go\n"));
        asked.is_some_and(|asked| asked.is_ok())
            && self.0.wait().is_ok_and(|status| status.success())
    }
}

/// Whether the user 1000 can be played in this world.
pub(crate) fn has_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().count() > 1 || map.contains("65536")
}

fn again(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("wslmesh-lab").arg(role);
    command
}

/// Runs the role of PID 1.
pub(crate) fn first(options: &str) -> ExitCode {
    match serve(options) {
        Ok(code) => code,
        Err(error) => report_error(&error),
    }
}

fn serve(text: &str) -> Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("binding this process to its parent")?;
    let options: Options = serde_json::from_str(text).context("reading the world's options")?;
    let facts = root::build(&options)?;
    topology::build()?;
    let facts = serde_json::to_string(&facts)?;
    let server = again(SERVER)
        .arg(text)
        .arg(facts)
        .spawn()
        .context("starting the world's server")?;
    let server = i32::try_from(server.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("the server has no process id")?;
    // The test holds the other end of our standard input: when it ends, even
    // by SIGKILL and even if the server hangs, this process ends, and with it
    // the world.
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let ended = std::io::stdin().lock().read_to_end(&mut rest);
        std::process::exit(i32::from(ended.is_err()));
    });
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == server => {
                bail!("the world's server ended: {status:?}")
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => bail!("waiting for processes of the world: {e}"),
        }
    }
}

/// Runs the server's role.
pub(crate) fn server(options: &str, facts: &str) -> ExitCode {
    let started = || -> Result<()> {
        let options: Options = serde_json::from_str(options)?;
        let facts: Facts = serde_json::from_str(facts)?;
        crate::server::run(options, || say(&Report::Ready(facts)))
    };
    match started() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report_error(&error),
    }
}

/// The environment of every command in a world: what a systemd service has,
/// and nothing of the machine's.
pub(crate) fn environment() -> BTreeMap<String, String> {
    [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("LANG", "C.UTF-8"),
        ("HOME", "/root"),
        ("WSLMESH_LIBDIR", LIBRARY),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect()
}
