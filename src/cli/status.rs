//! `wslmesh status`

mod page;
mod peers;

use anyhow::bail;
use jiff::Timestamp;

use self::page::page;
use super::{
    answers,
    output::{Exit, print, print_json},
};
use crate::{
    control::{self, Status},
    observe::Peers,
    paths::Paths,
};

pub(super) async fn status(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let Some(Status { mut document, note }) = control::status(paths).await? else {
        bail!("the agent is not running; start it: systemctl start wslmesh")
    };
    // The document on disk has no peers, which only root can read.
    if document.wireguard.is_none() && rustix::process::geteuid().is_root() {
        document.wireguard = Some(Peers::default().of(&document.links).await);
    }
    answers::add_answers(&mut document);
    if json {
        print_json(&document)?;
    } else {
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        print(&page(&document, note.as_deref(), now).join("\n"))?;
    }
    Ok(Exit::unless(document.degraded()))
}
