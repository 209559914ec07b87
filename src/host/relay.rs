//! The relay's process: started on Windows through interop or in here, told by
//! lines on its standard input, heard by lines on its standard output.
//!
//! [`Started`] is made where waiting is allowed, because looking at a Windows
//! drive and starting a program block. [`Process`] belongs to the loop: telling
//! it something never waits.

mod unpack;

use std::{
    fmt,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use tokio::{net::unix::pipe::Receiver, select, time::timeout};

use crate::{
    interop::{Interop, InteropError, child::ChildError},
    model::{Code, RelayPlace, excerpt, plain},
};
use wslmesh_relay::protocol::{EXIT_ELEVATED, Event, MAX_LINE, Order, VERSION};

/// The relay's program in the guest, in the folder of our programs.
pub const GUEST: &str = "wslmesh-relay";
/// The relay's program for Windows, in the folder of our programs.
pub const WINDOWS: &str = "windows/wslmesh-relay.exe";

/// Most bytes of standard error that are kept; the rest is read and dropped.
const MOST_COMPLAINTS: usize = 4 << 10;

/// How long a relay that has closed its output may take to end by itself.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Why the relay does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Windows is out of reach.
    #[error(transparent)]
    Interop(#[from] InteropError),
    /// Its program is not there.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// Its program could not be put on the Windows drive.
    #[error("cannot put the relay at {}: {source}", path.display())]
    Unpack {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It could not be started in here.
    #[error("the relay {0}")]
    Start(ChildError),
    /// Its pipes could not be watched.
    #[error("the relay's pipes cannot be watched: {0}")]
    Watch(io::Error),
    /// It did not say that it is ready.
    #[error("the relay did not say a word within {} s", .0.as_secs_f32())]
    NotReady(Duration),
    /// It did not confirm what it was told.
    #[error("the relay did not confirm its forwards within {} s", .0.as_secs_f32())]
    NotConfirmed(Duration),
    /// It speaks another version.
    #[error("the relay speaks version {0}, this agent speaks version {VERSION}")]
    Version(u32),
    /// It said something that is no event.
    #[error("the relay said something that it should not: \"{0}\"")]
    Garbage(String),
    /// It did not understand an order.
    #[error("the relay did not understand an order: {0}")]
    Invalid(String),
    /// It does not read what it is told.
    #[error("the relay does not read its orders")]
    Stuck,
    /// A pipe to it broke.
    #[error("the relay's pipe broke: {0}")]
    Pipe(io::Error),
    /// It was started with administrator rights and refused them.
    #[error("the relay was started with administrator rights")]
    Elevated,
    /// It ended.
    #[error("the relay ended with {code}: {complaint}")]
    Ended {
        /// Its exit code or signal.
        code: String,
        /// The start of what it said to standard error, safe for a journal.
        complaint: String,
    },
    /// The way to it hangs where no deadline reaches.
    #[error("starting the relay has been hanging for {} s", .0.as_secs())]
    Hangs(Duration),
}

impl RelayError {
    /// The health code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Interop(error) => error.code(),
            Self::Missing(_) => Code::RelayMissing,
            Self::Elevated => Code::RelayElevated,
            Self::Unpack { .. }
            | Self::Start(_)
            | Self::Watch(_)
            | Self::NotReady(_)
            | Self::NotConfirmed(_)
            | Self::Version(_)
            | Self::Garbage(_)
            | Self::Invalid(_)
            | Self::Stuck
            | Self::Pipe(_)
            | Self::Ended { .. }
            | Self::Hangs(_) => Code::RelayFailed,
        }
    }
}

/// A relay that was started a moment ago. Dropping it kills its process group.
pub struct Started {
    /// There until it is dropped.
    child: Option<Child>,
    id: u32,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Started").field(&self.id).finish()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Its helpers may outlive it, and are ended in any case.
        if let Some(group) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        // It is dead as soon as the kernel has come round to it, and nobody waits
        // for that but a thread; without one it stays a zombie until we end.
        thread::Builder::new()
            .spawn(move || child.wait().map(drop).unwrap_or_default())
            .map(drop)
            .unwrap_or_default();
    }
}

/// Starts the relay. `lib` is the folder of our programs. Blocks.
///
/// # Errors
/// Its program is not there or cannot be started.
pub fn start(place: &RelayPlace, lib: &Path) -> Result<Started, RelayError> {
    let program = match place {
        RelayPlace::Guest => {
            let program = lib.join(GUEST);
            if !program.is_file() {
                return Err(RelayError::Missing(program));
            }
            let mut command = Command::new(program);
            command.env_clear().current_dir("/");
            return spawn(command).map_err(RelayError::Start);
        }
        RelayPlace::Installed { program, .. } => {
            let interop = Interop::find()?;
            let program = interop.linux_path(program);
            if !program.is_file() {
                return Err(RelayError::Missing(program));
            }
            (interop, program)
        }
        RelayPlace::Unpacked(folder) => {
            let interop = Interop::find()?;
            let folder = interop.linux_path(folder);
            (interop, unpack::unpack(&lib.join(WINDOWS), &folder)?)
        }
    };
    let (interop, program) = program;
    Ok(interop.start(&program, spawn)?)
}

fn spawn(mut command: Command) -> Result<Started, ChildError> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn().map_err(ChildError::Start)?;
    Ok(Started {
        id: child.id(),
        child: Some(child),
    })
}

/// A relay that runs. Dropping it kills its process group.
#[derive(Debug)]
pub struct Process {
    started: Started,
    orders: Option<OwnedFd>,
    events: Receiver,
    complaints: Option<Receiver>,
    /// A pidfd. It is waited for like a pipe and becomes readable at the end
    /// (pidfd_open(2)); this is tokio's safe way to wait for a file descriptor.
    exit: Receiver,
    heard: Vec<u8>,
    /// How much of `heard` is known to hold no line's end.
    looked: usize,
    complaint: Vec<u8>,
    silent: bool,
}

impl Process {
    /// Takes over a relay that was started, on the loop.
    ///
    /// # Errors
    /// Its pipes cannot be watched.
    pub fn adopt(mut started: Started) -> Result<Self, RelayError> {
        let gone = || RelayError::Watch(ErrorKind::BrokenPipe.into());
        let child = started.child.as_mut().ok_or_else(gone)?;
        let orders = OwnedFd::from(child.stdin.take().ok_or_else(gone)?);
        let events = OwnedFd::from(child.stdout.take().ok_or_else(gone)?);
        let complaints = OwnedFd::from(child.stderr.take().ok_or_else(gone)?);
        rustix::io::ioctl_fionbio(&orders, true).map_err(watch)?;
        // The longest line fits in at once. A smaller pipe takes shorter ones.
        rustix::pipe::fcntl_setpipe_size(&orders, MAX_LINE)
            .map(drop)
            .unwrap_or_default();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let exit = pidfd_open(pid.ok_or_else(gone)?, PidfdFlags::NONBLOCK).map_err(watch)?;
        Ok(Self {
            orders: Some(orders),
            events: Receiver::from_owned_fd(events).map_err(RelayError::Watch)?,
            complaints: Some(Receiver::from_owned_fd(complaints).map_err(RelayError::Watch)?),
            exit: Receiver::from_owned_fd_unchecked(exit).map_err(RelayError::Watch)?,
            started,
            heard: Vec::new(),
            looked: 0,
            complaint: Vec::new(),
            silent: false,
        })
    }

    /// Tells it something, at once or not at all.
    ///
    /// # Errors
    /// It is gone, or does not read. A part of the line may be on its way: it is
    /// of no use any more.
    pub fn tell(&mut self, order: &Order) -> Result<(), RelayError> {
        let mut line = serde_json::to_vec(order).map_err(|error| RelayError::Pipe(error.into()))?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(RelayError::Pipe(ErrorKind::FileTooLarge.into()));
        }
        let Some(orders) = &self.orders else {
            return Err(RelayError::Pipe(ErrorKind::BrokenPipe.into()));
        };
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(orders.as_fd(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(RelayError::Stuck),
                Err(error) => return Err(RelayError::Pipe(error.into())),
            }
        }
        Ok(())
    }

    /// Closes its standard input, which asks it to end.
    pub fn dismiss(&mut self) {
        self.orders = None;
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.started.id
    }

    /// Waits for what it says next. Nothing is lost when the wait is dropped.
    ///
    /// # Errors
    /// It has ended, or says what it should not.
    pub async fn hear(&mut self) -> Result<Event, RelayError> {
        loop {
            if let Some(line) = self.line() {
                return serde_json::from_slice(&line)
                    .map_err(|_| RelayError::Garbage(excerpt(&String::from_utf8_lossy(&line))));
            }
            if self.heard.len() > MAX_LINE {
                let start = self.heard.get(..512).unwrap_or_default();
                return Err(RelayError::Garbage(excerpt(&String::from_utf8_lossy(
                    start,
                ))));
            }
            if self.silent {
                return Err(self.last_words().await);
            }
            select! {
                biased;
                ready = self.events.readable() => {
                    ready.map_err(RelayError::Pipe)?;
                    self.silent = !drain(&self.events, &mut self.heard, MAX_LINE + 1)?;
                }
                ready = readable(self.complaints.as_ref()) => {
                    ready.map_err(RelayError::Pipe)?;
                    self.listen_to_complaints()?;
                }
                ended = self.exit.readable() => {
                    ended.map_err(RelayError::Watch)?;
                    // A helper of it may hold the pipe open: what is in it is all.
                    drain(&self.events, &mut self.heard, MAX_LINE + 1)?;
                    self.silent = true;
                }
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let fresh = self.heard.get(self.looked..).unwrap_or_default();
        match fresh.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let end = self.looked + at;
                self.looked = 0;
                Some(self.heard.drain(..=end).collect())
            }
            None => {
                self.looked = self.heard.len();
                None
            }
        }
    }

    fn listen_to_complaints(&mut self) -> Result<(), RelayError> {
        let Some(complaints) = &self.complaints else {
            return Ok(());
        };
        let mut heard = Vec::new();
        let open = drain(complaints, &mut heard, MOST_COMPLAINTS)?;
        let room = MOST_COMPLAINTS.saturating_sub(self.complaint.len());
        heard.truncate(room);
        self.complaint.append(&mut heard);
        if !open {
            self.complaints = None;
        }
        Ok(())
    }

    /// Why it ended.
    async fn last_words(&mut self) -> RelayError {
        let ended = timeout(LAST_BREATH, self.exit.readable()).await;
        ended.map(drop).unwrap_or_default();
        self.listen_to_complaints().unwrap_or_default();
        let status = self.started.child.as_mut().map(Child::try_wait);
        let Some(Ok(Some(status))) = status else {
            return RelayError::Pipe(ErrorKind::UnexpectedEof.into());
        };
        if status.code() == Some(i32::from(EXIT_ELEVATED)) {
            return RelayError::Elevated;
        }
        RelayError::Ended {
            code: in_words(status),
            complaint: match plain(&String::from_utf8_lossy(&self.complaint)) {
                text if text.is_empty() => "it said nothing".to_owned(),
                text => text,
            },
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn watch(error: Errno) -> RelayError {
    RelayError::Watch(error.into())
}

async fn readable(pipe: Option<&Receiver>) -> io::Result<()> {
    match pipe {
        Some(pipe) => pipe.readable().await,
        None => std::future::pending().await,
    }
}

/// Takes what is in the pipe, up to about `most` bytes in `into`. Says whether
/// the pipe is still open.
fn drain(pipe: &Receiver, into: &mut Vec<u8>, most: usize) -> Result<bool, RelayError> {
    let mut part = [0; 16 << 10];
    while into.len() < most {
        match pipe.try_read(&mut part) {
            Ok(0) => return Ok(false),
            Ok(read) => into.extend_from_slice(part.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(RelayError::Pipe(error)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
