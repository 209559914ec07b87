//! A client that says a line again and again over one flow, and notes when it
//! was answered: how a tunnel or a connection looks to the one who uses it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

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

/// Answers each question of DNS with "no such name": `@dns ADDRESS:PORT`.
pub(crate) const DNS: &str = "@dns";

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

/// Runs the role [`DNS`].
pub(crate) fn dns_role(address: &str) -> ExitCode {
    let served = || -> Result<()> {
        let socket = UdpSocket::bind(address)?;
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer)?;
            if let Some([_, _, flags, code, ..]) = buffer.get_mut(..length) {
                (*flags, *code) = (0x81, 0x83);
            }
            drop(socket.send_to(buffer.get(..length).unwrap_or_default(), from));
        }
    };
    failed(address, served())
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
