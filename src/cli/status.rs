//! `wslmesh status`

mod page;
mod peers;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;

use self::page::page;
use super::{
    answers,
    output::{Exit, print, print_json},
};
use crate::{
    control::{self, Status},
    observe::{Peers, add_traffic},
    paths::Paths,
    report::render_metrics,
};

/// How the state is shown.
#[derive(Debug, Args)]
pub(super) struct Shown {
    /// Print the status document as JSON
    #[arg(long)]
    json: bool,
    /// Print the numbers in Prometheus' text format
    #[arg(long, conflicts_with = "json")]
    metrics: bool,
}

pub(super) async fn status(paths: &Paths, shown: &Shown) -> anyhow::Result<Exit> {
    let Some(Status { mut document, note }) = control::status(paths).await? else {
        bail!("the agent is not running; start it: systemctl start wslmesh")
    };
    // The document on disk has no peers, which only root can read.
    if document.wireguard.is_none() && rustix::process::geteuid().is_root() {
        document.wireguard = Some(Peers::default().of(&document.links).await);
        add_traffic(&mut document);
    }
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    if shown.metrics {
        print(render_metrics(&document, now).trim_end())?;
        return Ok(Exit::unless(document.degraded()));
    }
    answers::add_answers(&mut document);
    if shown.json {
        print_json(&document)?;
    } else {
        print(&page(&document, note.as_deref(), now).join("\n"))?;
    }
    Ok(Exit::unless(document.degraded()))
}
