//! The switch compared with other userspace networks, in one run: each in a world of its own,
//! with the same server, the same clients and the same congestion control (reno), in turn.

mod latency;
mod probes;
mod state;
mod throughput;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::figures::Report;
use crate::options::Options;
use crate::process::Process;
use crate::topology::{Place, WINDOWS_ADDRESS};
use crate::userspace::{Kind, Network};
use crate::world::World;

/// Turns of each figure; an odd number.
const TURNS: usize = 3;

const KINDS: [Kind; 7] = [
    Kind::Gvproxy,
    Kind::Passt,
    Kind::PasstLarge,
    Kind::Slirp4netns,
    Kind::SwitchOverStdio,
    Kind::SwitchWithLoss,
    Kind::Switch,
];

/// One that runs, with a server of iperf3.
struct Contestant<'w> {
    network: Network<'w>,
    _iperf3: Process<'w>,
}

/// Where tools/peers.sh leaves the peers.
fn peers() -> PathBuf {
    std::env::var_os("WSLMESH_PEERS").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR");
            let target = target.map_or_else(|| PathBuf::from("target"), PathBuf::from);
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join(target)
                .join("tools/peers")
        },
        PathBuf::from,
    )
}

/// The first line of what a peer says of its version.
fn version(program: &str) -> String {
    let output = Command::new(peers().join("bin").join(program))
        .arg("--version")
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        format!("no {program}")
    } else {
        line.replace(" version", "")
    }
}

pub(super) fn measure(report: &mut Report) -> Result<()> {
    let suite = std::fs::read_to_string(peers().join("suite")).unwrap_or_default();
    let versions = ["gvproxy", "passt", "slirp4netns"].map(version);
    report.head(&format!(
        "The switch; beside it {} (Debian {})",
        versions.join(", "),
        suite.trim()
    ));
    let options = Options {
        peers: Some(peers()),
        ..Options::quick()
    };
    let worlds: Vec<World> = KINDS
        .iter()
        .map(|_| World::start(&options))
        .collect::<Result<_>>()?;
    let mut contestants = Vec::new();
    for (world, kind) in worlds.iter().zip(KINDS) {
        match Network::start(world, kind) {
            Ok(network) => {
                let argv = ["iperf3", "-s", "-B", WINDOWS_ADDRESS];
                let _iperf3 = world.spawn(Place::Windows, &argv, &[])?;
                contestants.push(Contestant { network, _iperf3 });
            }
            Err(error) => report.beside(kind.name(), format!("not measured: {error:#}")),
        }
    }
    state::memory_at_start(report, &contestants)?;
    throughput::measure(report, &contestants)?;
    latency::measure(report, &contestants)?;
    state::measure(report, &contestants)?;
    probes::measure(report, &contestants)
}

/// All but the one that loses frames.
fn unhurt<'a, 'w>(contestants: &'a [Contestant<'w>]) -> Vec<&'a Network<'w>> {
    let all = contestants.iter().map(|one| &one.network);
    all.filter(|one| one.kind() != Kind::SwitchWithLoss)
        .collect()
}

/// What each gave, by its kind.
struct Results(Vec<(Kind, f64)>);

impl Results {
    /// The medians of [`TURNS`] turns, in which all take part one after the other.
    fn of(
        networks: &[&Network<'_>],
        measure: impl Fn(&Network<'_>) -> Result<f64>,
    ) -> Result<Self> {
        let mut all = vec![Vec::new(); networks.len()];
        for _ in 0..TURNS {
            for (network, values) in networks.iter().zip(&mut all) {
                let value = measure(network).with_context(|| network.kind().name());
                values.push(value?);
            }
        }
        let kinds = networks.iter().map(|one| one.kind());
        Ok(Self(
            kinds
                .zip(all.into_iter().map(super::relay::median))
                .collect(),
        ))
    }

    fn get(&self, kind: Kind) -> Option<f64> {
        let found = self.0.iter().find(|one| one.0 == kind);
        found.map(|(_, value)| *value)
    }

    /// Ours divided by this one's.
    fn times(&self, kind: Kind) -> Option<f64> {
        Some(self.get(Kind::Switch)? / self.get(kind)?)
    }

    /// A line for each but the first of ours.
    fn beside(&self, report: &mut Report, name: &str, text: impl Fn(f64) -> String) {
        let mut name = format!("{name}: ");
        for (kind, value) in &self.0 {
            if *kind != Kind::Switch {
                report.beside(&format!("{name}{}", kind.name()), text(*value));
                "- ".clone_into(&mut name);
            }
        }
    }
}

/// Ours, and what it is to be beside others: at least, or at most, so many times theirs.
fn judge(report: &mut Report, results: &Results, text: &str, wanted: &[(Kind, Wanted)]) {
    let (mut beside, mut target, mut reached) = (Vec::new(), Vec::new(), true);
    for (kind, wanted) in wanted {
        let Some(times) = results.times(*kind) else {
            continue;
        };
        beside.push(format!("{times:.2} x {}", kind.name()));
        let (limit, ok) = match wanted {
            Wanted::AtLeast(limit) => (format!(">= {limit}"), times >= *limit),
            Wanted::AtMost(limit) => (format!("<= {limit}"), times <= *limit),
        };
        target.push(limit);
        reached &= ok;
    }
    if results.get(Kind::Switch).is_none() {
        return;
    }
    if target.is_empty() {
        report.beside("- wslmesh", text);
    } else {
        let text = format!("{text}: {}", beside.join(", "));
        report.figure("- wslmesh", text, &target.join(", "), reached);
    }
}

/// How many times another's value ours may be.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}
