//! iperf3 in both directions, and what lost frames cost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Contestant, Results, TURNS, Wanted, judge, unhurt};
use crate::bench::figures::Report;
use crate::bench::relay::median;
use crate::topology::{Place, WINDOWS_ADDRESS};
use crate::userspace::{Kind, Network};
use crate::world::TIMEOUT;

const CONNECTIONS: [&str; 3] = ["1", "8", "32"];

/// Direction, iperf3's option, and the least of gvproxy, passt, and passt at its best.
const DIRECTIONS: [(&str, &str, [f64; 3]); 2] = [
    ("up", "--no-delay", [4.0, 2.0, 0.7]),
    ("down", "--reverse", [4.0, 1.4, 0.4]),
];

/// Gbit/s as the receiver has it.
fn gigabits(network: &Network<'_>, connections: &str, direction: &str) -> Result<f64> {
    let argv = [
        "iperf3",
        "-c",
        WINDOWS_ADDRESS,
        "-P",
        connections,
        "-t",
        "1",
        "-J",
        direction,
    ];
    let begun = Instant::now();
    loop {
        let output = network.world().run(Place::Guest, &argv, b"")?;
        let answer: serde_json::Value = serde_json::from_str(&output.stdout)?;
        let rate = answer.pointer("/end/sum_received/bits_per_second");
        if let Some(rate) = rate.and_then(serde_json::Value::as_f64) {
            return Ok(rate / 1e9);
        }
        // Its server takes one test at a time and is busy for a moment after it.
        ensure!(begun.elapsed() < TIMEOUT, "iperf3: {}", output.stdout);
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn measure(report: &mut Report, contestants: &[Contestant<'_>]) -> Result<()> {
    let text = |rate: f64| format!("{rate:.2} Gbit/s");
    let whole = unhurt(contestants);
    let mut all = contestants.iter().map(|one| &one.network);
    let lossy = all.find(|one| one.kind() == Kind::SwitchWithLoss);
    for (direction, option, [gvproxy, passt, large]) in DIRECTIONS {
        for connections in CONNECTIONS {
            let results = Results::of(&whole, |one| gigabits(one, connections, option))?;
            let name = format!("TCP {direction}, {connections} connections");
            results.beside(report, &name, text);
            let ours = text(results.get(Kind::Switch).unwrap_or_default());
            let wanted = [
                (Kind::Gvproxy, Wanted::AtLeast(gvproxy)),
                (Kind::Passt, Wanted::AtLeast(passt)),
                (Kind::PasstLarge, Wanted::AtLeast(large)),
            ];
            judge(report, &results, &ours, &wanted);
        }
    }
    let ours = whole.iter().find(|one| one.kind() == Kind::Switch);
    let (Some(ours), Some(lossy)) = (ours, lossy) else {
        return Ok(());
    };
    for (direction, option, _) in DIRECTIONS {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            without.push(gigabits(ours, "8", option)?);
            with.push(gigabits(lossy, "8", option)?);
        }
        let (with, without) = (median(with), median(without));
        report.figure(
            &format!("TCP {direction}, 8 connections, 1 % lost"),
            format!(
                "{with:.2} of {without:.2} Gbit/s, {:.0} %",
                with / without * 100.0
            ),
            "at least half",
            with >= without / 2.0,
        );
    }
    Ok(())
}
