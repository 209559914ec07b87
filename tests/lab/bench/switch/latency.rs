//! Connecting, round trips, and datagrams.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Result;

use super::{Contestant, Results, Wanted, judge, unhurt};
use crate::bench::figures::{Report, Times, short};
use crate::net_client::{CONNECTS, Connects, DATAGRAMS, Datagrams, NET_CLIENT, TRIPS};
use crate::net_server::port;
use crate::userspace::{Kind, Network, server};

const CONNECTIONS: &str = "500";
const ROUND_TRIPS: &str = "3000";
/// Of datagrams, in ms.
const ROUND: &str = "1000";

fn times(ns: &[u64]) -> Times {
    Times::new(ns.iter().copied().map(Duration::from_nanos).collect())
}

/// Medians are compared, and the 99th percentile of all turns is stated.
struct Kept(RefCell<Vec<(Kind, Vec<u64>)>>);

impl Kept {
    fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Keeps them; the median in us.
    fn keep(&self, network: &Network<'_>, ns: Vec<u64>) -> f64 {
        let median = times(&ns).median().as_secs_f64() * 1e6;
        self.0.borrow_mut().push((network.kind(), ns));
        median
    }

    fn text(&self, kind: Kind) -> String {
        let all = self.0.borrow();
        let own = all.iter().filter(|one| one.0 == kind);
        let ns: Vec<u64> = own.flat_map(|one| one.1.iter().copied()).collect();
        let times = times(&ns);
        format!(
            "p50 {}, p99 {}",
            short(times.median()),
            short(times.percentile(99))
        )
    }

    /// A line for each.
    fn report(
        &self,
        report: &mut Report,
        name: &str,
        results: &Results,
        wanted: &[(Kind, Wanted)],
    ) {
        let mut name = format!("{name}: ");
        for (kind, _) in &results.0 {
            if *kind != Kind::Switch {
                report.beside(&format!("{name}{}", kind.name()), self.text(*kind));
                "- ".clone_into(&mut name);
            }
        }
        judge(report, results, &self.text(Kind::Switch), wanted);
    }
}

pub(super) fn measure(report: &mut Report, contestants: &[Contestant<'_>]) -> Result<()> {
    let networks = unhurt(contestants);
    let (banner, echo) = (server(port::BANNER), server(port::ECHO));
    let (connects, first_bytes) = (Kept::new(), RefCell::new(Vec::new()));
    let failed = RefCell::new(Vec::new());
    let first_byte = Kept::new();
    let connected = Results::of(&networks, |network| {
        let text = network.run(&[NET_CLIENT, CONNECTS, &banner, CONNECTIONS])?;
        let all: Connects = serde_json::from_str(&text)?;
        failed.borrow_mut().push((network.kind(), all.failed));
        let median = first_byte.keep(network, all.first_byte);
        first_bytes.borrow_mut().push((network.kind(), median));
        Ok(connects.keep(network, all.connected))
    })?;
    connects.report(
        report,
        "TCP connect",
        &connected,
        &[(Kind::Gvproxy, Wanted::AtMost(0.8))],
    );
    let firsts = Results(first_bytes.into_inner());
    let mut once = Results(Vec::new());
    for (kind, median) in firsts.0 {
        if once.get(kind).is_none() {
            once.0.push((kind, median));
        }
    }
    first_byte.report(report, "TCP connect to first byte", &once, &[]);
    for (kind, failed) in failed.into_inner() {
        if failed > 0 {
            let name = format!("- failed: {}", kind.name());
            report.beside(&name, format!("{failed} of {CONNECTIONS} in a turn"));
        }
    }
    let trips = Kept::new();
    let results = Results::of(&networks, |network| {
        let text = network.run(&[NET_CLIENT, TRIPS, &echo, ROUND_TRIPS])?;
        Ok(trips.keep(network, serde_json::from_str(&text)?))
    })?;
    trips.report(
        report,
        "TCP round trip of a byte",
        &results,
        &[(Kind::Gvproxy, Wanted::AtMost(1.0))],
    );
    let lost = RefCell::new(Vec::new());
    let rates = Results::of(&networks, |network| {
        let text = network.run(&[NET_CLIENT, DATAGRAMS, &echo, ROUND])?;
        let all: Datagrams = serde_json::from_str(&text)?;
        lost.borrow_mut().push((network.kind(), all.lost));
        Ok(all.per_second / 1e3)
    })?;
    let text = |rate: f64| format!("{rate:.1} k echoes/s");
    rates.beside(report, "UDP, 1200 bytes, 32 in flight", text);
    let own = rates.get(Kind::Switch).unwrap_or_default();
    let wanted = [
        (Kind::Gvproxy, Wanted::AtLeast(1.6)),
        (Kind::Passt, Wanted::AtLeast(0.75)),
    ];
    judge(report, &rates, &text(own), &wanted);
    for (kind, lost) in lost.into_inner() {
        if lost > 0 {
            report.beside(
                &format!("- lost: {}", kind.name()),
                format!("{lost} in a turn"),
            );
        }
    }
    Ok(())
}
