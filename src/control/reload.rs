//! Having the running agent read its configuration again.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{self, Path, PathBuf},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    client::{Client, ControlError},
    status::written,
};
use crate::{config::Source, paths::Paths};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reload {
    /// The agent has done it.
    #[error("the agent has reloaded its configuration")]
    Done,
    /// This process does it now.
    #[error("the agent (process {0}) reloads its configuration")]
    Signalled(u32),
    /// There is none.
    #[error("the agent is not running; to start it: systemctl start wslmesh")]
    NoAgent,
    /// This process, the running agent, reads another configuration.
    #[error("the agent (process {0}) reads another configuration than {1}, so it was not asked")]
    Elsewhere(u32, String),
    /// It goes on with what it knew, for this reason.
    #[error("the agent did not reload its configuration ({0}): sudo systemctl reload wslmesh")]
    Failed(String),
}

/// Has the agent of this distribution read its configuration and query Windows again:
/// over D-Bus, else by SIGHUP, as `systemctl reload wslmesh` does.
pub async fn reload(paths: &Paths) -> Reload {
    let requested = async { Client::connect().await?.reload().await };
    match requested.await {
        Ok(()) => Reload::Done,
        Err(ControlError::Absent(_) | ControlError::Denied) => signalled(paths),
        // One on standby reads it when it takes over.
        Err(ControlError::Busy(why)) => match signalled(paths) {
            signalled @ Reload::Signalled(_) => signalled,
            _ => Reload::Failed(why),
        },
        Err(error) => Reload::Failed(error.to_string()),
    }
}

/// The same for a configuration that has changed, or is to be in force: an agent that
/// is known to read another main file has nothing to do, and is not asked. One whose
/// configuration cannot be read is asked: a reload that it did not need does no harm.
pub async fn reload_of(source: &Source, paths: &Paths) -> Reload {
    match elsewhere(source, paths) {
        Some(elsewhere) => elsewhere,
        None => reload(paths).await,
    }
}

/// What to report of a running agent that was started with another configuration;
/// `None` also where its configuration cannot be read.
fn elsewhere(source: &Source, paths: &Paths) -> Option<Reload> {
    let pid = agent_pid(paths)?;
    (!same(&configuration_of(pid)?, source))
        .then(|| Reload::Elsewhere(pid, source.main().display().to_string()))
}

/// Whether both have the same main file: the system's folders and `--config` with the
/// administrator's file share it and its drop-ins.
fn same(one: &Source, other: &Source) -> bool {
    let absolute = |source: &Source| path::absolute(source.main()).ok();
    absolute(one) == absolute(other)
}

/// The configuration that a running agent was started with.
fn configuration_of(pid: u32) -> Option<Source> {
    let process = Path::new("/proc").join(pid.to_string());
    let line = fs::read(process.join("cmdline")).ok()?;
    source_of(&line, || fs::read_link(process.join("cwd")))
}

/// The configuration of a process with this command line. A relative path starts at
/// its working directory, which only its own user and root can read.
fn source_of(line: &[u8], folder: impl FnOnce() -> io::Result<PathBuf>) -> Option<Source> {
    Some(match config_option(line) {
        None => Source::System,
        Some(file) if file.is_absolute() => Source::File(file.to_owned()),
        Some(file) => Source::File(folder().ok()?.join(file)),
    })
}

/// The FILE of `--config FILE` or `--config=FILE` in a command line as /proc has it.
fn config_option(line: &[u8]) -> Option<&Path> {
    let mut words = line.split(|byte| *byte == 0);
    let file = words.find_map(|word| match word.strip_prefix(b"--config")? {
        b"" => Some(None),
        rest => rest.strip_prefix(b"=").map(Some),
    })?;
    let file = file.or_else(|| words.next())?;
    Some(Path::new(OsStr::from_bytes(file)))
}

/// The process of the agent whose status document is in the runtime directory. It
/// must be named as ours: the document of an agent that was killed may name a
/// process of another program by now.
#[must_use]
pub fn agent_pid(paths: &Paths) -> Option<u32> {
    let document = written(paths).ok().flatten()?;
    let comm = fs::read_to_string(format!("/proc/{}/comm", document.pid));
    comm.is_ok_and(|name| name.trim_end() == "wslmesh")
        .then_some(document.pid)
}

fn signalled(paths: &Paths) -> Reload {
    let Some(pid) = agent_pid(paths) else {
        return Reload::NoAgent;
    };
    match hang_up(pid, program(Path::new("/proc/self/exe"))) {
        Ok(true) => Reload::Signalled(pid),
        // Which program a process of another user runs is not visible.
        Ok(false) => Reload::Failed("it is another user's".to_owned()),
        Err(error) => Reload::Failed(error.to_string()),
    }
}

/// Sends SIGHUP to a process that runs a program of this file name and catches the
/// signal: it would end one that does not.
fn hang_up(pid: u32, own: Option<OsString>) -> io::Result<bool> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    // From here on it is this process and no later one of its number.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(false);
    };
    let exe = format!("/proc/{}/exe", pid.as_raw_nonzero());
    if own.is_none() || program(Path::new(&exe)) != own || !catches_hup(pid) {
        return Ok(false);
    }
    match pidfd_send_signal(&process, Signal::HUP) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn catches_hup(pid: Pid) -> bool {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    // Hexadecimal, the lowest bit is signal 1, SIGHUP (proc_pid_status(5)).
    let mask = text
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

/// The file name of a process's program, also of one that an upgrade has replaced.
fn program(exe: &Path) -> Option<OsString> {
    let name = fs::read_link(exe).ok()?.file_name()?.to_owned();
    match name.to_str() {
        Some(text) => Some(text.strip_suffix(" (deleted)").unwrap_or(text).into()),
        None => Some(name),
    }
}

#[cfg(test)]
mod tests;
