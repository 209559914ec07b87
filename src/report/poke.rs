//! Tells the running agent to look again.

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
    let Some(document) = status::read(runtime)? else {
        return Ok(false);
    };
    let own = program(Path::new("/proc/self/exe"));
    signal(document.pid, own)
}

fn signal(pid: u32, own: Option<OsString>) -> io::Result<bool> {
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
    match pidfd_send_signal(&process, Signal::HUP) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
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
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Child, Command},
    };

    use super::*;

    fn sleeper() -> Child {
        Command::new("/bin/sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn only_a_process_of_our_program_is_told() {
        let mut child = sleeper();
        let exe = format!("/proc/{}/exe", child.id());
        // Until it has become sleep it is a copy of this test.
        let test = program(Path::new("/proc/self/exe"));
        let begin = std::time::Instant::now();
        while program(Path::new(&exe)) == test {
            assert!(begin.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
        let sleep = program(Path::new(&exe));
        assert!(!signal(child.id(), test).unwrap());
        assert!(!signal(child.id(), None).unwrap());
        assert!(child.try_wait().unwrap().is_none(), "it was not touched");
        assert!(signal(child.id(), sleep.clone()).unwrap());
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::HUP.as_raw()));
        assert!(!signal(child.id(), sleep).unwrap(), "it is gone");
        assert!(!signal(0, None).unwrap() && !signal(u32::MAX, None).unwrap());
    }

    #[test]
    fn without_an_agent_nobody_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!poke(folder.path()).unwrap());
        fs::write(folder.path().join("status.json"), "{").unwrap();
        assert!(poke(folder.path()).is_err());
    }
}
