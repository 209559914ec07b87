//! Much at once: ten thousand events, a thousand forwards.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::figures::{Report, short};
use super::node::{self, FILE, LIMIT, SSH};
use crate::options::Options;
use crate::topology::Place;
use crate::world::{World, until};

/// Measures both.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    report.head("Much at once");
    events(report)?;
    forwards(report)
}

fn events(report: &mut Report) -> Result<()> {
    let world = World::start(&Options::default())?;
    node::prepare(&world, SSH)?;
    let _agent = node::start(&world, &[])?;
    let first: Ipv4Addr = "172.28.16.5".parse()?;
    arrives(&world, first, 1)?;
    let before = node::calm(&world, Duration::from_secs(1))?;
    // Each of these is an event of its own, beside those of the routes.
    let mut lines =
        "addr del 172.28.16.5/20 dev eth0\naddr add 172.28.16.5/20 dev eth0\n".repeat(4999);
    lines.push_str("addr del 172.28.16.5/20 dev eth0\naddr add 172.28.30.40/20 dev eth0\nroute add default via 172.28.16.1\n");
    let begun = Instant::now();
    world
        .run(Place::Guest, &["ip", "-4", "-batch", "-"], lines.as_bytes())?
        .ok()?;
    let burst = begun.elapsed();
    let last: Ipv4Addr = "172.28.30.40".parse()?;
    let begun = Instant::now();
    until("the file after the burst", LIMIT, || {
        Ok(node::states(&world.read(FILE)?, last).then_some(()))
    })?;
    let file = begun.elapsed();
    arrives(&world, last, 1)?;
    let forward = begun.elapsed();
    let passes = node::calm(&world, Duration::from_secs(2))? - before;
    let right = node::states(&world.read(FILE)?, last) && node::forwards_to(&world, last)? == 1;
    report.figure(
        "10,000 address events",
        format!("{passes} passes; the burst took {}", short(burst)),
        "under 50 passes",
        passes < 50,
    );
    report.figure(
        "  the end",
        format!(
            "{}; file +{}, forward +{}",
            if right { "right" } else { "wrong" },
            short(file),
            short(forward)
        ),
        "right",
        right,
    );
    Ok(())
}

fn forwards(report: &mut Report) -> Result<()> {
    const COUNT: usize = 1000;
    let world = World::start(&Options::default())?;
    let mut config = String::new();
    for index in 0..COUNT {
        write!(
            config,
            "[[forward]]\nname = \"f{index}\"\nprotocol = \"tcp\"\nlisten-port = {}\nconnect-port = 22\nfirewall = \"none\"\n",
            10_000 + index
        )?;
    }
    node::prepare(&world, &config)?;
    let _agent = node::start(&world, &[])?;
    arrives(&world, "172.28.16.5".parse()?, COUNT)?;
    node::calm(&world, Duration::from_secs(1))?;
    let at_start = world.windows().calls()?.len();
    let begun = Instant::now();
    world.change_address("172.28.30.40/20")?;
    arrives(&world, "172.28.30.40".parse()?, COUNT)?;
    let took = begun.elapsed();
    node::calm(&world, Duration::from_secs(1))?;
    let after = world.windows().calls()?.len() - at_start;
    report.figure(
        "1,000 forwards: powershell.exe",
        format!(
            "{at_start} at the start, {after} for a new address ({})",
            short(took)
        ),
        "1 each",
        at_start == 1 && after == 1,
    );
    Ok(())
}

/// Waits until this many forwards lead to the address.
fn arrives(world: &World, address: Ipv4Addr, count: usize) -> Result<()> {
    until("the forwards", LIMIT, || {
        // Asking costs a connection and a table; the agent shall have the CPU.
        std::thread::sleep(Duration::from_millis(20));
        Ok((node::forwards_to(world, address)? == count).then_some(()))
    })
}
