//! The relay's process, on Windows through interop or in the guest: commands go
//! to its standard input, events come from its standard output.
//!
//! [`Started`] is created in a blocking task, because a Windows drive and the
//! start of a program may block. [`Process`] belongs to the event loop: sending
//! to it never waits.

pub(super) mod output;
mod switch;
pub mod unit;
mod unpack;

use std::{
    fs,
    future::pending,
    io::{self, ErrorKind, Write},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::retry_on_intr,
    process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid},
};
use tokio::{net::unix::pipe::Receiver, select, time::timeout};

use crate::{
    blocking::BlockingError,
    fs::{PathError, cannot},
    interop::{Interop, InteropError, PlaceError, child::ChildError, said_at_its_end},
    model::{Code, RelayLocation, RelayRole, excerpt},
    units::relay_unit,
};
use wslmesh_relay::protocol::{self, EXIT_ELEVATED, Event, MAX_LINE, VERSION};

use self::output::{Allowance, Output};
pub use self::{switch::switch, unit::Pipes};

/// The relay for the guest, in the folder of our programs.
pub const GUEST_PROGRAM: &str = "wslmesh-relay";
/// The relay for Windows, in the folder of our programs.
pub const WINDOWS_PROGRAM: &str = "windows/wslmesh-relay.exe";

/// Most bytes of standard error that are kept; the rest is read and dropped.
const MAX_STDERR: usize = 4 << 10;

/// What an event counts for at least, in bytes: short ones are work too.
const MIN_EVENT: usize = 256;

/// How long a relay may take to exit once its output is closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the relay does not run, or stopped running.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Windows cannot be reached.
    #[error(transparent)]
    Interop(#[from] InteropError),
    /// The program does not exist.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// What an administrator installed on Windows was removed.
    #[error("{} does not exist any more", .0.display())]
    NotInstalled(PathBuf),
    /// Whose folder on Windows it goes to is unknown.
    #[error(transparent)]
    Place(PlaceError),
    /// It may be that of several.
    #[error(
        "several users of Windows may be meant ({0}): create an empty file .wslconfig in the folder of the one that runs WSL, or run `sudo wslmesh host install`"
    )]
    WhichUser(String),
    /// The program could not be copied to the Windows drive.
    #[error(transparent)]
    Unpack(#[from] PathError),
    /// The mount of the Windows drive does not allow that to root.
    #[error("{0}: {1}")]
    Denied(PathError, String),
    /// The program could not be started in the guest.
    #[error("the relay {0}")]
    Start(#[from] ChildError),
    /// The blocking task of its start failed.
    #[error("starting the relay: {0}")]
    Blocked(#[from] BlockingError),
    /// It did not do this in this time.
    #[error("the relay did not {} within {} s", .0, .1.as_secs_f32())]
    Timeout(&'static str, Duration),
    /// It speaks another version of the protocol.
    #[error("the relay speaks version {0}, this agent speaks version {VERSION}")]
    Version(u32),
    /// It sent something invalid.
    #[error("the relay violated the protocol: {0}")]
    Protocol(String),
    /// It found a command invalid.
    #[error("the relay rejected a command: {0}")]
    Rejected(String),
    /// It sends more than any good one would.
    #[error("the relay floods the agent with events, and was ended")]
    Flood,
    /// The pipe of its standard input is full.
    #[error("the relay does not read its commands")]
    Stuck,
    /// A pipe to it failed.
    #[error("the relay's pipe failed: {0}")]
    Pipe(#[from] io::Error),
    /// It was started with administrator rights and refused them.
    #[error("the relay was started with administrator rights")]
    Elevated,
    /// WSL's init says that Windows did not start it.
    #[error(
        "Windows did not start the relay ({0}): a policy such as AppLocker or Smart App Control forbids it, or its file is damaged"
    )]
    Forbidden(String),
    /// It exited.
    #[error("the relay ended with {code}: {stderr}")]
    Ended {
        /// Its exit code or signal.
        code: String,
        /// The start of its standard error, safe for a journal.
        stderr: String,
    },
}

impl RelayError {
    /// The health code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Interop(error) => error.code(),
            Self::Missing(_) => Code::RelayMissing,
            Self::NotInstalled(_) => Code::RelayLoopback,
            Self::Elevated => Code::RelayElevated,
            Self::Denied(..) => Code::DriveDenied,
            _ => Code::RelayFailed,
        }
    }
}

/// A relay, or another program that stays, that was just started. Dropping it kills its process group.
#[derive(Debug)]
pub struct Started(Child);

impl Started {
    /// Its standard input, output and error, once.
    ///
    /// # Errors
    /// They were taken before.
    pub fn pipes(&mut self) -> io::Result<(OwnedFd, OwnedFd, OwnedFd)> {
        let child = &mut self.0;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                Ok((stdin.into(), stdout.into(), stderr.into()))
            }
            _ => Err(ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        // Its helpers may outlive it, and are killed in any case.
        kill_process_group(pid, Signal::KILL).unwrap_or_default();
        if matches!(self.0.try_wait(), Ok(None)) {
            // The kernel may take a moment, which only a thread can wait for; without
            // one it stays a zombie until the agent exits.
            let wait = move || retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
            drop(thread::Builder::new().spawn(wait));
        }
    }
}

/// How the relay is started. `lib` is the folder of our programs. Blocks.
///
/// # Errors
/// The program does not exist, or Windows cannot be reached.
pub fn command(location: &RelayLocation, lib: &Path) -> Result<Command, RelayError> {
    let existing = |program: PathBuf| match fs::metadata(&program) {
        Ok(meta) if meta.is_file() => Ok(program),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(cannot("look at", &program)(error).into())
        }
        Ok(_) | Err(_) => Err(RelayError::Missing(program)),
    };
    match location {
        RelayLocation::Guest => {
            let mut command = Command::new(existing(lib.join(GUEST_PROGRAM))?);
            command.env_clear().current_dir("/");
            Ok(command)
        }
        RelayLocation::Installed { program, .. } => {
            let interop = Interop::find()?;
            let program = interop.drives.on_linux(program);
            let program = existing(program).map_err(|error| match error {
                RelayError::Missing(program) => RelayError::NotInstalled(program),
                error => denied(&interop, error),
            })?;
            Ok(interop.command(&program)?)
        }
        RelayLocation::Unpacked(folder) => {
            let interop = Interop::find()?;
            let folder = interop.drives.on_linux(folder);
            let program = unpack::unpack(&lib.join(WINDOWS_PROGRAM), &folder)
                .map_err(|error| denied(&interop, error))?;
            Ok(interop.command(&program)?)
        }
    }
}

/// Names what the drive is mounted with where that is the reason.
fn denied(interop: &Interop, error: RelayError) -> RelayError {
    match error {
        RelayError::Unpack(error) if error.source.kind() == ErrorKind::PermissionDenied => {
            let reason = interop.drives.reason(&error.path);
            RelayError::Denied(error, reason)
        }
        RelayError::Unpack(error) if error.source.kind() == ErrorKind::ReadOnlyFilesystem => {
            let reason = "the service may write below /mnt alone".to_owned();
            RelayError::Denied(error, reason)
        }
        error => error,
    }
}

/// Starts it as a child of this process, with which it ends. Blocks.
///
/// # Errors
/// The system does not start it.
pub fn spawn(mut command: Command) -> Result<Started, ChildError> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.spawn().map(Started).map_err(ChildError::Start)
}

/// What a relay is for the agent beside its pipes.
#[derive(Debug)]
enum Runner {
    /// A child, which is killed when this is dropped.
    Child {
        started: Started,
        /// A pidfd. It becomes readable at the exit (pidfd_open(2)), and this is
        /// tokio's safe way to wait for a file descriptor.
        exit: Receiver,
    },
    /// A unit of its own, which outlives this process.
    Unit(RelayRole),
}

/// A running relay. Dropping it kills one that is a child.
#[derive(Debug)]
pub struct Process {
    stdin: Option<fs::File>,
    stdout: Output,
    /// How much of the output is known to hold no end of a line.
    scanned: usize,
    stderr: Output,
    allowance: Allowance,
    /// The answer to this id is awaited; what comes before it was for another agent.
    attaching: Option<u64>,
    runner: Runner,
}

impl Process {
    /// A relay that was started as a child, on the event loop.
    ///
    /// # Errors
    /// Its pipes cannot be watched.
    pub fn adopt(mut started: Started) -> Result<Self, RelayError> {
        let (stdin, stdout, stderr) = started.pipes()?;
        let pipes = Pipes {
            // Of a child it is not asked.
            role: RelayRole::Entry,
            stdin,
            stdout,
            stderr,
        };
        let exit = pidfd_open(Pid::from_child(&started.0), PidfdFlags::NONBLOCK);
        let exit = Receiver::from_owned_fd_unchecked(exit.map_err(io::Error::from)?)?;
        Self::over(pipes, Runner::Child { started, exit })
    }

    /// A relay that was started as a unit.
    ///
    /// # Errors
    /// Its pipes cannot be watched.
    pub fn in_unit(pipes: Pipes) -> Result<Self, RelayError> {
        let runner = Runner::Unit(pipes.role);
        Self::over(pipes, runner)
    }

    /// A relay that an earlier agent started as a unit and left. `id` must be higher than
    /// any number of a command before.
    ///
    /// # Errors
    /// It has ended, or its pipes cannot be watched.
    pub fn attach(pipes: Pipes, id: u64) -> Result<Self, RelayError> {
        let mut process = Self::in_unit(pipes)?;
        process.attaching = Some(id);
        // The former agent may have been killed in the middle of a line.
        process.write(b"\n")?;
        process.send(&protocol::Command::Attach { id })?;
        Ok(process)
    }

    fn over(pipes: Pipes, runner: Runner) -> Result<Self, RelayError> {
        let stdin = pipes.stdin;
        rustix::io::ioctl_fionbio(&stdin, true).map_err(io::Error::from)?;
        // So that the longest line fits. A smaller pipe takes shorter ones.
        rustix::pipe::fcntl_setpipe_size(&stdin, MAX_LINE)
            .map(drop)
            .unwrap_or_default();
        Ok(Self {
            stdin: Some(stdin.into()),
            stdout: Output::new(pipes.stdout)?,
            scanned: 0,
            stderr: Output::new(pipes.stderr)?,
            allowance: Allowance::new(Instant::now()),
            attaching: None,
            runner,
        })
    }

    /// Sends a command, at once or not at all.
    ///
    /// # Errors
    /// It has exited, or does not read. A part of the line may be in the pipe:
    /// the process must not be used any more.
    pub fn send(&mut self, command: &protocol::Command) -> Result<(), RelayError> {
        let mut line = serde_json::to_vec(command).map_err(io::Error::from)?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(io::Error::from(ErrorKind::FileTooLarge).into());
        }
        // The answer is none that it sends by itself.
        self.allowance.add(MAX_LINE);
        self.write(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RelayError> {
        let stdin = self.stdin.as_mut();
        let stdin = stdin.ok_or(io::Error::from(ErrorKind::BrokenPipe))?;
        match stdin.write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(RelayError::Stuck),
            written => Ok(written?),
        }
    }

    /// Closes its standard input, which makes it exit.
    pub fn shutdown(&mut self) {
        self.stdin = None;
        if let Runner::Unit(role) = self.runner {
            Pipes::forget(role);
        }
    }

    /// The process number of a child.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        match &self.runner {
            Runner::Child { started, .. } => Some(started.0.id()),
            Runner::Unit(_) => None,
        }
    }

    /// Whether it is a unit of its own.
    #[must_use]
    pub const fn is_unit(&self) -> bool {
        matches!(self.runner, Runner::Unit(_))
    }

    /// Receives its next event. Cancel safe.
    ///
    /// # Errors
    /// It has exited, or sent something invalid or too much.
    pub async fn recv(&mut self) -> Result<Event, RelayError> {
        loop {
            if let Some(line) = self.line() {
                self.spend(line.len().max(MIN_EVENT))?;
                let event = serde_json::from_slice(&line);
                if self.attaching.is_none() {
                    return event.map_err(|_| not_an_event(&line));
                }
                let ours = |event: &Event| matches!(event, Event::Ready { attached, .. } if *attached == self.attaching);
                if let Some(event) = event.ok().filter(ours) {
                    self.attaching = None;
                    return Ok(event);
                }
                continue;
            }
            if self.stdout.bytes.len() > MAX_LINE {
                return Err(not_an_event(
                    self.stdout.bytes.get(..512).unwrap_or_default(),
                ));
            }
            if !self.stdout.open {
                return Err(self.exit_error().await);
            }
            select! {
                biased;
                ready = self.stdout.readable() => {
                    ready?;
                    self.stdout.read()?;
                }
                ready = self.stderr.readable() => {
                    ready?;
                    let before = self.stderr.bytes.len();
                    self.stderr.read()?;
                    let read = self.stderr.bytes.len().saturating_sub(before);
                    self.stderr.bytes.truncate(MAX_STDERR);
                    self.spend(read)?;
                }
                exited = self.runner.exit() => {
                    exited?;
                    // A helper of it may hold the pipe open: what is in it is all.
                    while self.stdout.bytes.len() <= MAX_LINE && self.stdout.read()? {}
                    self.stdout.open = false;
                }
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), RelayError> {
        let allowed = self.allowance.spend(bytes, Instant::now());
        allowed.then_some(()).ok_or(RelayError::Flood)
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let bytes = &mut self.stdout.bytes;
        let fresh = bytes.get(self.scanned..).unwrap_or_default();
        let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.scanned = bytes.len();
            return None;
        };
        let end = std::mem::take(&mut self.scanned) + at;
        Some(bytes.drain(..=end).collect())
    }

    /// Why it exited.
    async fn exit_error(&mut self) -> RelayError {
        let code = match &mut self.runner {
            Runner::Child { started, exit } => {
                let exited = timeout(EXIT_TIMEOUT, exit.readable()).await;
                exited.map(drop).unwrap_or_default();
                let Ok(Some(status)) = started.0.try_wait() else {
                    return RelayError::Pipe(ErrorKind::UnexpectedEof.into());
                };
                match (status.code(), status.signal()) {
                    (Some(code), _) if code == i32::from(EXIT_ELEVATED) => {
                        return RelayError::Elevated;
                    }
                    (Some(code), _) => format!("exit code {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => status.to_string(),
                }
            }
            Runner::Unit(role) => format!("its unit (journalctl -u {})", relay_unit(*role)),
        };
        while self.stderr.bytes.len() < MAX_STDERR && self.stderr.read().unwrap_or_default() {}
        self.stderr.bytes.truncate(MAX_STDERR);
        match said_at_its_end(&self.stderr.bytes) {
            Err(error) => error.into(),
            Ok(said) if said.is_empty() => RelayError::Ended {
                code,
                stderr: "no error message".to_owned(),
            },
            // So init says that Windows started nothing, whatever the error but a missing
            // file and missing rights.
            Ok(said) if said.ends_with(": Invalid argument") => RelayError::Forbidden(said),
            Ok(stderr) => RelayError::Ended { code, stderr },
        }
    }
}

impl Runner {
    /// Waits for the exit of a child. A unit's is seen by the end of its output.
    async fn exit(&self) -> io::Result<()> {
        match self {
            Self::Child { exit, .. } => exit.readable().await,
            Self::Unit(_) => pending().await,
        }
    }
}

fn not_an_event(line: &[u8]) -> RelayError {
    let line = excerpt(&String::from_utf8_lossy(line));
    RelayError::Protocol(format!("not an event: \"{line}\""))
}

#[cfg(test)]
mod tests;
