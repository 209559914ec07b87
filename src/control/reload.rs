//! Having the running agent read its configuration again.

use std::{ffi::OsString, fs, io, path::Path};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    client::{Client, ControlError},
    status::written,
};
use crate::paths::Paths;

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
    /// It goes on with what it knew, for this reason.
    #[error("the agent did not reload its configuration ({0}): sudo systemctl reload wslmesh")]
    Failed(String),
}

/// Has the agent of this distribution read its configuration and query Windows again:
/// over D-Bus, else by SIGHUP, as `systemctl reload wslmesh` does.
pub async fn reload(paths: &Paths) -> Reload {
    let requested = match Client::connect().await {
        Ok(client) => client.reload().await,
        Err(error) => Err(error),
    };
    match requested {
        Ok(()) => Reload::Done,
        Err(ControlError::Absent(_) | ControlError::Denied) => signalled(paths),
        // One on standby reads it when it takes over.
        Err(ControlError::Busy(why)) => match signalled(paths) {
            Reload::Signalled(pid) => Reload::Signalled(pid),
            _ => Reload::Failed(why),
        },
        Err(error) => Reload::Failed(error.to_string()),
    }
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
