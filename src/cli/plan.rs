//! `wslmesh plan`

use super::{
    output::{self, Exit, print, prose},
    style,
};
use crate::{
    agent,
    config::{Settings, Source},
    paths::Paths,
};

pub(super) async fn plan(source: Source, paths: Paths) -> anyhow::Result<Exit> {
    let settings = Settings::load(&source)?;
    let plan = agent::dry_run(&settings, &paths).await?;
    for action in &plan.actions {
        print(&prose(&format!("would do: {action}")))?;
    }
    if plan.actions.is_empty() {
        print(&style::good("nothing to do"))?;
    }
    Ok(output::findings(&plan.findings)?)
}
