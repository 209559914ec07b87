//! A client that says a line again and again over one flow, and notes when it
//! was answered: how a tunnel or a connection looks to the one who uses it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::probe::{Attempt, Outage, now};
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// Talks by UDP: `@talk-udp ADDRESS:PORT`.
pub(crate) const UDP: &str = "@talk-udp";
/// Talks by TCP, over one connection for as long as it is answered:
/// `@talk-tcp ADDRESS:PORT`.
pub(crate) const TCP: &str = "@talk-tcp";
/// Answers each datagram with itself: `@answer ADDRESS:PORT`.
pub(crate) const ANSWER: &str = "@answer";

/// So many clients that talk by TCP over one connection each, and connect again when it
/// ends: `@streams ADDRESS:PORT COUNT`.
pub(crate) const STREAMS: &str = "@streams";

/// One request of HTTP; prints the port that it comes from: `@request ADDRESS:PORT`.
pub(crate) const REQUEST: &str = "@request";
const REQUEST_TEXT: &[u8; 18] = b"GET / HTTP/1.0\r\n\r\n";

/// Reads the header of the PROXY protocol, and writes what it says to a file:
/// `@proxied ADDRESS:PORT FILE`.
pub(crate) const PROXIED: &str = "@proxied";

const EVERY: Duration = Duration::from_millis(40);
// A slow machine is no outage; an answer later than this is.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Runs the role [`ANSWER`].
pub(crate) fn answer_role(address: &str) -> ExitCode {
    let served = || -> Result<()> {
        let socket = UdpSocket::bind(address)?;
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer)?;
            // The way back may be gone for a moment.
            drop(socket.send_to(buffer.get(..length).unwrap_or_default(), from));
        }
    };
    failed(address, served())
}

/// Runs the role [`REQUEST`].
pub(crate) fn request_role(address: &str) -> ExitCode {
    let asked = || -> Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        println!("{}", stream.local_addr()?.port());
        stream.write_all(REQUEST_TEXT)?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    };
    match asked() {
        Ok(()) => ExitCode::SUCCESS,
        failure => failed(address, failure),
    }
}

/// Runs the role [`PROXIED`].
pub(crate) fn proxied_role(address: &str, file: &str) -> ExitCode {
    let served = || -> Result<()> {
        let listener = TcpListener::bind(address)?;
        loop {
            let (mut stream, from) = listener.accept()?;
            let mut start = [0; 16];
            stream.read_exact(&mut start)?;
            let Some([family, _, length]) = start.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n\x21") else {
                anyhow::bail!("no header: {start:?}");
            };
            let mut ends = vec![0; usize::from(*length)];
            stream.read_exact(&mut ends)?;
            let (client, at) = match (family, ends.as_slice()) {
                (0x11, [ends @ .., a, b, c, d]) => read_ends::<4>(ends, [*a, *b, *c, *d]),
                (0x21, [ends @ .., a, b, c, d]) => read_ends::<16>(ends, [*a, *b, *c, *d]),
                _ => None,
            }
            .with_context(|| format!("no ends: {start:?} {ends:?}"))?;
            let from = from.ip();
            let line = format!(
                "{} {} to {} {} from {from}\n",
                client.ip(),
                client.port(),
                at.ip(),
                at.port()
            );
            std::fs::write(file, line)?;
            // What is left unread makes a reset of the end of the connection.
            stream.read_exact(&mut [0; REQUEST_TEXT.len()])?;
            stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n")?;
        }
    };
    failed(address, served())
}

/// Two addresses of one family and their ports, as the header has them.
fn read_ends<const LENGTH: usize>(
    ends: &[u8],
    [a, b, c, d]: [u8; 4],
) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; LENGTH]>,
{
    let (client, at) = ends.split_first_chunk::<LENGTH>()?;
    let at: [u8; LENGTH] = at.try_into().ok()?;
    Some((
        (*client, u16::from_be_bytes([a, b])).into(),
        (at, u16::from_be_bytes([c, d])).into(),
    ))
}

/// Runs the role [`UDP`] until it is killed: one [`Attempt`] a line.
pub(crate) fn udp_role(address: &str) -> ExitCode {
    let talk = || -> Result<()> {
        let address: SocketAddr = address.parse()?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        repeat(|number| {
            socket.send_to(&number.to_be_bytes(), address)?;
            let mut answer = [0; 8];
            // Answers that came too late are in front of the one that is awaited.
            while socket.recv(&mut answer)? != 8 || u64::from_be_bytes(answer) != number {}
            Ok(())
        })
    };
    failed(address, talk())
}

/// Runs the role [`TCP`] until it is killed: one [`Attempt`] a line.
pub(crate) fn tcp_role(address: &str) -> ExitCode {
    let talk = || -> Result<()> {
        let address: SocketAddr = address.parse()?;
        let mut connection: Option<BufReader<TcpStream>> = None;
        repeat(|number| {
            // Put back only once the answer arrived.
            let mut stream = match connection.take() {
                Some(stream) => stream,
                None => BufReader::new(TcpStream::connect_timeout(&address, TIMEOUT)?),
            };
            stream.get_ref().set_read_timeout(Some(TIMEOUT))?;
            stream
                .get_mut()
                .write_all(format!("{number}\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_line(&mut answer)?;
            if answer.trim_end().parse() != Ok(number) {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            connection = Some(stream);
            Ok(())
        })
    };
    failed(address, talk())
}

/// A connection that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Of those clients.
    pub(crate) client: u32,
    /// See [`now`].
    pub(crate) at: u64,
    /// `up`; else `closed` by the other side, `silent`, or `wrong` where something else
    /// came back than was sent.
    pub(crate) how: String,
}

/// Runs the role [`STREAMS`] until it is killed: one [`Change`] a line.
pub(crate) fn streams_role(address: &str, count: &str) -> ExitCode {
    let stream = || -> Result<()> {
        let address: SocketAddr = address.parse()?;
        let count: u32 = count.parse()?;
        std::thread::scope(|scope| {
            for client in 0..count {
                scope.spawn(move || stream(client, address));
            }
        });
        Ok(())
    };
    failed(address, stream())
}

fn stream(client: u32, address: SocketAddr) {
    let note = |how: &str| {
        let (at, how) = (now(), how.to_owned());
        // In one piece.
        if let Ok(line) = serde_json::to_string(&Change { client, at, how }) {
            println!("{line}");
        }
    };
    loop {
        if let Ok(connected) = TcpStream::connect_timeout(&address, TIMEOUT)
            && let how = talk_until_its_end(connected, || note("up"))
            && !how.is_empty()
        {
            note(how);
        }
        std::thread::sleep(EVERY);
    }
}

/// Returns how it ended; nothing where it was not answered once.
fn talk_until_its_end(stream: TcpStream, up: impl Fn()) -> &'static str {
    let mut stream = BufReader::new(stream);
    // Longer than a slow machine takes.
    let limited = stream.get_ref().set_read_timeout(Some(3 * TIMEOUT));
    let mut number = 0_u64;
    let end = limited.and_then(|()| {
        loop {
            let line = format!("{number}\n");
            stream.get_mut().write_all(line.as_bytes())?;
            let mut answer = String::new();
            if stream.read_line(&mut answer)? == 0 {
                return Ok("closed");
            }
            if answer != line {
                return Ok("wrong");
            }
            if number == 0 {
                up();
            }
            number += 1;
            std::thread::sleep(EVERY);
        }
    });
    match end {
        _ if number == 0 => "",
        Ok(how) => how,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => "silent",
        Err(_) => "closed",
    }
}

fn repeat(mut attempt: impl FnMut(u64) -> std::io::Result<()>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for number in 0.. {
        let begun = Instant::now();
        let start = now();
        let ok = attempt(number).is_ok();
        let end = now();
        let line = serde_json::to_string(&Attempt { start, end, ok })?;
        writeln!(out, "{line}")?;
        std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

fn failed(address: &str, result: Result<()>) -> ExitCode {
    if let Err(error) = result {
        eprintln!("{address}: {error:#}");
    }
    ExitCode::FAILURE
}

/// A running talker; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Talker<'w>(Process<'w>);

impl World {
    /// Starts a talker, [`UDP`] or [`TCP`], and waits until it is answered.
    pub(crate) fn talk(&self, place: Place, role: &str, to: &str) -> Result<Talker<'_>> {
        let talker = Talker(self.spawn(place, &["/init", crate::ROLE, role, to], &[])?);
        until("the first answer", Duration::from_secs(40), || {
            Ok(talker.attempts()?.iter().any(|a| a.ok).then_some(()))
        })
        .with_context(|| talker.0.stderr().unwrap_or_default())?;
        Ok(talker)
    }

    /// Starts a service that answers the datagrams of a talker.
    pub(crate) fn answer(&self, place: Place, at: &str) -> Result<Process<'_>> {
        self.spawn(place, &["/init", crate::ROLE, ANSWER, at], &[])
    }
}

/// Running clients; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Streams<'w>(Process<'w>, usize);

impl World {
    /// Starts so many of them there, and waits until each is answered.
    pub(crate) fn streams(&self, place: Place, to: &str, count: usize) -> Result<Streams<'_>> {
        let role = ["/init", crate::ROLE, STREAMS, to, &count.to_string()];
        let streams = Streams(self.spawn(place, &role, &[])?, count);
        streams.all_up(0)?;
        Ok(streams)
    }
}

impl Streams<'_> {
    /// Waits until each has a connection that began after this time (see [`now`]).
    pub(crate) fn all_up(&self, after: u64) -> Result<()> {
        let mut up = 0;
        until("all connections", Duration::from_secs(40), || {
            let changes = self.changes()?;
            let begun = |client: usize| {
                let mut of = changes.iter().rev();
                let last = of.find(|one| usize::try_from(one.client) == Ok(client));
                last.is_some_and(|last| last.how == "up" && last.at > after)
            };
            up = (0..self.1).filter(|client| begun(*client)).count();
            Ok((up == self.1).then_some(()))
        })
        .with_context(|| {
            format!(
                "{up} of {}; {}",
                self.1,
                self.0.stderr().unwrap_or_default()
            )
        })
    }

    /// How those ended that did after this time.
    pub(crate) fn ends(&self, after: u64) -> Result<Vec<Change>> {
        let changes = self.changes()?.into_iter();
        Ok(changes
            .filter(|one| one.how != "up" && one.at > after)
            .collect())
    }

    fn changes(&self) -> Result<Vec<Change>> {
        let text = self.0.stdout()?;
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line| serde_json::from_str(line).context("a line of the streams");
        whole.lines().map(read).collect()
    }
}

impl Talker<'_> {
    /// Its tries so far.
    fn attempts(&self) -> Result<Vec<Attempt>> {
        let text = self.0.stdout()?;
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).context("a line of the talker"))
            .collect()
    }

    /// Waits for an answer to something said after `after` (see [`now`]), and
    /// returns the longest time without an answer from `before` until then.
    pub(crate) fn answered(&self, before: u64, after: u64) -> Result<Outage> {
        // Far above what it takes: a retry of the agent and of WireGuard fit in.
        let limit = Duration::from_secs(40);
        let found = until("an answer", limit, || {
            let mut attempts = self.attempts()?;
            let last = attempts.iter().position(|a| a.ok && a.start > after);
            let first = attempts.iter().rposition(|a| a.ok && a.end <= before);
            Ok(last.map(|last| {
                attempts.truncate(last + 1);
                attempts.split_off(first.unwrap_or(0))
            }))
        });
        let attempts = found.with_context(|| self.0.stderr().unwrap_or_default())?;
        let longest = gaps(&attempts).into_iter().max_by_key(Outage::length);
        longest.context("there was no answer before")
    }
}

/// The time between each answer and the next one.
fn gaps(attempts: &[Attempt]) -> Vec<Outage> {
    let mut found = Vec::new();
    let (mut last, mut failures) = (None, 0);
    for attempt in attempts {
        if !attempt.ok {
            failures += 1;
            continue;
        }
        if let Some(from) = last {
            let to = attempt.end;
            found.push(Outage { from, to, failures });
        }
        (last, failures) = (Some(attempt.end), 0);
    }
    found
}
