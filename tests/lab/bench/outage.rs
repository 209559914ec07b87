//! For how long a client is cut off by an address change: with wslmesh, and
//! with a poller.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::figures::{Report, Times};
use super::node::{self, FILE, LIMIT, SSH};
use super::poller;
use crate::options::Options;
use crate::probe::now;
use crate::world::{World, until};

const CLIENT: &str = "192.168.50.10:2222";
const ROUNDS: u8 = 30;
const POLLERS: u8 = 4;
const POLLED_ROUNDS: u8 = 8;

/// What rounds gave.
pub(super) struct Measured {
    /// From the change to the replaced file.
    file: Vec<Duration>,
    /// For how long the client was cut off.
    outage: Vec<Duration>,
}

/// [`ROUNDS`] changes under wslmesh as it comes.
pub(super) fn wslmesh() -> Result<Measured> {
    let world = World::start(&Options::default())?;
    node::prepare(&world, SSH)?;
    let _agent = node::start(&world, &[])?;
    let mut measured = Measured::none();
    for round in 0..ROUNDS {
        measured.round(&world, Ipv4Addr::new(172, 28, 18, round + 2))?;
        node::calm(&world, Duration::from_millis(200))?;
    }
    world.windows().check()?;
    Ok(measured)
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
        self.round(world, address)
    }

    /// One change under a new client.
    fn round(&mut self, world: &World, address: Ipv4Addr) -> Result<()> {
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
            Ok((node::forwards_to(world, address)? == 1).then_some(()))
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

/// Puts the two beside each other.
pub(super) fn compare(report: &mut Report, ours: &Measured, polled: &Measured) {
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
    let (ours, polled) = (
        Times::new(ours.outage.clone()),
        Times::new(polled.outage.clone()),
    );
    report.head("For how long a client is cut off (0.7 s of each are PowerShell's start)");
    report.beside("wslmesh as it comes", ours.text());
    report.beside("a poll every 5 s", polled.text());
    let ratio = polled.times_longer(&ours);
    report.beside("  how many times longer", format!("{ratio:.1}"));
}
