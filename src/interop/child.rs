//! Runs one program within bounds: a deadline, a limit on its output, its own
//! process group, and nothing left behind however the call ends.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{self, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use crate::model::plain;

/// WSL's init, which also runs Windows programs.
pub(super) const INIT: &str = "/init";

/// Most bytes taken from standard output. A thousand forwards answer in well
/// under 200 kB.
const MAX_OUTPUT: u64 = 1 << 20;

/// Most bytes taken from standard error; the rest is read and dropped.
const MAX_STDERR: u64 = 4 << 10;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// WSL's init ended without having started it, which says nothing about Windows.
    #[error("was not started: {0}")]
    NotStarted(String),
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
        /// Whether it had printed anything on standard output.
        printed: bool,
        /// The start of what it said, safe for a journal.
        stderr: String,
    },
    /// Talking to it failed.
    #[error("broke off: {0}")]
    Pipe(#[from] io::Error),
}

/// What a program printed to its end.
#[derive(Debug, Default)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// The start of its standard error, safe for a journal.
    pub stderr: String,
}

/// What a program said on standard error, as one line for a journal. Messages of WSL's init
/// begin with their level, process and thread (microsoft/WSL: src/linux/init/common.h,
/// LOG_ERROR), of which the process would make each message a new one.
pub(crate) fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.split('\n').map(|line| {
        let Some((level, rest)) = line.split_once("WSL (") else {
            return line.to_owned();
        };
        let level = level
            .strip_prefix('<')
            .and_then(|level| level.strip_suffix('>'));
        match (level, rest.split_once(')')) {
            (Some(_), Some((_, rest))) => format!("WSL{rest}"),
            _ => line.to_owned(),
        }
    });
    plain(&lines.collect::<Vec<_>>().join("\n"))
}

/// Whether WSL's init says that it started nothing: no process listens behind the interop
/// socket, or none came back within 10 s (microsoft/WSL: util.cpp, UtilConnectUnix and
/// UtilAcceptVsock). The latter also warns of an accept that takes long.
pub(crate) fn not_started(said: &str) -> bool {
    said.contains("accept4 failed")
        || said.contains("UtilConnectUnix") && said.contains("connect failed")
}

/// A program that runs. Dropping it kills its whole process group unless it has
/// ended: WSL's /init starts helpers, and dropping a call must end them too.
pub(super) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // None once it has ended.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // It may have ended a moment ago; then there is nothing to do.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

/// WSL's init.
pub(super) fn init() -> process::Command {
    process::Command::new(INIT)
}

/// A program of WSL's own. WSL links it into the distribution; where the link is
/// missing, init answers to the name itself (microsoft/WSL: src/linux/init/init.cpp).
pub(super) fn wsl_program(name: &str) -> Command {
    let links = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
    match links.iter().find(|path| path.exists()) {
        Some(link) => Command::new(link),
        None => {
            let mut init = Command::from(init());
            init.arg0(name);
            init
        }
    }
}

/// Runs a program that reads nothing, /dev/null as a service has it, to its end and
/// returns its standard output.
///
/// # Errors
/// See [`spawn`] and [`Running::finish`].
pub(super) async fn run(command: Command, deadline: Duration) -> Result<Vec<u8>, ChildError> {
    let running = start(command, Stdio::null())?;
    Ok(running.finish(b"", deadline).await?.stdout)
}

/// Starts a program that is handed input.
///
/// # Errors
/// [`ChildError::Start`].
pub(super) fn spawn(command: Command) -> Result<Running, ChildError> {
    start(command, Stdio::piped())
}

fn start(mut command: Command, stdin: Stdio) -> Result<Running, ChildError> {
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map(Running).map_err(ChildError::Start)
}

impl Running {
    /// Waits for the program's end and returns what it printed. Dropping the call
    /// kills the program.
    ///
    /// # Errors
    /// See [`ChildError`]; in each case nothing of the program is left.
    pub(super) async fn finish(
        mut self,
        input: &[u8],
        deadline: Duration,
    ) -> Result<Output, ChildError> {
        let answer = timeout(deadline, self.converse(input)).await;
        answer.unwrap_or(Err(ChildError::Timeout(deadline)))
    }

    async fn converse(&mut self, input: &[u8]) -> Result<Output, ChildError> {
        let child = &mut self.0;
        let stdin = child.stdin.take();
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(ChildError::Pipe(io::ErrorKind::BrokenPipe.into()));
        };
        let write = async move {
            let Some(mut stdin) = stdin else {
                return Ok(());
            };
            match stdin.write_all(input).await {
                // A program that ends without reading reports its reason otherwise.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
                Ok(()) | Err(_) => Ok(()),
            }
        };
        let read = async move {
            let (mut output, mut stdout) = (Vec::new(), stdout.take(MAX_OUTPUT + 1));
            stdout.read_to_end(&mut output).await?;
            if stdout.limit() == 0 {
                return Err(ChildError::TooMuch);
            }
            Ok(output)
        };
        let errors = async move {
            let (mut start, mut stderr) = (Vec::new(), stderr.take(MAX_STDERR));
            stderr.read_to_end(&mut start).await?;
            tokio::io::copy(stderr.get_mut(), &mut tokio::io::sink()).await?;
            Ok(start)
        };
        let ((), output, stderr) = tokio::try_join!(write, read, errors)?;
        let status = child.wait().await?;
        let mut stderr = said(&stderr);
        // Since Linux 6.12 a program of Windows that ends without having read all of its
        // input ends init by SIGPIPE, which keeps its exit code and not what it printed.
        if status.success() || status.signal() == Some(Signal::PIPE.as_raw()) {
            return Ok(Output {
                stdout: output,
                stderr,
            });
        }
        if not_started(&stderr) {
            return Err(ChildError::NotStarted(stderr));
        }
        if stderr.is_empty() {
            "without output".clone_into(&mut stderr);
        }
        Err(ChildError::Exit {
            code: status.to_string(),
            printed: !output.is_empty(),
            stderr,
        })
    }
}

#[cfg(test)]
mod tests;
