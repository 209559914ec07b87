//! The switch's start, up to its hello.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt,
};
use wslmesh_relay::{
    link::{self, Frame, Frames, FromSwitch, ToSwitch, VERSION},
    protocol::MAX_LINE,
};

use super::{TunnelError, pump::Fault};
use crate::{
    host::relay::{self, Started},
    interop::{is_wsl, said_at_its_end},
};

/// Longest wait for the switch's hello.
const HELLO: Duration = Duration::from_secs(2);
/// How long the last words of a switch that ended may take.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Most bytes that are kept of them.
const MAX_WORDS: usize = 4 << 10;
/// What the kernel holds of a socket's stream, in bytes.
pub(super) const SOCKET: usize = 4 << 20;

/// Where the switch is.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// A program on Windows; `lib` is the folder of our programs. `installed` prefers the one
    /// that an administrator installed.
    Windows { lib: PathBuf, installed: bool },
    /// Behind this Unix socket.
    Socket(PathBuf),
}

/// A switch that runs. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Switch {
    /// Its process, which is killed with this.
    _started: Option<Started>,
    /// The other one's end of the socket.
    socket: Option<UnixStream>,
    words: mpsc::Receiver<Vec<u8>>,
}

/// The streams from and to it.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) from: File,
    pub(super) to: File,
    pub(super) frames: Frames,
}

/// What it said of itself.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    pub(super) program: String,
    pub(super) ipv6: bool,
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            socket.shutdown(Shutdown::Both).unwrap_or_default();
        }
    }
}

impl Switch {
    /// Why it ended by itself, where that is known better than by the end of its link.
    /// Blocks shortly.
    pub(super) fn why(&self, error: TunnelError) -> TunnelError {
        let ended = matches!(
            error,
            TunnelError::Fault(Fault::Closed | Fault::SecondWay | Fault::Link(_))
                | TunnelError::Silent(_)
        );
        let words = match ended {
            true => self.words.recv_timeout(LAST_WORDS).unwrap_or_default(),
            false => Vec::new(),
        };
        match said_at_its_end(&words) {
            Err(dead) => dead.into(),
            Ok(said) if said.is_empty() => error,
            // So init says that Windows started nothing (host/relay.rs).
            Ok(said) if said.ends_with(": Invalid argument") => TunnelError::Forbidden(said),
            Ok(said) => TunnelError::Ended(said),
        }
    }
}

/// Starts it or connects to it. Blocks.
pub(super) fn start(way: &Way) -> Result<(Switch, Streams), TunnelError> {
    let (words, received) = mpsc::channel();
    let (started, socket, from, to): (_, _, OwnedFd, OwnedFd) = match way {
        Way::Windows { .. } if !is_wsl() => return Err(TunnelError::NotWsl),
        Way::Windows { lib, installed } => {
            let command = relay::switch(lib, *installed)?;
            let mut started = relay::spawn(command).map_err(relay::RelayError::from)?;
            let pipes = started.pipes();
            let (to, from, errors) = pipes.map_err(system("take the switch's pipes"))?;
            // Fewer calls; smaller pipes work as well.
            for pipe in [&to, &from] {
                rustix::pipe::fcntl_setpipe_size(pipe, MAX_LINE)
                    .map(drop)
                    .unwrap_or_default();
            }
            let listen = move || listen(errors.into(), &words);
            let thread = thread::Builder::new().name("tunnel-words".to_owned());
            thread
                .spawn(listen)
                .map_err(system("start a thread for the switch's messages"))?;
            (Some(started), None, from, to)
        }
        Way::Socket(path) => {
            let socket = connect(path);
            let socket =
                socket.map_err(|error| TunnelError::Connect(path.display().to_string(), error))?;
            let clone = || socket.try_clone().map_err(system("copy a descriptor"));
            let (from, to) = (clone()?.into(), clone()?.into());
            (None, Some(socket), from, to)
        }
    };
    let switch = Switch {
        _started: started,
        socket,
        words: received,
    };
    let streams = Streams {
        from: from.into(),
        to: to.into(),
        frames: Frames::default(),
    };
    Ok((switch, streams))
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    sockopt::set_socket_send_buffer_size(&socket, SOCKET)?;
    sockopt::set_socket_recv_buffer_size(&socket, SOCKET)?;
    Ok(socket)
}

/// Reads all that it says on standard error, and keeps the first of it.
fn listen(mut errors: File, words: &mpsc::Sender<Vec<u8>>) {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match errors.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) if kept.len() < MAX_WORDS => {
                kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // Its receiver may have ended.
    words.send(kept).unwrap_or_default();
}

/// Exchanges the hellos. Blocks for 2 s at most.
pub(super) fn greet(
    streams: &mut Streams,
    nameservers: Vec<IpAddr>,
) -> Result<Greeting, TunnelError> {
    let mut hello = Vec::new();
    let message = ToSwitch::Hello {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        nameservers,
    };
    link::put_message(&mut hello, &message);
    match streams.to.write_all(&hello) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Fault::Closed)?,
        written => written.map_err(Fault::Pipe)?,
    }
    let deadline = Instant::now() + HELLO;
    loop {
        match streams.frames.next_frame().map_err(Fault::Link)? {
            Some(Frame::Control(body)) => {
                return match link::message(body).map_err(Fault::Link)? {
                    FromSwitch::Hello {
                        version: VERSION,
                        program,
                        ipv6,
                    } => Ok(Greeting {
                        program: crate::model::plain(&program),
                        ipv6,
                    }),
                    FromSwitch::Hello { version, .. } => Err(TunnelError::Version(version)),
                    FromSwitch::Refused { why } => {
                        Err(TunnelError::Refused(crate::model::plain(&why)))
                    }
                    _ => Err(TunnelError::Ended(
                        "it said something else than hello".to_owned(),
                    )),
                };
            }
            // Before its hello it knows no guest.
            Some(Frame::Packet(_)) => continue,
            None => {}
        }
        if !readable(streams.from.as_fd(), deadline)? {
            return Err(TunnelError::Silent(HELLO));
        }
        match streams.from.read(streams.frames.space()) {
            Ok(0) => Err(Fault::Closed)?,
            Ok(read) => streams.frames.filled(read),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => Err(Fault::Pipe(error))?,
        }
    }
}

/// Waits until there is something to read, or the deadline is over.
fn readable(from: impl AsFd, deadline: Instant) -> Result<bool, Fault> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| Fault::Closed)?;
    let mut ready = [PollFd::new(&from, PollFlags::IN)];
    match poll(&mut ready, Some(&left)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(Instant::now() < deadline),
        Err(error) => Err(Fault::Pipe(error.into())),
    }
}

/// A refusal of the system.
pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> TunnelError {
    move |error| TunnelError::System(what, error)
}
