//! A relay as a unit of its own, and the pipes by which the next agent takes it over.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    process::Command,
};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::{
    model::RelayRole,
    report::Manager,
    units::{Streams, Systemd, UnitsError},
};

/// The names under which systemd keeps the pipes.
const fn kept(role: RelayRole) -> [&'static str; 3] {
    match role {
        RelayRole::Entry => ["relay-stdin", "relay-stdout", "relay-stderr"],
        RelayRole::Loopback => ["loopback-stdin", "loopback-stdout", "loopback-stderr"],
    }
}

/// The agent's ends of the pipes to a relay.
#[derive(Debug)]
pub struct Pipes {
    /// Which relay it is.
    pub role: RelayRole,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Pipes {
    /// Those of the relays that an earlier process of this service left. To be asked once.
    #[must_use]
    pub fn left() -> Vec<Self> {
        let mut open = Manager::kept_open();
        let of_one = |role| {
            let [stdin, stdout, stderr] = kept(role).map(|name| {
                // systemd may have one more, of a relay before, that it has not closed yet.
                let at = open.iter().rposition(|(kept, _)| kept == name)?;
                Some(open.swap_remove(at).1)
            });
            Some(Self {
                role,
                stdin: stdin?,
                stdout: stdout?,
                stderr: stderr?,
            })
        };
        RelayRole::ALL.into_iter().filter_map(of_one).collect()
    }

    /// Has systemd close its copies: the relay ends with ours.
    pub fn forget(role: RelayRole) {
        for name in kept(role) {
            Manager::close(name);
        }
    }
}

/// Starts the relay as a unit of its own, whose pipes systemd keeps for the next agent.
///
/// # Errors
/// systemd does not start it.
pub async fn start(role: RelayRole, command: &Command) -> Result<Pipes, UnitsError> {
    let pipe = || {
        pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| UnitsError::Refused(format!("no pipe: {}", io::Error::from(error))))
    };
    let ((stdin, ours_in), (ours_out, stdout), (ours_err, stderr)) = (pipe()?, pipe()?, pipe()?);
    let streams = Streams {
        stdin: stdin.as_fd(),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
    };
    Systemd::connect()
        .await?
        .start_relay(role, command, streams)
        .await?;
    let pipes = Pipes {
        role,
        stdin: ours_in,
        stdout: ours_out,
        stderr: ours_err,
    };
    Pipes::forget(role);
    let all = [&pipes.stdin, &pipes.stdout, &pipes.stderr];
    for (name, pipe) in kept(role).iter().zip(all) {
        Manager::keep_open(name, pipe.as_fd());
    }
    Ok(pipes)
}

/// Stops the unit, whatever it does.
///
/// # Errors
/// systemd cannot be reached, or does not stop it.
pub async fn stop(role: RelayRole) -> Result<(), UnitsError> {
    Pipes::forget(role);
    Systemd::connect().await?.stop_relay(role).await
}

/// A child's pipes as those of a unit.
#[cfg(test)]
pub(crate) fn piped(mut program: Command) -> (Pipes, std::process::Child) {
    use std::process::Stdio;
    program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let pipes = Pipes {
        role: RelayRole::Entry,
        stdin: child.stdin.take().unwrap().into(),
        stdout: child.stdout.take().unwrap().into(),
        stderr: child.stderr.take().unwrap().into(),
    };
    (pipes, child)
}
