//! One agent for each network namespace.
//!
//! All WSL distributions of a user share one network namespace, and two agents
//! in it would undo each other's work. Names of abstract Unix sockets belong to the network
//! namespace (unix(7), network_namespaces(7)), so binding one is the election:
//! atomic, and undone by the kernel when the leader exits.

use std::{
    fmt, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream},
    },
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
};

use crate::model::{Code, Finding};

const NAME: &[u8] = b"wslmesh/agent";

/// Standbys whose connections the leader keeps; more of them retry by themselves.
const MOST_STANDBYS: usize = 64;

/// Rounds of an election before it is called undecided.
const ROUNDS: usize = 3;

/// The leadership, for as long as this lives.
#[derive(Debug)]
pub struct Leadership(StdListener);

/// What an attempt to lead gave.
#[derive(Debug)]
pub enum Election {
    /// This process leads.
    Won(Leadership),
    /// Another one does.
    Lost(Leader),
}

/// Who holds the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// An agent of root or of our own user. Its process number is `None` when
    /// it lives in another distribution, whose processes have no number here.
    Agent {
        /// The process.
        pid: Option<i32>,
    },
    /// A process of another user, who must not keep root's agent from working.
    OtherUser {
        /// The user.
        uid: u32,
        /// The process, where it has a number here.
        pid: Option<i32>,
    },
    /// The name is bound by a process that does not answer.
    Unresponsive,
}

impl Holder {
    /// Why this agent is on standby.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let code = match self {
            Self::Agent { .. } => Code::Standby,
            Self::OtherUser { .. } | Self::Unresponsive => Code::LeaderUntrusted,
        };
        Finding::new(code, "", self.to_string())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOLDS: &str = "holds the leader-election socket";
        match self {
            Self::Agent { pid: Some(pid) } => write!(f, "process {pid} leads"),
            Self::Agent { pid: None } => f.write_str("an agent in another distribution leads"),
            Self::OtherUser { uid, pid } => match pid {
                Some(pid) => write!(f, "process {pid} of user {uid} {HOLDS}"),
                None => write!(f, "a process of user {uid} in another distribution {HOLDS}"),
            },
            Self::Unresponsive => write!(f, "a process that does not answer {HOLDS}"),
        }
    }
}

/// The one that leads.
#[derive(Debug)]
pub struct Leader {
    /// Who it is.
    pub holder: Holder,
    stream: Option<UnixStream>,
}

/// Tries to lead.
///
/// # Errors
/// The socket could not be made for another reason than that it is taken.
pub fn elect() -> io::Result<Election> {
    let address = SocketAddr::from_abstract_name(NAME)?;
    for _ in 0..ROUNDS {
        match StdListener::bind_addr(&address) {
            Ok(listener) => return Ok(Election::Won(Leadership(listener))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
        // The leader may die between the two calls; then the next round is won.
        match connect() {
            Ok(stream) => {
                let holder = holder(&stream)?;
                return Ok(Election::Lost(Leader {
                    holder,
                    stream: Some(stream),
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // Its queue is full and is not emptied.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Election::Lost(Leader {
        holder: Holder::Unresponsive,
        stream: None,
    }))
}

/// Connects without waiting: std would block where a queue is full.
fn connect() -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(NAME)?)?;
    UnixStream::from_std(StdStream::from(socket))
}

fn holder(stream: &UnixStream) -> io::Result<Holder> {
    let peer = stream.peer_cred()?;
    let pid = peer.pid().filter(|pid| *pid > 0);
    let uid = peer.uid();
    Ok(if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        Holder::Agent { pid }
    } else {
        Holder::OtherUser { uid, pid }
    })
}

impl Leadership {
    /// Keeps the standbys' connections open: their end is how they learn of
    /// this process's end.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn serve(&self) -> io::Result<()> {
        let listener = self.0.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        tokio::spawn(async move {
            let mut standbys = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                standbys.retain(is_open);
                if standbys.len() < MOST_STANDBYS {
                    standbys.push(stream);
                }
            }
        });
        Ok(())
    }
}

fn is_open(standby: &UnixStream) -> bool {
    matches!(standby.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl Leader {
    /// Waits for its end; at once where it does not answer.
    pub async fn ended(self) {
        if let Some(mut stream) = self.stream {
            // It never writes: whatever is read means that it has ended.
            stream.read_u8().await.map(drop).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
