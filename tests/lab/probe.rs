//! The echo service and the client that measures how long it is cut off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::ROLE;
use crate::agent::LIMIT;
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// Echo service: `@echo ADDRESS:PORT`.
pub(crate) const ECHO: &str = "@echo";
/// Probing client: `@probe ADDRESS:PORT`.
pub(crate) const PROBE: &str = "@probe";

/// How often a client tries.
pub(crate) const EVERY: Duration = Duration::from_millis(5);
/// How long it waits for each step of one try.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(100);

/// CLOCK_MONOTONIC in ns: comparable between all processes of the machine.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// One try of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// When it began, see [`now`].
    pub(crate) start: u64,
    /// When it ended.
    pub(crate) end: u64,
    /// Whether the line came back.
    pub(crate) ok: bool,
}

/// A time without a successful try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// The end of the last successful try before it, see [`now`].
    pub(crate) from: u64,
    /// The end of the first successful try after it.
    pub(crate) to: u64,
    /// How many tries failed.
    pub(crate) failures: usize,
}

impl Outage {
    /// How long the client was cut off.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_nanos(self.to.saturating_sub(self.from))
    }
}

/// The outages that began and ended within the tries. Failures before the
/// first success or after the last one are no outage that was survived.
pub(crate) fn outages(attempts: &[Attempt]) -> Vec<Outage> {
    let mut found = Vec::new();
    let (mut last, mut failures) = (None, 0);
    for attempt in attempts {
        if attempt.ok {
            if let (Some(from), 1..) = (last, failures) {
                found.push(Outage {
                    from,
                    to: attempt.end,
                    failures,
                });
            }
            (last, failures) = (Some(attempt.end), 0);
        } else {
            failures += 1;
        }
    }
    found
}

/// Answers each line with itself, for ever.
pub(crate) fn echo(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let Ok(mut back) = stream.try_clone() else {
                return;
            };
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                if back.write_all(&line).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
}

/// What `ss` and the agent call a process with an echo service.
pub(crate) const SERVICE: &str = "echo-server";

/// Calls this process [`SERVICE`] (proc_pid_comm(5)).
pub(crate) fn name_service() -> Result<()> {
    std::fs::write("/proc/self/comm", SERVICE).context("naming the echo service")
}

/// Runs the role [`ECHO`].
pub(crate) fn echo_role(address: &str) -> ExitCode {
    let listener = || TcpListener::bind(address).context("listening");
    match name_service().and_then(|()| listener()) {
        Ok(listener) => echo(&listener),
        Err(error) => eprintln!("{address}: {error:#}"),
    }
    ExitCode::FAILURE
}

impl World {
    /// An echo service there, once it listens.
    pub(crate) fn echo(&self, place: Place, address: &str) -> Result<Process<'_>> {
        let service = self.spawn(place, &["/init", ROLE, ECHO, address], &[])?;
        let own = format!("pid={},", service.pid());
        until(address, LIMIT, || {
            let listeners = self.run(place, &["ss", "-Htlnp"], b"")?.ok()?;
            Ok(listeners.contains(&own).then_some(()))
        })?;
        Ok(service)
    }
}

/// Runs the role [`PROBE`] until it is killed: one line of JSON for each try.
pub(crate) fn probe_role(address: &str) -> ExitCode {
    let result = address
        .parse()
        .context("reading the address")
        .and_then(probe);
    if let Err(error) = result {
        eprintln!("{address}: {error:#}");
    }
    ExitCode::FAILURE
}

fn probe(address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    loop {
        let begun = Instant::now();
        let start = now();
        let ok = attempt(address).is_ok();
        let line = serde_json::to_string(&Attempt {
            start,
            end: now(),
            ok,
        })?;
        writeln!(out, "{line}")?;
        std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
    }
}

/// One new connection and one line there and back.
pub(crate) fn attempt(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"ping\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    if &answer == b"ping\n" {
        Ok(())
    } else {
        Err(std::io::ErrorKind::InvalidData.into())
    }
}
