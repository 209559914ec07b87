//! `wslmesh run`

use super::output::Exit;
use crate::{agent, config::Source, paths::Paths, report};

pub(super) async fn run(source: Source, paths: Paths) -> anyhow::Result<Exit> {
    report::start_journal();
    agent::run(source, paths).await?;
    Ok(Exit::Fine)
}
