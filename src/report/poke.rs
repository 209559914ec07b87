//! Tells the running agent to look again, or to ask the relay for its counters.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::status;

/// Makes the agent whose status document is in `runtime` read its configuration
/// and ask Windows anew, as `systemctl reload` does. Returns whether there is one.
///
/// The process must run a program of our own file name: the document of an agent
/// that was killed may name a process of somebody else by now.
///
/// # Errors
/// The document cannot be read, or the agent may not be signalled (it is root's).
pub fn poke(runtime: &Path) -> io::Result<bool> {
    send(runtime, Signal::HUP)
}

/// Makes the agent whose status document is in `runtime` ask the relay for its
/// counters. They are in the document soon after. Returns whether there is one;
/// the same care is taken as in [`poke`].
///
/// # Errors
/// The document cannot be read, or the agent may not be signalled (it is root's).
pub fn ask_counters(runtime: &Path) -> io::Result<bool> {
    send(runtime, Signal::USR1)
}

fn send(runtime: &Path, what: Signal) -> io::Result<bool> {
    let Some(document) = status::read(runtime)? else {
        return Ok(false);
    };
    let own = program(Path::new("/proc/self/exe"));
    signal(document.pid, own, what)
}

fn signal(pid: u32, own: Option<OsString>, what: Signal) -> io::Result<bool> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    // From here on it is this process and no later one of its number.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(false);
    };
    let exe = format!("/proc/{}/exe", pid.as_raw_nonzero());
    if own.is_none() || program(Path::new(&exe)) != own {
        return Ok(false);
    }
    if !catches(pid, what) {
        return Ok(false);
    }
    match pidfd_send_signal(&process, what) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the process has a handler for the signal. It would end one that has
/// none: an agent of an earlier version, which knows SIGHUP alone.
fn catches(pid: Pid, what: Signal) -> bool {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    // Hexadecimal, the lowest bit is signal 1 (proc_pid_status(5)).
    let mask = text
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(what.as_raw() - 1)
        .ok()
        .and_then(|bit| 1_u64.checked_shl(bit));
    mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
}

/// The file name of a process's program, also of one that an upgrade has replaced.
fn program(exe: &Path) -> Option<OsString> {
    let path: PathBuf = fs::read_link(exe).ok()?;
    let name = path.file_name()?.to_owned();
    let Some(text) = name.to_str() else {
        return Some(name);
    };
    Some(text.strip_suffix(" (deleted)").unwrap_or(text).into())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A shell that ends with status 7 on SIGUSR1 and knows no other signal.
    fn shell() -> Child {
        let script = "trap 'exit 7' USR1; while :; do sleep 0.01; done";
        let child = Command::new("/bin/sh").args(["-c", script]).spawn();
        let child = child.unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        // Until it has become a shell it is a copy of this test.
        let test = program(Path::new("/proc/self/exe"));
        let exe = format!("/proc/{}/exe", child.id());
        let begin = std::time::Instant::now();
        while program(Path::new(&exe)) == test || !catches(pid, Signal::USR1) {
            assert!(begin.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn only_a_process_of_our_program_is_told() {
        let mut child = shell();
        let test = program(Path::new("/proc/self/exe"));
        let own = program(Path::new(&format!("/proc/{}/exe", child.id())));
        let tell = |own, what| signal(child.id(), own, what).unwrap();
        assert!(!tell(test, Signal::USR1));
        assert!(!tell(None, Signal::USR1));
        assert!(!tell(own.clone(), Signal::HUP), "it would have ended it");
        assert!(child.try_wait().unwrap().is_none(), "it was not touched");
        assert!(signal(child.id(), own.clone(), Signal::USR1).unwrap());
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert!(!signal(child.id(), own, Signal::USR1).unwrap(), "gone");
        for nobody in [0, u32::MAX] {
            assert!(!signal(nobody, None, Signal::HUP).unwrap());
        }
    }

    #[test]
    fn without_an_agent_nobody_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!poke(folder.path()).unwrap());
        fs::write(folder.path().join("status.json"), "{").unwrap();
        assert!(poke(folder.path()).is_err());
    }
}
