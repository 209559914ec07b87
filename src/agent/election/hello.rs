//! How agents find each other, and how each knows the others from strangers.
//!
//! A holder of a name counts as an agent if the kernel says that it is root
//! (`SO_PEERCRED`), it answers a request with a hello, and it proves to have
//! `CAP_NET_ADMIN` in this network namespace, which root in a container has not. Where
//! the process is in another PID namespace its capabilities cannot be read, so it sends
//! a message from one rtnetlink socket to another: the kernel allows that with this
//! capability only (netlink(7); `netlink_sendmsg` in the kernel's net/netlink/af_netlink.c).

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, RandomState},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream},
    },
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::stream::LocalBoxStream;
use rtnetlink::sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_ROUTE};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    select,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// What the names begin with.
const PREFIX: &str = "wslmesh/agent";
/// What an agent answers.
const HELLO: &str = "wslmesh 1\n";
/// Longest line of a request or an answer, in bytes.
const LONGEST: u64 = 64;
/// How long a connection may take to make its request.
const REQUEST: Duration = Duration::from_secs(2);
/// Standbys whose connections the leader keeps; more of them retry by themselves.
const MOST_STANDBYS: usize = 64;
/// Between two attempts to connect to a name whose queue is full, at first and at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(10));

/// A number that a stranger cannot guess.
pub(super) fn random() -> u64 {
    // Seeded by the kernel.
    RandomState::new().hash_one(PREFIX)
}

/// A name of this process, where it answers other agents until this is dropped.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) name: String,
    serving: JoinHandle<()>,
}

impl Candidate {
    /// Binds a random name.
    pub(super) fn listen() -> io::Result<Self> {
        let name = format!("{PREFIX}/{:016x}{:016x}", random(), random());
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let serving = tokio::spawn(serve(listener, name.clone()));
        Ok(Self { name, serving })
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers other agents, and keeps the connections of standbys open: their end is how
/// they learn of this process's end.
async fn serve(listener: UnixListener, name: String) {
    let kept = Arc::new(Semaphore::new(MOST_STANDBYS));
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if Peer::of(&stream).is_ok_and(|peer| peer.may_lead()) => {
                    connections.spawn(answer(stream, name.clone(), Arc::clone(&kept)));
                }
                Ok(_) => {}
                // No descriptor is left.
                Err(_) => sleep(RETRY.0).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(mut stream: UnixStream, name: String, kept: Arc<Semaphore>) {
    let Ok(Some(request)) = timeout(REQUEST, read_line(&mut stream)).await else {
        return;
    };
    let Some((port, nonce)) = parse_request(&request) else {
        return;
    };
    // Without the capability the hello goes alone, and does not count.
    prove(port, nonce, &name).unwrap_or_default();
    if stream.write_all(HELLO.as_bytes()).await.is_ok()
        && let Ok(_kept) = kept.try_acquire()
    {
        stream.read_u8().await.map(drop).unwrap_or_default();
    }
}

/// A line of another process; `None` where it closed the connection or is not text.
async fn read_line(stream: &mut UnixStream) -> Option<String> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(LONGEST));
    reader.read_line(&mut line).await.ok()?;
    line.ends_with('\n').then_some(line)
}

/// Where to send the proof, and the number that belongs into it.
pub(super) fn parse_request(line: &str) -> Option<(u32, u64)> {
    let (port, nonce) = line.strip_suffix('\n')?.split_once(' ')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some((port, u64::from_str_radix(nonce, 16).ok()?))
}

/// What a proof says. It names the socket, so that a stranger cannot pass on that of an
/// agent, and is no netlink message: another receiver drops it for its length.
fn proof(nonce: u64, name: &str) -> Vec<u8> {
    format!("wslmesh {nonce:016x} {name}").into_bytes()
}

fn prove(port: u32, nonce: u64, name: &str) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    let to = NetlinkAddress::new(port, 0);
    socket.send_to(&proof(nonce, name), &to, 0).map(drop)
}

/// The proofs that arrived.
pub(super) struct Proofs {
    socket: Socket,
    port: u32,
    nonce: u64,
    arrived: BTreeSet<Vec<u8>>,
}

impl Proofs {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        Ok(Self {
            socket,
            port,
            nonce: random(),
            arrived: BTreeSet::new(),
        })
    }

    /// What to ask for one.
    pub(super) fn request(&self) -> Rc<str> {
        format!("{} {:016x}\n", self.port, self.nonce).into()
    }

    /// Whether the holder of this name, which has said hello, sent one before.
    pub(super) fn has(&mut self, name: &str) -> bool {
        loop {
            let mut bytes = Vec::with_capacity(128);
            if self.socket.recv(&mut bytes, 0).is_err() {
                break;
            }
            self.arrived.insert(bytes);
        }
        self.arrived.contains(&proof(self.nonce, name))
    }
}

/// The process at the other end, as it was when it connected or began to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    /// `None` where the process has no number here.
    pub(super) pid: Option<i32>,
}

impl Peer {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        Ok(Self {
            uid: peer.uid(),
            pid: peer.pid().filter(|pid| *pid > 0),
        })
    }

    /// Whether this process would be on standby for it: root, or our own user.
    fn may_lead(self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

/// What a name's holder did.
pub(super) enum Answer {
    /// It said hello.
    Hello {
        name: String,
        peer: Peer,
        stream: UnixStream,
    },
    /// It is another user's, whom nothing is asked.
    OtherUser { peer: Peer, stream: UnixStream },
    /// It closed the connection, or said something else.
    NoHello { peer: Peer },
    /// It has ended.
    Ended,
}

/// Answers as they come.
pub(super) type Answers = LocalBoxStream<'static, Answer>;

/// Asks the holder of a name, for as long as it takes.
pub(super) async fn ask(name: String, request: Rc<str>) -> Answer {
    let mut pause = RETRY.0;
    let mut stream = loop {
        match connect(&name) {
            Ok(stream) => break stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Answer::Ended;
            }
            // Its queue is full: a flood, or it does not accept.
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(RETRY.1);
    };
    let Ok(peer) = Peer::of(&stream) else {
        return Answer::Ended;
    };
    if !peer.may_lead() {
        return Answer::OtherUser { peer, stream };
    }
    let asked = stream.write_all(request.as_bytes()).await;
    if asked.is_ok() && read_line(&mut stream).await.as_deref() == Some(HELLO) {
        Answer::Hello { name, peer, stream }
    } else {
        Answer::NoHello { peer }
    }
}

/// Connects without waiting: std would block where a queue is full.
fn connect(name: &str) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    rustix::net::connect(&socket, &address)?;
    UnixStream::from_std(StdStream::from(socket))
}

/// The names that listen in this network namespace, without our own.
pub(super) fn others(own: &str) -> io::Result<Vec<String>> {
    let sockets = fs::read("/proc/self/net/unix")?;
    let mut names = parse_names(&String::from_utf8_lossy(&sockets));
    names.remove(own);
    Ok(names.into_iter().collect())
}

/// The names of listening stream sockets in the kernel's list, in which a name may be
/// anything, a line break too: what is no name of ours is left out.
pub(super) fn parse_names(sockets: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        // Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON and SOCK_STREAM.
        let mut fields = line.split_whitespace().skip(3);
        if (fields.next()?, fields.next()?) != ("00010000", "0001") {
            return None;
        }
        let name = fields.nth(2)?.strip_prefix('@')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.' | '_');
        let ours = name == PREFIX || name.starts_with(&format!("{PREFIX}/"));
        (ours && name.chars().all(plain)).then(|| name.to_owned())
    };
    sockets.lines().filter_map(name).collect()
}
