//! What discovery costs while nothing changes, and how soon it finds what does.

use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::figures::{Report, Times, short};
use super::node::{self, LIMIT};
use crate::options::Options;
use crate::probe::ECHO;
use crate::process::{KILL, Process};
use crate::test_discovery::listen;
use crate::world::{World, until};

/// Ten of all sockets are in the ranges.
const CONFIG: &str = "[discovery]\ntcp = [\"8000-8999\"]\nudp = [\"8000-8999\"]\n";
const TIME: Duration = Duration::from_secs(20);
/// As many changes as are followed at once.
const ROUNDS: u16 = 5;

pub(super) fn measure(report: &mut Report) -> Result<()> {
    report.head("Discovery, ten sockets in its ranges");
    for (kind, count, churn) in [
        ("tcp", 10, None),
        ("tcp", 1_000, None),
        ("tcp", 10_000, None),
        ("udp", 10_000, None),
        // While other sockets come and go, so many in a second.
        ("tcp", 1_000, Some(("connections", 1_000))),
        ("tcp", 10_000, Some(("connections", 20))),
        ("tcp", 10_000, Some(("connections", 1_000))),
        ("tcp", 10_000, Some(("listeners", 20))),
        ("udp", 10_000, Some(("sockets", 20))),
        ("udp", 10_000, Some(("sockets", 1_000))),
    ] {
        // Windows answers at once: the relay listens before it is asked.
        let world = World::start(&Options::quick())?;
        world.windows().install(&crate::installed::policy())?;
        let sockets = listen(&world, kind, count)?;
        node::prepare(&world, CONFIG)?;
        let agent = node::start(&world, &[])?;
        let churn = match churn {
            Some((kind, rate)) => {
                let rate = rate.to_string();
                let role = ["/init", crate::ROLE, CHURN, kind, &rate];
                Some((kind, rate.clone(), world.spawn_guest(&role, &[])?))
            }
            None => None,
        };
        node::calm(&world, Duration::from_secs(4))?;
        let (before, begun) = (on_cpu(&world, &agent)?, Instant::now());
        std::thread::sleep(TIME);
        let took = begun.elapsed();
        let cpu = on_cpu(&world, &agent)? - before;
        let percent = cpu.as_secs_f64() / took.as_secs_f64() * 100.0;
        let beside = churn
            .as_ref()
            .map(|(kind, rate, _)| format!(", {rate} {kind} a second"));
        report.figure(
            &format!(
                "CPU with {count} {kind} sockets{}",
                beside.unwrap_or_default()
            ),
            format!(
                "{percent:.3} % of one core, {} in {} s",
                short(cpu),
                took.as_secs()
            ),
            "under 0.1 %",
            percent < 0.1,
        );
        let (found, gone) = delays(&world)?;
        report.figure(
            "listen() to a listener on Windows",
            found.text(),
            "under 1 s",
            found.worst() < Duration::from_secs(1),
        );
        report.figure(
            "its end to none",
            gone.text(),
            "under 1 s",
            gone.worst() < Duration::from_secs(1),
        );
        drop((sockets, churn));
    }
    Ok(())
}

/// `@churn KIND RATE`: so many `connections`, or sockets of TCP (`listeners`) or UDP
/// (`sockets`), that begin and end in a second.
pub(crate) const CHURN: &str = "@churn";

/// Runs the role [`CHURN`].
pub(crate) fn churn_role(kind: &str, rate: &str) -> ExitCode {
    match churn(kind, rate) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn churn(kind: &str, rate: &str) -> Result<()> {
    let pause = Duration::from_secs(1) / rate.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let at = listener.local_addr()?;
    loop {
        match kind {
            "connections" => drop((TcpStream::connect(at)?, listener.accept()?)),
            "listeners" => drop(TcpListener::bind(("0.0.0.0", 0))?),
            _ => drop(UdpSocket::bind(("0.0.0.0", 0))?),
        }
        std::thread::sleep(pause);
    }
}

/// Services that come and go, at times that have nothing to do with the agent's.
fn delays(world: &World) -> Result<(Times, Times)> {
    let (mut found, mut gone) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let port = 8_500 + round;
        std::thread::sleep(Duration::from_millis(1_037));
        let begun = Instant::now();
        let service = world.spawn_guest(
            &["/init", crate::ROLE, ECHO, &format!("0.0.0.0:{port}")],
            &[],
        )?;
        until("a listener on Windows", LIMIT, || {
            Ok(on_windows(world, port)?.then_some(()))
        })?;
        found.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(1_171));
        let begun = Instant::now();
        service.signal(KILL)?;
        service.wait(LIMIT)?.context("it lives")?;
        until("its end on Windows", LIMIT, || {
            Ok((!on_windows(world, port)?).then_some(()))
        })?;
        gone.push(begun.elapsed());
    }
    Ok((Times::new(found), Times::new(gone)))
}

/// Whether the relay listens at this port on Windows: it is a program of that namespace.
fn on_windows(world: &World, port: u16) -> Result<bool> {
    let at = format!(":{port:04X} 00000000:0000 0A");
    let relays = world.windows().relay()?.context("no relay")?;
    let table = fs::read_to_string(world.path(format!("/proc/{}/net/tcp", relays.pid)))?;
    Ok(table.contains(&at))
}

/// The time that a process has had on a CPU, by proc_pid_schedstat.
fn on_cpu(world: &World, agent: &Process<'_>) -> Result<Duration> {
    let text = fs::read_to_string(world.path(format!("/proc/{}/schedstat", agent.pid())))?;
    let first = text.split_whitespace().next().context("no time")?;
    Ok(Duration::from_nanos(first.parse()?))
}
