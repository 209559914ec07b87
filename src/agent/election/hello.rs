//! How agents find each other, and how each knows the others from strangers.
//!
//! A holder of a name counts as an agent if the kernel says that it is root
//! (`SO_PEERCRED`), it answers a request with a hello, and it proves to have
//! `CAP_NET_ADMIN` in this network namespace, which root in a container has not. Where
//! the process is in another PID namespace its capabilities cannot be read, so it sends
//! a message from one rtnetlink socket to another: the kernel allows that with this
//! capability only (netlink(7); `netlink_sendmsg` in the kernel's net/netlink/af_netlink.c).
//!
//! Version 0.1.0 knows one name, leads if it can bind it, and answers nothing. A candidate
//! binds that name too. Who holds it already leads if it is seen to be root with
//! `CAP_NET_ADMIN`; beside one whose rights cannot be seen this agent works, with a warning.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader as StdReader},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream},
    },
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::Pid,
    thread::{CapabilitySet, capabilities},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    select,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    super::members::{Members, wire::VERSION},
    proof::{Proofs, parse_request, prove, random},
};

/// The name of version 0.1.0. Others have a slash and a number after it.
const OLD: &str = "wslmesh/agent";
/// What an agent answers: this, its version, and the request for a proof from whoever
/// registers forwards. Of another version only the first two are read.
const HELLO: &str = "wslmesh ";
/// Longest line of a request or an answer, in bytes.
const LONGEST: u64 = 64;
/// How long a connection may take to make its request.
const REQUEST: Duration = Duration::from_secs(2);
/// Standbys whose connections the leader keeps; more of them retry by themselves.
const MOST_STANDBYS: usize = 64;
/// Connections that are open at once, to answer and to ask. The others wait.
const AT_ONCE: usize = 256;
/// How long a holder may take once half of them are taken.
const TURN: Duration = Duration::from_millis(50);
/// Between two rounds of connecting to the names whose queue is full, at first and at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(10));

fn full_name(number: u128) -> String {
    format!("{OLD}/{number:032x}")
}

/// A name of this process, where it answers other agents until this is dropped.
#[derive(Debug)]
struct Candidate {
    number: u128,
    /// The agents on standby behind this one.
    members: Members,
    serving: JoinHandle<()>,
    /// Has the name of version 0.1.0, and does not listen: it is not mistaken for such an
    /// agent, and has no queue to fill.
    old: Option<OwnedFd>,
}

impl Candidate {
    /// Binds a random name.
    fn listen() -> io::Result<Self> {
        let number = u128::from(random()) << 64 | u128::from(random());
        let name = full_name(number);
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let members = Members::default();
        let serving = tokio::spawn(serve(listener, name, members.clone()));
        Ok(Self {
            number,
            members,
            serving,
            old: None,
        })
    }

    /// Whether it has the name of version 0.1.0, which no other process has then.
    fn claims_old(&mut self) -> bool {
        let bound = || {
            let socket = socket()?;
            rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(OLD.as_bytes())?)?;
            Ok::<_, io::Error>(socket)
        };
        self.old = self.old.take().or_else(|| bound().ok());
        self.old.is_some()
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers other agents, and keeps the connections of standbys open: their end is how
/// they learn of this process's end.
async fn serve(listener: UnixListener, name: String, members: Members) {
    let kept = Arc::new(Semaphore::new(MOST_STANDBYS));
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept(), if connections.len() < AT_ONCE => match accepted {
                Ok((stream, _)) => {
                    if let Ok(peer) = Peer::of(&stream) && peer.may_lead() {
                        let (kept, members) = (Arc::clone(&kept), members.clone());
                        connections.spawn(answer(stream, peer, name.clone(), kept, members));
                    }
                }
                // No descriptor is left.
                Err(_) => sleep(RETRY.0).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    mut stream: UnixStream,
    peer: Peer,
    name: String,
    kept: Arc<Semaphore>,
    members: Members,
) {
    let Ok(Some(request)) = timeout(REQUEST, read_line(&mut stream)).await else {
        return;
    };
    let Some((port, nonce)) = parse_request(&request) else {
        return;
    };
    // Without the capability the hello goes alone, and does not count.
    prove(port, nonce, &name).unwrap_or_default();
    let Ok(mut proofs) = Proofs::new() else {
        return;
    };
    let hello = hello(&proofs);
    if stream.write_all(hello.as_bytes()).await.is_ok()
        && let Ok(_kept) = kept.try_acquire()
    {
        let may_register = || peer.uid != 0 || proofs.has(&name);
        members.serve(stream, may_register).await;
    }
}

fn hello(proofs: &Proofs) -> String {
    format!("{HELLO}{VERSION} {}", proofs.request())
}

/// Its version, and where a proof goes that belongs to a registration: only where the
/// version is ours.
pub(super) fn parse_hello(line: &str) -> Option<(u32, Option<(u32, u64)>)> {
    let rest = line.strip_prefix(HELLO)?;
    let (version, request) = rest
        .trim_end()
        .split_once(' ')
        .unwrap_or((rest.trim_end(), ""));
    let version = version.parse().ok().filter(|version| *version != 0)?;
    let request = parse_request(&format!("{request}\n"));
    Some((version, request.filter(|_| version == VERSION)))
}

/// A line of another process; `None` where it closed the connection or is not text.
async fn read_line(stream: &mut UnixStream) -> Option<String> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(LONGEST));
    reader.read_line(&mut line).await.ok()?;
    line.ends_with('\n').then_some(line)
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

    /// Whether it is seen to have the right to administer the network. That of a process
    /// without a number here cannot be seen: it may be a container's root. capget(2) asks
    /// for no permission, unlike /proc.
    pub(super) fn may_administer(self) -> bool {
        let pid = self.pid.and_then(Pid::from_raw);
        pid.and_then(|pid| capabilities(Some(pid)).ok())
            .is_some_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
    }
}

/// What a name's holder did.
pub(super) enum Answer {
    /// It said hello.
    Hello {
        name: String,
        peer: Peer,
        stream: UnixStream,
        version: u32,
        /// Where a proof of ours goes, if it takes registrations.
        request: Option<(u32, u64)>,
    },
    /// It holds the name of version 0.1.0, whose agents say nothing.
    Old { peer: Peer, stream: UnixStream },
    /// It is another user's, whom nothing is asked.
    OtherUser { peer: Peer, stream: UnixStream },
    /// It closed the connection, or said something else.
    NoHello { peer: Peer },
    /// It has ended.
    Ended,
}

/// Finds out who holds the other names. It takes as long as connecting to each, whatever
/// strangers do with theirs, and has [`AT_ONCE`] connections at most.
pub(super) struct Inquiry {
    own: Candidate,
    request: Rc<str>,
    /// Names to connect to, [`OLD`] while another process has it. Their order changes.
    waiting: VecDeque<Option<u128>>,
    /// How many of them this round has left.
    left: usize,
    /// When the next round begins.
    due: Instant,
    pause: Duration,
    /// Holders that are asked. A name comes back if its holder is too slow for the others.
    asked: FuturesUnordered<LocalBoxFuture<'static, Result<Answer, u128>>>,
    /// The stranger that has [`OLD`].
    squatter: Option<Peer>,
}

impl Inquiry {
    /// From here on others find this process, and it finds those that came before.
    pub(super) fn begin(request: Rc<str>) -> io::Result<Self> {
        let own = Candidate::listen()?;
        let sockets = File::open("/proc/self/net/unix")?;
        let names = parse_names(StdReader::new(sockets))?.into_iter().map(Some);
        let waiting: VecDeque<_> = names
            .filter(|name| *name != Some(own.number))
            .chain([None])
            .collect();
        Ok(Self {
            own,
            request,
            left: waiting.len(),
            waiting,
            due: Instant::now(),
            pause: RETRY.0,
            asked: FuturesUnordered::new(),
            squatter: None,
        })
    }

    /// Those that wait for this process's end.
    pub(super) fn members(&self) -> Members {
        self.own.members.clone()
    }

    /// Holders that have not answered.
    pub(super) fn silent(&self) -> usize {
        let old = usize::from(self.own.old.is_none());
        self.waiting.len().saturating_sub(old) + self.asked.len()
    }

    /// The next answer; `None` when all have answered. Nothing is lost where this is
    /// dropped.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.connect_to_waiting() {
                return Some(answer);
            }
            let is_full = self.asked.len() == AT_ONCE;
            select! {
                Some(answer) = self.asked.next() => match answer {
                    Ok(answer) => return Some(answer),
                    Err(slow) => self.waiting.push_back(Some(slow)),
                },
                () = sleep_until(self.due), if !self.waiting.is_empty() && !is_full => {}
                else => return None,
            }
        }
    }

    /// Connects to the names that wait, each once in a round.
    fn connect_to_waiting(&mut self) -> Option<Answer> {
        let begin = Instant::now();
        if self.left == 0 && self.due <= begin {
            self.left = self.waiting.len();
        }
        let mut answer = None;
        while answer.is_none() && self.left > 0 && self.asked.len() < AT_ONCE {
            self.left -= 1;
            let name = self.waiting.pop_front()?;
            answer = match name {
                Some(number) => self.connect_to(number),
                None => self.connect_to_old(),
            };
        }
        if self.left == 0 && self.due <= begin {
            // However many they are, it takes a twentieth of the time at most.
            self.due = Instant::now() + self.pause.max(begin.elapsed() * 20);
            self.pause = (self.pause * 2).min(RETRY.1);
        }
        answer
    }

    fn connect_to(&mut self, number: u128) -> Option<Answer> {
        let name = full_name(number);
        let (peer, stream) = match connect(&name) {
            Ok(connected) => connected,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Some(Answer::Ended);
            }
            // Its queue is full: a flood, or it does not accept.
            Err(_) => {
                self.waiting.push_back(Some(number));
                return None;
            }
        };
        if !peer.may_lead() {
            return Some(Answer::OtherUser { peer, stream });
        }
        let turn = if self.asked.len() < AT_ONCE / 2 {
            Duration::MAX
        } else {
            TURN
        };
        let answer = ask(name, peer, stream, Rc::clone(&self.request));
        let answer = timeout(turn, answer).map(move |answer| answer.map_err(|_| number));
        self.asked.push(answer.boxed_local());
        None
    }

    /// Takes the name of version 0.1.0, or looks who has it.
    fn connect_to_old(&mut self) -> Option<Answer> {
        if self.own.claims_old() {
            return None;
        }
        self.waiting.push_back(None);
        // It does not listen where another candidate has it.
        let (peer, stream) = connect(OLD).ok()?;
        let is_new = self.squatter.replace(peer) != Some(peer);
        is_new.then(|| match peer.may_lead() {
            true => Answer::Old { peer, stream },
            false => Answer::OtherUser { peer, stream },
        })
    }
}

/// Asks the holder of a name, for as long as it takes.
async fn ask(name: String, peer: Peer, mut stream: UnixStream, request: Rc<str>) -> Answer {
    let asked = stream.write_all(request.as_bytes()).await;
    let hello = match asked {
        Ok(()) => read_line(&mut stream).await,
        Err(_) => None,
    };
    match hello.as_deref().and_then(parse_hello) {
        Some((version, request)) => Answer::Hello {
            name,
            peer,
            stream,
            version,
            request,
        },
        None => Answer::NoHello { peer },
    }
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Connects without waiting: std would block where a queue is full.
fn connect(name: &str) -> io::Result<(Peer, UnixStream)> {
    let socket = socket()?;
    rustix::net::connect(
        &socket,
        &SocketAddrUnix::new_abstract_name(name.as_bytes())?,
    )?;
    let stream = UnixStream::from_std(StdStream::from(socket))?;
    Ok((Peer::of(&stream)?, stream))
}

/// The names of listening stream sockets in the kernel's list, in which a name may be
/// anything, a line break too: what is no name of ours is left out. There may be millions.
pub(super) fn parse_names(sockets: impl BufRead) -> io::Result<Vec<u128>> {
    let name = |line: &[u8]| {
        // Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON and SOCK_STREAM.
        let mut fields = str::from_utf8(line).ok()?.split_whitespace().skip(3);
        if (fields.next()?, fields.next()?) != ("00010000", "0001") {
            return None;
        }
        let name = fields.nth(2)?.strip_prefix('@')?;
        let number = name.strip_prefix(OLD)?.strip_prefix('/')?;
        let number = u128::from_str_radix(number, 16).ok()?;
        (name == full_name(number)).then_some(number)
    };
    let names = sockets
        .split(b'\n')
        .filter_map(|line| line.map(|line| name(&line)).transpose());
    names.collect()
}
