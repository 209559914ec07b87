//! What each makes of the probes. The failures of peers are information.

use anyhow::{Result, anyhow};

use super::{Contestant, unhurt};
use crate::bench::figures::Report;
use crate::net_probe::PROBES;
use crate::userspace::{Kind, Network};

/// One outcome for each probe.
fn all(network: &Network<'_>) -> Result<Vec<Result<String, String>>> {
    PROBES.iter().map(|probe| network.probe(probe.0)).collect()
}

pub(super) fn measure(report: &mut Report, contestants: &[Contestant<'_>]) -> Result<()> {
    let networks = unhurt(contestants);
    let outcomes = std::thread::scope(|scope| {
        let threads: Vec<_> = networks
            .iter()
            .map(|network| scope.spawn(|| all(network)))
            .collect();
        let joined = threads.into_iter().map(|thread| {
            let panicked = |_| Err(anyhow!("a probe panicked"));
            thread.join().unwrap_or_else(panicked)
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    for (index, (_, title, _)) in PROBES.into_iter().enumerate() {
        let mut passed = Vec::new();
        let mut name = format!("{title}: ");
        let mut begin = |rest: &str| std::mem::replace(&mut name, "- ".to_owned()) + rest;
        for (network, outcomes) in networks.iter().zip(&outcomes) {
            let kind = network.kind();
            let ours = matches!(kind, Kind::Switch | Kind::SwitchOverStdio);
            match outcomes.get(index) {
                Some(Ok(text)) if ours => report.figure(&begin(kind.name()), text, "passes", true),
                Some(Err(why)) if ours => report.figure(&begin(kind.name()), why, "passes", false),
                Some(Ok(_)) => passed.push(kind.name()),
                Some(Err(why)) => report.beside(&begin(kind.name()), format!("FAILS: {why}")),
                None => {}
            }
        }
        report.beside(&begin("pass, too"), passed.join(", "));
    }
    Ok(())
}
