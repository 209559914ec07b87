//! `wslmesh apply`

use anyhow::bail;

use super::{
    output::{self, Exit, print, prose},
    style,
};
use crate::{
    agent::{self, Election},
    config::{Settings, Source},
    paths::Paths,
};

pub(super) async fn apply(source: Source, paths: Paths) -> anyhow::Result<Exit> {
    let settings = Settings::load(&source)?;
    let _leadership = match agent::elect()? {
        Election::Won(leadership) => leadership,
        Election::Lost(leader) => bail!(
            "an agent works in this network namespace already ({}), and it does this by itself; to make it look again: systemctl reload wslmesh",
            leader.holder
        ),
    };
    let done = agent::apply_once(settings, paths).await?;
    for change in &done.changes {
        print(&prose(&format!("done: {change}")))?;
    }
    if done.changes.is_empty() {
        print(&style::good("nothing to do"))?;
    }
    Ok(output::findings(&done.findings)?)
}
