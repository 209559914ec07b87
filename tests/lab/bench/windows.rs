//! What a change costs on the way to Windows: starts of the elevated task, and
//! how soon a relay that runs hears of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::{Report, Times};
use super::node::{self, FILE, LIMIT, SSH};
use super::replace::REPLACE;
use crate::agent::{PROXY, forward};
use crate::contract::{Firewall, Grant};
use crate::options::Options;
use crate::setup::{policy, proxied};
use crate::topology::Place;
use crate::world::{World, until};

/// Address changes that are timed.
const ROUNDS: u8 = 100;
/// Forwards that one start of the task makes.
const MANY: u16 = 500;

/// Measures both.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    report.head("Windows: the elevated task, the relay");
    task(report)?;
    relay(report)
}

fn task(report: &mut Report) -> Result<()> {
    let world = World::start(&Options::default())?;
    world.windows().install(&policy(vec![Grant {
        firewall: Firewall::None,
        ..proxied((10_000, 10_000 + MANY - 1), (22, 22))
    }]))?;
    let config: String = (0..MANY)
        .map(|index| forward(&format!("f{index}"), 10_000 + index, 22))
        .collect();
    node::prepare(&world, &[PROXY, &config].concat())?;
    let _agent = node::start(&world, &[])?;
    let arrive = |address: Ipv4Addr| {
        until("the forwards", LIMIT, || {
            let there = node::forwards_to(&world, address)? == usize::from(MANY);
            Ok(there.then_some(()))
        })
    };
    arrive("172.28.16.5".parse()?)?;
    node::calm(&world, Duration::from_secs(1))?;
    let first = world.windows().view()?.task_runs.len();
    world.change_address("172.28.30.40/20")?;
    arrive("172.28.30.40".parse()?)?;
    node::calm(&world, Duration::from_secs(1))?;
    let then = world.windows().view()?.task_runs.len() - first;
    report.figure(
        &format!("{MANY} forwards: task starts"),
        format!("{first} at the start, {then} for a new address"),
        "1 each",
        first == 1 && then == 1,
    );
    Ok(())
}

/// From asking the kernel for the address to the line on the relay's standard
/// input: the agent's pass with a settle time of 0, its write, `/init` and the
/// socket behind it. The change of the network file comes before it, on a tmpfs.
fn relay(report: &mut Report) -> Result<()> {
    let world = World::start(&Options::default())?;
    world.windows().set_elevated(false)?;
    // By name: the change gives no default route, which would be a second event.
    let network = "[network]\ninterface = \"eth0\"\nsettle = \"0ms\"\n";
    let config = format!("{network}[host]\nbackend = \"relay\"\n{SSH}");
    node::prepare(&world, &config)?;
    let _agent = node::start(&world, &[])?;
    arrival(&world, "172.28.16.5".parse()?)?;
    node::calm(&world, Duration::from_millis(500))?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let address = Ipv4Addr::new(172, 28, 17, round + 2);
        let text = address.to_string();
        let role = ["/init", crate::ROLE, REPLACE, FILE, &text, "40"];
        let reply = world.run(Place::Guest, &role, b"")?.ok()?;
        let begun = reply.split_whitespace().nth(1).context("no begin")?;
        let begun: u64 = begun.parse()?;
        let at = arrival(&world, address)?;
        times.push(Duration::from_nanos(at.saturating_sub(begun)));
    }
    ensure!(
        world.windows().relays()?.len() == 1,
        "the relay was restarted"
    );
    let times = Times::new(times);
    report.figure(
        "address change -> the relay's stdin",
        times.text(),
        "p99 under 5 ms",
        times.percentile(99) < Duration::from_millis(5),
    );
    Ok(())
}

/// When the relay first received this address, in ns of CLOCK_MONOTONIC.
fn arrival(world: &World, address: Ipv4Addr) -> Result<u64> {
    let mark = format!("\"{address}\"");
    until("the relay's command", LIMIT, || {
        let relay = world.windows().relay()?;
        Ok(relay.and_then(|run| {
            let mut lines = run.commands.iter().zip(&run.arrived);
            lines
                .find(|(line, _)| line.contains(&mark))
                .map(|(_, at)| *at)
        }))
    })
}
