//! A `wsl.exe` on Windows that holds this distribution open.
//!
//! WSL counts the sessions that programs of Windows have in a distribution; it counts
//! neither services nor a program of Windows that one of them started (microsoft/WSL:
//! src/windows/service/exe/LxssUserSession.cpp, Lifetime.cpp). So one of them starts
//! `wsl.exe`, which opens such a session with a program that waits: `cat`, which ends with its
//! standard input, and that ends with this process, however it ends. What is written to it
//! comes back, by which the whole way is known to work. Untested on Windows.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use tokio::select;

use super::{
    relay::{self, Started, output::Output},
    setup::{Distribution, DistributionError},
};
use crate::{
    blocking::BlockingError,
    interop::{Interop, InteropError, child::ChildError, said_at_its_end},
    model::plain,
};

/// What is written, and comes back.
const LINE: &[u8] = b"wslmesh\n";

/// Most bytes that are kept of what it prints; its messages are shorter.
const MOST: usize = 4 << 10;

/// Why this distribution is not held open.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// Windows cannot be reached.
    #[error(transparent)]
    Interop(#[from] InteropError),
    /// This distribution's name is none that `wsl.exe` is called with.
    #[error(transparent)]
    Name(#[from] DistributionError),
    /// It could not be started.
    #[error("wsl.exe {0}")]
    Start(#[from] ChildError),
    /// The blocking task of its start failed.
    #[error("starting wsl.exe: {0}")]
    Blocked(#[from] BlockingError),
    /// A pipe to it failed.
    #[error("the pipe to wsl.exe failed: {0}")]
    Pipe(#[from] io::Error),
    /// Nothing came back.
    #[error("wsl.exe opened no session in this distribution within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// It prints what was not written to it.
    #[error("wsl.exe prints without end: {0}")]
    Flood(String),
    /// It ended, with these words.
    #[error("wsl.exe ended: {0}")]
    Ended(String),
}

/// Starts it, as a child of this process. Blocks here and there.
///
/// # Errors
/// Windows cannot be reached, or it cannot be started.
pub async fn start() -> Result<Started, AnchorError> {
    let interop = Interop::find()?;
    let root = interop.windows_path(Path::new("/")).await?;
    let name = Distribution::from_root(&root)?;
    let mut command = interop.wsl()?;
    // Without a shell. The folder would be a Windows drive, and keep it in use.
    command.args(["-d", &name.to_string(), "--cd", "/", "--exec", "cat"]);
    Ok(relay::spawn(command)?)
}

/// One that runs. Dropping it ends it: first its input, by which it ends on Windows, then the
/// process here.
#[derive(Debug)]
pub struct Anchor {
    stdin: File,
    stdout: Output,
    stderr: Output,
    _started: Started,
}

impl Anchor {
    /// One that was started, on the event loop.
    ///
    /// # Errors
    /// Its pipes cannot be watched.
    pub fn adopt(mut started: Started) -> Result<Self, AnchorError> {
        let (stdin, stdout, stderr) = started.pipes()?;
        rustix::io::ioctl_fionbio(&stdin, true).map_err(io::Error::from)?;
        Ok(Self {
            stdin: stdin.into(),
            stdout: Output::new(stdout)?,
            stderr: Output::new(stderr)?,
            _started: started,
        })
    }

    /// Asks for an answer. What keeps it from being written shows by its lack.
    pub fn ask(&mut self) {
        self.stdin.write_all(LINE).unwrap_or_default();
    }

    /// Waits for an answer. Cancel safe.
    ///
    /// # Errors
    /// It ended, or prints something else.
    pub async fn answered(&mut self) -> Result<(), AnchorError> {
        loop {
            let mut parts = self.stdout.bytes.windows(LINE.len());
            if parts.any(|part| part == LINE) {
                self.stdout.bytes.clear();
                return Ok(());
            }
            if !self.stdout.open {
                return Err(self.end());
            }
            if self.stdout.bytes.len() > MOST {
                return Err(AnchorError::Flood(text(&self.stdout.bytes)));
            }
            select! {
                ready = self.stdout.readable() => {
                    ready?;
                    self.stdout.read()?;
                }
                ready = self.stderr.readable() => {
                    ready?;
                    self.stderr.read()?;
                    self.stderr.bytes.truncate(MOST);
                }
            }
        }
    }

    /// Why it ended.
    fn end(&mut self) -> AnchorError {
        while self.stderr.bytes.len() < MOST && self.stderr.read().unwrap_or_default() {}
        let stderr = match said_at_its_end(&self.stderr.bytes) {
            Ok(stderr) => stderr,
            Err(error) => return error.into(),
        };
        let said = [text(&self.stdout.bytes), stderr].join(" ");
        let said = said.trim();
        let said = if said.is_empty() {
            "without a message"
        } else {
            said
        };
        AnchorError::Ended(said.to_owned())
    }
}

/// What it printed, as one line for a journal. Its own messages are UTF-16 (microsoft/WSL:
/// src/windows/common/wslutil.cpp).
fn text(bytes: &[u8]) -> String {
    if !bytes.contains(&0) {
        return plain(&String::from_utf8_lossy(bytes));
    }
    let units = bytes
        .chunks_exact(2)
        .filter_map(|pair| pair.try_into().ok());
    let units: Vec<u16> = units.map(u16::from_le_bytes).collect();
    plain(&String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests;
