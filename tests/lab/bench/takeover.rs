//! From a leader's end to the next leader's first pass.

use std::time::Duration;

use anyhow::Result;

use super::figures::{Report, Times};
use crate::agent::LIMIT;
use crate::options::Options;
use crate::test_members::takeovers;
use crate::world::World;

const KILLS: usize = 50;

pub(super) fn measure(report: &mut Report) -> Result<()> {
    report.head("Several distributions");
    let world = World::start(&Options::quick())?;
    let times = Times::new(takeovers(&world, KILLS, LIMIT)?);
    report.figure(
        "from a leader's end to the next one's first pass",
        times.text(),
        "p99 under 1 s",
        times.percentile(99) < Duration::from_secs(1),
    );
    Ok(())
}
