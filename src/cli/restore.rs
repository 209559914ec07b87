//! `wslmesh restore`

use anyhow::bail;

use super::output::{Exit, print, prose};
use crate::{
    agent::{self, Election},
    paths::Paths,
    restore,
};

pub(super) async fn restore(paths: Paths) -> anyhow::Result<Exit> {
    let _leadership = match agent::elect()? {
        Election::Won(leadership) => leadership,
        Election::Lost(leader) => bail!(
            "an agent works in this network namespace ({}) and would change everything again; first: systemctl stop wslmesh",
            leader.holder
        ),
    };
    // What needs no Windows first: that may take its time.
    let mut outcomes = restore::restore(&paths).await?;
    outcomes.extend(restore::withdraw(&paths).await?);
    let mut exit = Exit::Fine;
    for outcome in &outcomes {
        if outcome.failed() {
            exit = Exit::Failed;
        }
        print(&prose(&outcome.to_string()))?;
    }
    if outcomes.is_empty() {
        print("nothing to restore")?;
    }
    Ok(exit)
}
