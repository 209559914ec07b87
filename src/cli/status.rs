//! `wslmesh status`

mod page;
mod peers;

use std::time::SystemTime;

use anyhow::{Context, bail};

use self::page::Page;
use super::{
    answers,
    output::{Exit, print},
    poke::with_counters,
};
use crate::{
    observe::Peers,
    paths::Paths,
    report::{Document, read_status},
};

pub(super) async fn status(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let document = read_status(&paths.runtime).with_context(|| {
        format!(
            "cannot read the status document in {}",
            paths.runtime.display()
        )
    })?;
    let Some(document) = document.filter(Document::is_alive) else {
        bail!("no agent runs here; start it: systemctl start wslmesh");
    };
    let mut document = with_counters(paths, document);
    // Devices tell their peers to root alone.
    if document.wireguard.is_none() && rustix::process::geteuid().is_root() {
        document.wireguard = Some(Peers::default().of(&document.links).await);
    }
    answers::look(&mut document).await;
    if json {
        print(&serde_json::to_string_pretty(&document)?)?;
    } else {
        let page = Page {
            document: &document,
            now_unix: now_unix(),
        };
        print(&page.lines().join("\n"))?;
    }
    Ok(if document.degraded() {
        Exit::Degraded
    } else {
        Exit::Fine
    })
}

fn now_unix() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
