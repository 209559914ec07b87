//! The file in which the tunnel's process says how it is: `wslmesh-tunnel/state.json`, beside
//! the agent's runtime directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use crate::{
    fs::{
        file::{self, FileError},
        read_bounded,
    },
    model::TunnelState,
};

/// `runtime` is the agent's runtime directory or the tunnel's own.
fn path(runtime: &Path) -> PathBuf {
    runtime.with_file_name("wslmesh-tunnel").join("state.json")
}

/// Writes it.
///
/// # Errors
/// It cannot be written.
pub fn write(runtime: &Path, state: &TunnelState) -> Result<(), FileError> {
    let path = path(runtime);
    // systemd makes the folder; a process that is run by hand makes it itself.
    let folder = path.parent().unwrap_or(runtime);
    fs::create_dir_all(folder).unwrap_or_default();
    let text = serde_json::to_vec_pretty(state).unwrap_or_default();
    file::write(&path, &text, 0o644)
}

/// What the running process wrote; `None` where none runs. That of a process that was killed
/// is passed over.
///
/// # Errors
/// The file cannot be read, or is of another version.
pub fn read(runtime: &Path) -> io::Result<Option<TunnelState>> {
    let text = match read_bounded(&path(runtime), file::MAX_SIZE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let state: TunnelState = serde_json::from_slice(&text)?;
    if state.version != TunnelState::VERSION {
        return Err(io::Error::other(format!(
            "the tunnel's process writes states of version {}, this program reads version {}",
            state.version,
            TunnelState::VERSION
        )));
    }
    Ok(runs(state.pid).then_some(state))
}

/// Whether there is such a process. /proc does not show it to a sandbox (ProtectProc=).
fn runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Removes this process's own.
pub fn remove(runtime: &Path) {
    let own = |state: &TunnelState| state.pid == process::id();
    if read(runtime).ok().flatten().as_ref().is_some_and(own) {
        fs::remove_file(path(runtime)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_a_killed_process_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("wslmesh");
        let mut state = TunnelState {
            version: TunnelState::VERSION,
            pid: process::id(),
            ..TunnelState::default()
        };
        assert_eq!(read(&runtime).unwrap(), None);
        write(&runtime, &state).unwrap();
        assert_eq!(read(&runtime).unwrap(), Some(state.clone()));
        // Above the kernel's highest (PID_MAX_LIMIT).
        state.pid = 1 << 30;
        write(&runtime, &state).unwrap();
        assert_eq!(read(&runtime).unwrap(), None);
    }
}
