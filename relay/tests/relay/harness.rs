//! A relay under test, and guests for it to reach.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU16;
use std::process::{self, Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use wslmesh_relay::protocol::{
    Admit, Command, Counters, Event, Failure, Forward, Limits, Listen, Listener, Protocol, Session,
    SetForwards, VERSION,
};

/// How long a test waits for something before it fails.
/// Generous, because machines are slow and wine is slower.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How long a test waits to be sure that something does not happen.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// A relay. It is killed on drop.
pub(crate) struct Relay {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
    /// The next command.
    pub(crate) wanted: SetForwards,
}

/// The program, with pipes on each side.
pub(crate) fn program() -> process::Command {
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_wslmesh-relay"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

impl Relay {
    /// Starts one and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_by(program())
    }

    /// Starts one by that command, which has pipes on each side.
    pub(crate) fn start_by(command: process::Command) -> Self {
        let (mut child, stdin) = spawn(command);
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                let event = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("{error} in the event {line}"));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut relay = Self {
            child,
            stdin: Some(stdin),
            events,
            wanted: no_forwards(),
        };
        let first = relay.event();
        assert!(
            matches!(&first, Event::Ready { version: VERSION, program, attached: None } if program == env!("CARGO_PKG_VERSION")),
            "{first:?}"
        );
        relay
    }

    /// Starts one whose events are not read, and returns the pipe with them.
    pub(crate) fn start_unread() -> (Self, impl Read) {
        let (mut child, stdin) = spawn(program());
        let stdout = child.stdout.take().expect("a pipe");
        let relay = Self {
            child,
            stdin: Some(stdin),
            events: channel().1,
            wanted: no_forwards(),
        };
        (relay, stdout)
    }

    /// Adds a forward that listens on a free port of loopback.
    pub(crate) fn forward(&mut self, protocol: Protocol, guest: SocketAddr) -> SocketAddr {
        self.forward_at(Ipv4Addr::LOCALHOST.into(), protocol, guest)
    }

    /// Adds a forward that listens on a free port of that address.
    pub(crate) fn forward_at(
        &mut self,
        listen_address: IpAddr,
        protocol: Protocol,
        guest: SocketAddr,
    ) -> SocketAddr {
        for _ in 0..20 {
            let listen = Listen {
                protocol,
                listen_address,
                listen_port: free_port(protocol),
            };
            self.wanted.forwards.push(to(listen, guest));
            let applied = self.apply();
            let mine = applied.iter().find(|listener| listener.listen == listen);
            // The port may have gone to another test in between.
            if mine.expect("an answer for each forward").failure.is_none() {
                return address(listen);
            }
            self.wanted.forwards.pop();
        }
        panic!("no free port");
    }

    /// Changes the guest of a forward in the next command.
    pub(crate) fn repoint(&mut self, at: SocketAddr, guest: SocketAddr) {
        let mut all = self.wanted.forwards.iter_mut();
        let forward = all.find(|forward| address(forward.listen) == at);
        let forward = forward.expect("a known forward");
        *forward = to(forward.listen, guest);
    }

    /// Sends [`Relay::wanted`].
    pub(crate) fn apply_without_waiting(&mut self) {
        self.wanted.serial += 1;
        self.send(&Command::SetForwards(self.wanted.clone()));
    }

    /// Sends one UDP forward, to a relay whose events are not read.
    pub(crate) fn set_udp_forward(&mut self, at: SocketAddr, guest: SocketAddr) {
        let listen = Listen {
            protocol: Protocol::Udp,
            listen_address: at.ip(),
            listen_port: NonZeroU16::new(at.port()).expect("a port"),
        };
        self.wanted.forwards = vec![to(listen, guest)];
        self.apply_without_waiting();
    }

    /// Sends [`Relay::wanted`] and waits until it is in force.
    pub(crate) fn apply(&mut self) -> Vec<Listener> {
        self.apply_without_waiting();
        let serial = self.wanted.serial;
        self.until(|event| match event {
            Event::Applied {
                serial: of,
                listeners,
            } if of == serial => Some(listeners),
            _ => None,
        })
    }

    /// As [`Relay::apply`]; why the only forward does not listen.
    pub(crate) fn failure(&mut self) -> Option<Failure> {
        self.apply().first().expect("a forward").failure
    }

    pub(crate) fn send(&mut self, command: &Command) {
        let mut line = serde_json::to_vec(command).expect("JSON");
        line.push(b'\n');
        self.write(&line);
    }

    /// Writes bytes to standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input");
        stdin.write_all(bytes).expect("a relay that reads");
        stdin.flush().expect("a relay that reads");
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Event {
        self.events
            .recv_timeout(DEADLINE)
            .expect("an event before the deadline")
    }

    /// Fails if an event arrives within [`QUIET`].
    pub(crate) fn expect_no_event(&mut self) {
        let event = self.events.recv_timeout(QUIET);
        assert_eq!(event, Err(RecvTimeoutError::Timeout));
    }

    /// The first matching event; others are ignored.
    pub(crate) fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            if let Some(found) = wanted(event.expect("the event before the deadline")) {
                return found;
            }
        }
    }

    /// The next sessions that were opened.
    pub(crate) fn opened(&mut self) -> Vec<Session> {
        self.until(|event| match event {
            Event::Sessions { opened, .. } if !opened.is_empty() => Some(opened),
            _ => None,
        })
    }

    /// The next sessions that were closed.
    pub(crate) fn closed(&mut self) -> Vec<Session> {
        self.until(|event| match event {
            Event::Sessions { closed, .. } if !closed.is_empty() => Some(closed),
            _ => None,
        })
    }

    /// The counters of the forward that listens there.
    pub(crate) fn counters(&mut self, at: SocketAddr) -> Counters {
        self.send(&Command::GetCounters);
        let all = self.until(|event| match event {
            Event::Counters { forwards } => Some(forwards),
            _ => None,
        });
        let mut all = all.into_iter();
        all.find(|counters| address(counters.listen) == at)
            .expect("counters of each forward")
    }

    /// Waits for such counters.
    pub(crate) fn wait_for_counters(&mut self, at: SocketAddr, right: impl Fn(&Counters) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let counters = self.counters(at);
            if right(&counters) {
                return;
            }
            assert!(Instant::now() < deadline, "{counters:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a running relay");
        self.child.wait().expect("a dead relay");
    }

    /// Closes its standard input and waits until it exits.
    pub(crate) fn finish(&mut self) -> ExitStatus {
        self.stdin = None;
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the relay does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Open files.
    #[cfg(target_os = "linux")]
    pub(crate) fn files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(path).expect("a running relay").count()
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory in use, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self) -> u64 {
        memory(self.child.id())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stdin = None;
        // It may have exited already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// ERROR_INTERNAL_ERROR, with which wine refuses a start among many at once.
#[cfg(windows)]
const BUSY: i32 = 1359;

fn spawn(mut command: process::Command) -> (Child, ChildStdin) {
    #[cfg(windows)]
    let spawned = (0..5)
        .find_map(|_| match command.spawn() {
            Err(error) if error.raw_os_error() == Some(BUSY) => {
                std::thread::sleep(Duration::from_millis(100));
                None
            }
            spawned => Some(spawned),
        })
        .expect("one start of five");
    #[cfg(not(windows))]
    let spawned = command.spawn();
    let mut child = spawned.expect("the relay starts");
    let stdin = child.stdin.take().expect("a pipe");
    (child, stdin)
}

fn no_forwards() -> SetForwards {
    SetForwards {
        version: VERSION,
        serial: 0,
        forwards: Vec::new(),
        sessions: Vec::new(),
        limits: Limits::default(),
    }
}

pub(crate) fn to(listen: Listen, guest: SocketAddr) -> Forward {
    Forward {
        listen,
        connect_address: guest.ip(),
        connect_port: NonZeroU16::new(guest.port()).expect("a port"),
        admit: Admit::Any,
        proxy_protocol: None,
    }
}

pub(crate) fn address(listen: Listen) -> SocketAddr {
    SocketAddr::from((listen.listen_address, listen.listen_port.get()))
}

/// A port that was free a moment ago.
pub(crate) fn free_port(protocol: Protocol) -> NonZeroU16 {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let address = match protocol {
        Protocol::Tcp => TcpListener::bind(any).and_then(|socket| socket.local_addr()),
        Protocol::Udp => UdpSocket::bind(any).and_then(|socket| socket.local_addr()),
    };
    NonZeroU16::new(address.expect("a free port").port()).expect("a port")
}

/// A TCP guest that does the same with each connection.
pub(crate) fn guest(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    serve_on(listener, serve);
    address
}

/// The same on an existing listener, for the lifetime of the test's process.
pub(crate) fn serve_on(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Clone + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}

/// Sends back what comes.
pub(crate) fn echo(mut stream: TcpStream) {
    let mut copy = stream.try_clone().expect("a handle");
    // A connection that breaks is up to the test, not the guest.
    std::io::copy(&mut stream, &mut copy).ok();
}

/// A connection that fails rather than hangs.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("a listener");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    stream
}

/// The same from that address.
pub(crate) fn connect_from(source: impl Into<IpAddr>, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    let source = SocketAddr::new(source.into(), 0);
    socket.bind(&source.into()).expect("an address");
    socket.connect(&to.into()).expect("a listener");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    stream
}

/// Whether a connection reaches a guest that echoes.
pub(crate) fn works(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0; 1]).is_ok()
}

/// Fails rather than hangs, whatever the test waits for. Its relay ends with the
/// tests then.
pub(crate) fn within(deadline: Duration, test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let testing = thread::spawn(move || {
        test();
        done.send(()).ok();
    });
    if ended.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
        panic!("not done within {deadline:?}");
    }
    // A failed test has printed its message already, and fails here once more.
    testing.join().expect("a test that does not fail");
}

/// A UDP socket that fails rather than hangs.
pub(crate) fn udp() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    socket
}

/// A client of a forward: takes answers from its listening port only.
pub(crate) fn client(of: SocketAddr) -> UdpSocket {
    let socket = udp();
    socket.connect(of).expect("a socket");
    socket
}

/// The next datagram and its sender.
pub(crate) fn datagram(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65536];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    (buffer, from)
}

/// Fails if a datagram arrives within [`QUIET`].
pub(crate) fn expect_no_datagram(socket: &UdpSocket) {
    socket.set_read_timeout(Some(QUIET)).expect("a socket");
    let received = socket.recv_from(&mut [0; 16]);
    assert!(received.is_err(), "{received:?}");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
}

/// Says that a test cannot run on this machine, past the capture of its output. CI does
/// not accept that.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "a test that speaks to its user")]
pub(crate) fn not_run(why: &str) {
    assert!(
        !std::env::var("CI").is_ok_and(|ci| ci == "true"),
        "not run, which CI does not accept: {why}"
    );
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "not run: {why}").expect("standard error");
}

/// Pseudo-random bytes, which show every mistake of position or order.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// Bytes of memory that a process has now.
#[cfg(target_os = "linux")]
pub(crate) fn memory(process: u32) -> u64 {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(path).expect("a running process");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|n| n.parse::<u64>().ok())
        .expect("VmRSS")
        * 1024
}

/// Voluntary context switches of a process's threads.
#[cfg(target_os = "linux")]
pub(crate) fn switches(process: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("a relay");
    threads
        .map(|thread| {
            let path = thread.expect("a thread").path().join("status");
            let status = std::fs::read_to_string(path).expect("a thread");
            let mut lines = status.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            count.and_then(|count| count.trim().parse::<u64>().ok())
        })
        .sum::<Option<u64>>()
        .expect("a count of each thread")
}
