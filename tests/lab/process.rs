//! A process in a world.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::control::{Reply, Request, Status, output};
use crate::world::World;

/// SIGUSR1.
pub(crate) const USR1: i32 = 10;
/// SIGINT.
pub(crate) const INT: i32 = 2;
/// SIGHUP.
pub(crate) const HUP: i32 = 1;
/// SIGKILL.
pub(crate) const KILL: i32 = 9;
/// SIGCONT.
pub(crate) const CONT: i32 = 18;
/// SIGSTOP.
pub(crate) const STOP: i32 = 19;
/// SIGTERM.
pub(crate) const TERM: i32 = 15;

/// What a command left.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: Status,
    /// Its standard output; bytes that are no UTF-8 are replaced.
    pub(crate) stdout: String,
    /// Its standard error, likewise.
    pub(crate) stderr: String,
}

impl Output {
    /// Whether it ended with exit code 0.
    pub(crate) fn success(&self) -> bool {
        self.status == Status::Code(0)
    }

    /// Its standard output, or an error with everything it said.
    pub(crate) fn ok(self) -> Result<String> {
        if self.success() {
            Ok(self.stdout)
        } else {
            bail!("{:?}: {}{}", self.status, self.stdout, self.stderr)
        }
    }
}

/// A process that was started; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process<'w> {
    world: &'w World,
    id: u32,
    pid: u32,
}

impl<'w> Process<'w> {
    /// For [`World::spawn_with`].
    pub(crate) fn new(world: &'w World, id: u32, pid: u32) -> Self {
        Self { world, id, pid }
    }

    /// Its process id inside the world: `world.path("/proc/<it>/status")`.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its number in the world: `/run/lab/out/<it>.stdin`, `.stdout`, `.stderr`.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal; nothing happens when the process has ended.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        self.world
            .ask(&Request::Signal {
                id: self.id,
                signal,
            })
            .map(drop)
    }

    /// How it ended, if it did within `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Result<Option<Status>> {
        let timeout_ms = u64::try_from(limit.as_millis())?;
        let request = Request::Wait {
            id: self.id,
            timeout_ms,
        };
        let Reply::Status(status) = self.world.ask(&request)? else {
            bail!("the world gave another answer")
        };
        Ok(status)
    }

    /// Waits for the end; a process that takes longer than `limit` is an error.
    pub(crate) fn finish(&self, limit: Duration) -> Result<Output> {
        let Some(status) = self.wait(limit)? else {
            bail!(
                "still running after {limit:?}: {}{}",
                self.stdout()?,
                self.stderr()?
            )
        };
        Ok(Output {
            status,
            stdout: self.stdout()?,
            stderr: self.stderr()?,
        })
    }

    /// SIGTERM, then the end.
    pub(crate) fn stop(&self, limit: Duration) -> Result<Output> {
        self.signal(TERM)?;
        self.finish(limit)
    }

    /// What it has written to standard output so far.
    pub(crate) fn stdout(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes("stdout")?).into_owned())
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes("stderr")?).into_owned())
    }

    /// One stream's bytes as they are: `stdout` or `stderr`.
    pub(crate) fn bytes(&self, stream: &str) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.world.path(output(self.id, stream)))?)
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // The world may be gone already, and its processes with it.
        drop(
            self.signal(KILL)
                .and_then(|()| self.wait(Duration::from_secs(5))),
        );
    }
}
