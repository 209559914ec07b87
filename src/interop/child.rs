//! Runs one program within bounds: a deadline, a limit on its output, its own
//! process group, and nothing left behind however the call ends.

use std::{io, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use crate::model::plain;

/// WSL's init, which also runs Windows programs.
pub(super) const INIT: &str = "/init";

/// Most bytes taken from standard output. A thousand forwards answer in well
/// under 200 kB.
pub const MAX_OUTPUT: usize = 1 << 20;

/// Most bytes taken from standard error; the rest is read and dropped.
const MAX_STDERR: usize = 4 << 10;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// It did not end in time and was killed.
    #[error("did not end within {} s and was killed", .0.as_secs_f32())]
    Timeout(Duration),
    /// It printed too much and was killed.
    #[error("printed more than {MAX_OUTPUT} bytes and was killed")]
    TooMuch,
    /// It ended with an error.
    #[error("ended with {code}: {stderr}")]
    Exit {
        /// Its exit code or signal.
        code: String,
        /// The start of what it said, safe for a journal.
        stderr: String,
    },
    /// Talking to it failed.
    #[error("broke off: {0}")]
    Pipe(io::Error),
}

/// Kills the whole process group unless it has ended: WSL's /init starts
/// helpers, and dropping a call must end them too.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended a moment ago; then there is nothing to do.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

/// A program of WSL's own. WSL links it into the distribution; where the link is
/// missing, init answers to the name itself (microsoft/WSL: src/linux/init/init.cpp).
pub(super) fn wsl_program(name: &str) -> Command {
    let links = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
    match links.iter().find(|path| path.exists()) {
        Some(link) => Command::new(link),
        None => {
            let mut init = Command::new(INIT);
            init.arg0(name);
            init
        }
    }
}

/// Runs a program to its end and returns what it printed. Dropping the call kills
/// the program.
///
/// # Errors
/// See [`ChildError`]; in each case nothing of the program is left.
pub async fn run(
    mut command: Command,
    input: Option<&[u8]>,
    deadline: Duration,
) -> Result<Vec<u8>, ChildError> {
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(ChildError::Start)?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let mut group = Group(pid);
    let answer = timeout(deadline, converse(&mut child, &mut group, input)).await;
    answer.unwrap_or(Err(ChildError::Timeout(deadline)))
}

async fn converse(
    child: &mut Child,
    group: &mut Group,
    input: Option<&[u8]>,
) -> Result<Vec<u8>, ChildError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            match stdin.write_all(input).await {
                // A program that ends without reading reports its reason otherwise.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(ChildError::Pipe(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    };
    let read = async {
        let stdout = take(stdout, MAX_OUTPUT + 1).await?;
        if stdout.len() > MAX_OUTPUT {
            Err(ChildError::TooMuch)
        } else {
            Ok(stdout)
        }
    };
    let errors = async {
        let Some(mut stderr) = stderr else {
            return Ok(Vec::new());
        };
        let start = take(Some(&mut stderr), MAX_STDERR).await?;
        tokio::io::copy(&mut stderr, &mut tokio::io::sink())
            .await
            .map_err(ChildError::Pipe)?;
        Ok(start)
    };
    let ((), stdout, stderr) = tokio::try_join!(write, read, errors)?;
    let status = child.wait().await.map_err(ChildError::Pipe)?;
    // It has ended, so there is nothing to kill.
    group.0 = None;
    if status.success() {
        return Ok(stdout);
    }
    let mut stderr = plain(&String::from_utf8_lossy(&stderr));
    if stderr.is_empty() {
        "without output".clone_into(&mut stderr);
    }
    Err(ChildError::Exit {
        code: status.to_string(),
        stderr,
    })
}

async fn take(from: Option<impl AsyncRead + Unpin>, most: usize) -> Result<Vec<u8>, ChildError> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        from.take(most)
            .read_to_end(&mut bytes)
            .await
            .map_err(ChildError::Pipe)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
