//! Passes with a thousand forwards and a thousand peers.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::{Report, Times, short};
use super::node::{self, LIMIT};
use crate::options::Options;
use crate::process::Process;
use crate::status::Status;
use crate::test_doctor::usual;
use crate::test_peers::named;
use crate::world::{World, until};

const COUNT: usize = 1_000;
const ROUNDS: u8 = 40;
/// Of proc_pid_stat(5): USER_HZ.
const TICK: Duration = Duration::from_millis(10);

pub(super) fn measure(report: &mut Report) -> Result<()> {
    report.head("1,000 forwards, 1,000 peers of WireGuard");
    for backend in ["relay", "portproxy"] {
        let world = World::start(&Options::quick())?;
        world.windows().set_elevated(backend == "portproxy")?;
        let wireguard = world.wireguard("wg0", COUNT)?;
        let mut config = format!(
            "[network]\ninterface = \"eth0\"\nsettle = \"0ms\"\n[host]\nbackend = \"{backend}\"\n"
        );
        for index in 0..COUNT {
            let port = 10_000 + index;
            let (name, firewall) = (format!("service-{index}"), "firewall = \"none\"");
            writeln!(
                config,
                "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-port = {port}\nconnect-port = 22\n{firewall}"
            )?;
        }
        node::prepare(&world, &config)?;
        let agent = node::start(&world, &[])?;
        let up = |status: &Status| {
            let is_up = |one: &&crate::status::Served| one.state == "up";
            status.served.iter().filter(is_up).count() == COUNT
        };
        until("all forwards", LIMIT, || {
            Ok(up(&node::status(&world)?).then_some(()))
        })?;
        node::calm(&world, Duration::from_secs(2))?;
        let (passes, cpu) = (node::passes(&world)?, on_cpu(&world, &agent)?);
        let quiet = rounds(&world, ROUNDS, |round| {
            let change = if round % 2 == 0 { "add" } else { "del" };
            let change = ["ip", "addr", change, "10.99.0.1/32", "dev", "lo"];
            world.guest(&change)?.ok().map(drop)
        })?;
        let cpu = on_cpu(&world, &agent)?.saturating_sub(cpu);
        let made = u32::try_from(node::passes(&world)? - passes)?;
        let changed = rounds(&world, ROUNDS / 4, |round| {
            world.change_address(&format!("172.28.17.{}/20", round + 2))
        })?;
        let limit = Duration::from_millis(50);
        for (what, times) in [("nothing to do", &quiet), ("another address", &changed)] {
            report.figure(
                &format!("{backend}: {what}"),
                times.text(),
                "under 50 ms",
                times.worst() < limit,
            );
        }
        report.beside(
            "  CPU of a pass, publishing included",
            format!("{} of {made}", short(cpu / made.max(1))),
        );
        let size = world.read("/run/wslmesh/status.json")?.len();
        report.beside("  status document", format!("{} kB", size / 1_000));
        drop(wireguard);
    }
    peers_alone(report)
}

/// What the peers cost: beside a world without any, all of them silent and with names, which
/// are looked up meanwhile.
fn peers_alone(report: &mut Report) -> Result<()> {
    let mut without = None;
    for count in [0, COUNT] {
        let world = World::start(&Options::quick())?;
        usual(&world)?;
        let wireguard = world.wireguard("wg0", count)?;
        let _server = named(&world, count)?;
        node::prepare(&world, node::SSH)?;
        let agent = node::start(&world, &[])?;
        node::calm(&world, Duration::from_secs(2))?;
        let (passes, cpu) = (node::passes(&world)?, on_cpu(&world, &agent)?);
        let quiet = rounds(&world, ROUNDS, |round| {
            let change = if round % 2 == 0 { "add" } else { "del" };
            let change = ["ip", "addr", change, "10.99.0.1/32", "dev", "lo"];
            world.guest(&change)?.ok().map(drop)
        })?;
        let cpu = on_cpu(&world, &agent)?.saturating_sub(cpu);
        let made = u32::try_from(node::passes(&world)? - passes)?;
        let Some(without) = without else {
            report.beside("no peers: nothing to do", quiet.text());
            without = Some(quiet.median());
            continue;
        };
        let cost = quiet.median().saturating_sub(without);
        report.figure(
            "1,000 silent peers with names: what they cost a pass",
            format!("{} more; {}", short(cost), quiet.text()),
            "under 5 ms",
            cost < Duration::from_millis(5),
        );
        report.beside(
            "  CPU of a pass, look-ups and publishing included",
            format!("{} of {made}", short(cpu / made.max(1))),
        );
        drop(wireguard);
    }
    Ok(())
}

/// What a pass after each of these changes took, as the agent itself reports.
fn rounds(world: &World, count: u8, change: impl Fn(u8) -> Result<()>) -> Result<Times> {
    let mut times = Vec::new();
    for round in 0..count {
        let before = node::passes(world)?;
        change(round)?;
        let status = until("a pass", LIMIT, || {
            let status = node::status(world)?;
            Ok((status.passes > before).then_some(status))
        })?;
        times.push(Duration::from_micros(status.last_pass_us));
        node::calm(world, Duration::from_millis(300))?;
    }
    Ok(Times::new(times))
}

/// The CPU time of all threads of a process, of those that have ended too.
fn on_cpu(world: &World, agent: &Process<'_>) -> Result<Duration> {
    let text = fs::read_to_string(world.path(format!("/proc/{}/stat", agent.pid())))?;
    // The name before may have spaces.
    let (_, rest) = text.rsplit_once(')').context("no name")?;
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(str::parse::<u32>).sum::<Result<_, _>>()?;
    Ok(TICK * ticks)
}
