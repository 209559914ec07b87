//! Memory, and what happens while nothing happens.

use std::time::Duration;

use anyhow::Result;

use super::{Contestant, Results, Wanted, judge, unhurt};
use crate::agent::LIMIT;
use crate::bench::figures::Report;
use crate::net_client::{HOLD, NET_CLIENT};
use crate::net_server::port;
use crate::process::Process;
use crate::userspace::{Kind, Network, server};
use crate::world::until;

/// For how long wakeups are counted.
const IDLE: Duration = Duration::from_secs(5);
const MOST_KB: f64 = 64.0 * 1024.0;

fn megabytes(kb: f64) -> String {
    format!("{:.1} MB", kb / 1024.0)
}

fn memory(networks: &[&Network<'_>]) -> Result<Results> {
    let own = |network: &&Network<'_>| -> Result<_> {
        let kb = u32::try_from(network.memory()?)?;
        Ok((network.kind(), f64::from(kb)))
    };
    Ok(Results(networks.iter().map(own).collect::<Result<_>>()?))
}

/// So many idle connections; they last as long as the process.
fn hold<'w>(network: &Network<'w>, count: &str) -> Result<Process<'w>> {
    let held = network.spawn(&[NET_CLIENT, HOLD, &server(port::ECHO), count])?;
    until("idle connections", LIMIT, || {
        Ok(held.stdout()?.contains("ready").then_some(()))
    })?;
    Ok(held)
}

pub(super) fn memory_at_start(report: &mut Report, contestants: &[Contestant<'_>]) -> Result<()> {
    let results = memory(&unhurt(contestants))?;
    results.beside(report, "Resident memory after the start", megabytes);
    let own = results.get(Kind::Switch).unwrap_or_default();
    judge(
        report,
        &results,
        &megabytes(own),
        &[(Kind::Gvproxy, Wanted::AtMost(0.4))],
    );
    Ok(())
}

pub(super) fn measure(report: &mut Report, contestants: &[Contestant<'_>]) -> Result<()> {
    let networks = unhurt(contestants);
    let _one: Vec<_> = networks
        .iter()
        .map(|network| hold(network, "1"))
        .collect::<Result<_>>()?;
    // What the last measurement left is still being cleared away.
    std::thread::sleep(Duration::from_secs(2));
    let before: Vec<u64> = networks
        .iter()
        .map(|one| one.waits())
        .collect::<Result<_>>()?;
    std::thread::sleep(IDLE);
    let mut name = format!("Wakeups in {} s, one idle connection: ", IDLE.as_secs());
    for (network, before) in networks.iter().zip(before) {
        let wakeups = network.waits()? - before;
        let name = std::mem::replace(&mut name, "- ".to_owned()) + network.kind().name();
        let text = wakeups.to_string();
        match network.kind() {
            Kind::Switch | Kind::SwitchOverStdio => report.figure(&name, text, "0", wakeups == 0),
            _ => report.beside(&name, text),
        }
    }
    let _held: Vec<_> = networks
        .iter()
        .map(|network| hold(network, "1000"))
        .collect::<Result<_>>()?;
    let results = memory(&networks)?;
    results.beside(report, "Resident memory with 1,000 connections", megabytes);
    let own = results.get(Kind::Switch).unwrap_or_default();
    let wanted = [(Kind::Gvproxy, Wanted::AtMost(0.4))];
    judge(report, &results, &megabytes(own), &wanted);
    report.figure("- wslmesh", megabytes(own), "under 64 MB", own < MOST_KB);
    Ok(())
}
