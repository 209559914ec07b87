//! For how long a client is cut off by an address change: with wslmesh, by the relay
//! and by the port proxy, and with a poller.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::figures::{Report, Times};
use super::node::{self, FILE, LIMIT, SSH};
use super::poller;
use crate::agent::PROXY;
use crate::contract::Policy;
use crate::installed::{policy, proxied};
use crate::options::Options;
use crate::probe::now;
use crate::world::{World, until};

const CLIENT: &str = "192.168.50.10:2222";
const ROUNDS: u8 = 30;
const POLLERS: u8 = 4;
const POLLED_ROUNDS: u8 = 8;
/// The longest that a client may be cut off by the relay, in the median.
const TARGET: Duration = Duration::from_millis(120);

/// What rounds gave.
pub(super) struct Measured {
    /// From the change to the replaced file.
    file: Vec<Duration>,
    /// For how long the client was cut off.
    outage: Vec<Duration>,
}

/// [`ROUNDS`] changes under wslmesh as it comes, and as many by the port proxy.
pub(super) fn wslmesh() -> Result<(Measured, Measured)> {
    let relayed = installed(&policy(), SSH, by_relay)?;
    let config = [PROXY, SSH].concat();
    let proxied = installed(&proxied(), &config, by_portproxy)?;
    Ok((relayed, proxied))
}

fn installed(policy: &Policy, config: &str, by: By) -> Result<Measured> {
    let world = World::start(&Options::default())?;
    world.windows().install(policy)?;
    node::prepare(&world, config)?;
    let _agent = node::start(&world, &[])?;
    let mut measured = Measured::none();
    for round in 0..ROUNDS {
        measured.round(&world, Ipv4Addr::new(172, 28, 18, round + 2), by)?;
        node::calm(&world, Duration::from_millis(200))?;
    }
    world.windows().check()?;
    Ok(measured)
}

/// Whether Windows forwards to this address.
type By = fn(&World, Ipv4Addr) -> Result<bool>;

fn by_portproxy(world: &World, address: Ipv4Addr) -> Result<bool> {
    Ok(node::forwards_to(world, address)? == 1)
}

fn by_relay(world: &World, address: Ipv4Addr) -> Result<bool> {
    let relay = world.windows().relay()?;
    let mut commands = relay.iter().flat_map(|relay| &relay.commands);
    Ok(commands.any(|command| command.contains(&format!("\"{address}\""))))
}

/// [`POLLERS`] times [`POLLED_ROUNDS`] changes under a poller, spread evenly
/// over its period.
pub(super) fn pollers() -> Result<Measured> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..POLLERS)
            .map(|index| scope.spawn(move || poller(index)))
            .collect();
        let mut measured = Measured::none();
        for one in all {
            let one = one.join().map_err(|_| anyhow!("a poller panicked"))??;
            measured.file.extend(one.file);
            measured.outage.extend(one.outage);
        }
        Ok(measured)
    })
}

fn poller(index: u8) -> Result<Measured> {
    let world = World::start(&Options::default())?;
    let _poller = poller::start(&world)?;
    let mut measured = Measured::none();
    for round in 0..POLLED_ROUNDS {
        // The last change was met at the beginning of a period.
        let share = f64::from(u32::from(round) * u32::from(POLLERS) + u32::from(index)) + 0.5;
        let share = share / f64::from(u32::from(POLLERS) * u32::from(POLLED_ROUNDS));
        let wait = Duration::from_secs(poller::PERIOD.into()).mul_f64(share);
        measured.polled_round(&world, Ipv4Addr::new(172, 28, 18, round + 2), wait)?;
    }
    world.windows().check()?;
    Ok(measured)
}

impl Measured {
    fn none() -> Self {
        Self {
            file: Vec::new(),
            outage: Vec::new(),
        }
    }

    fn polled_round(&mut self, world: &World, address: Ipv4Addr, wait: Duration) -> Result<()> {
        std::thread::sleep(wait);
        self.round(world, address, by_portproxy)
    }

    /// One change under a new client.
    fn round(&mut self, world: &World, address: Ipv4Addr, by: By) -> Result<()> {
        let client = world.probe(CLIENT.parse()?)?;
        client.success_after(0, LIMIT)?;
        let begun = now();
        world.change_address(&format!("{address}/20"))?;
        let changed = now();
        until("the replaced file", LIMIT, || {
            Ok(node::states(&world.read(FILE)?, address).then_some(()))
        })?;
        self.file.push(Duration::from_nanos(now() - begun));
        until("the forward", LIMIT, || {
            std::thread::sleep(Duration::from_millis(20));
            Ok(by(world, address)?.then_some(()))
        })?;
        client.success_after(now(), LIMIT)?;
        let outages = client.outages()?;
        let mine = outages.iter().filter(|outage| outage.to > begun);
        let length: Duration = mine.map(|outage| outage.length()).sum();
        ensure!(
            length > Duration::ZERO,
            "the client did not notice the change at {changed}: {outages:?}"
        );
        self.outage.push(length);
        Ok(())
    }
}

/// Puts the three beside each other.
pub(super) fn compare(
    report: &mut Report,
    (ours, proxied): &(Measured, Measured),
    polled: &Measured,
) {
    let [settled, file] = [ours, polled].map(|m| Times::new(m.file.clone()));
    report.head("The same from outside, settle time of 50 ms and the ip command included");
    report.beside("wslmesh as it comes", settled.text());
    report.beside("a poll every 5 s", file.text());
    let ratio = file.times_longer(&settled);
    report.figure(
        "  how many times longer",
        format!("{ratio:.1}"),
        "at least 30",
        ratio >= 30.0,
    );
    let [ours, proxied, polled] =
        [ours, proxied, polled].map(|measured| Times::new(measured.outage.clone()));
    report.head("For how long a client is cut off (by the port proxy PowerShell's 0.7 s included)");
    report.figure(
        "wslmesh as it comes, the relay",
        ours.text(),
        "p50 at most 120 ms",
        ours.percentile(50) <= TARGET,
    );
    for (name, times) in [
        ("wslmesh by the port proxy", proxied),
        ("a poll every 5 s", polled),
    ] {
        report.beside(name, times.text());
        let ratio = times.times_longer(&ours);
        report.beside("  how many times longer", format!("{ratio:.1}"));
    }
}
