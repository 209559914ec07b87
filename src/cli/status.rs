//! `wslmesh status`

use anyhow::{Context, bail};

use super::output::{Exit, print};
use crate::{
    paths::Paths,
    report::{Document, read_status},
};

pub(super) fn status(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let document = read_status(&paths.runtime).with_context(|| {
        format!(
            "cannot read the status document in {}",
            paths.runtime.display()
        )
    })?;
    let Some(document) = document.filter(Document::is_alive) else {
        bail!("no agent runs here; start it: systemctl start wslmesh");
    };
    if json {
        print(&serde_json::to_string_pretty(&document)?)?;
    } else {
        table(&document)?;
    }
    Ok(if document.degraded() {
        Exit::Degraded
    } else {
        Exit::Fine
    })
}

fn table(document: &Document) -> anyhow::Result<()> {
    let unknown = || "-".to_owned();
    let interface = document.interface.clone().unwrap_or_else(unknown);
    let address = document
        .address
        .map_or_else(unknown, |address| address.to_string());
    let gateway = document
        .gateway
        .map_or_else(unknown, |gateway| gateway.to_string());
    let windows = document
        .windows_address
        .map_or_else(unknown, |address| address.to_string());
    let forwards = document.forwards.as_ref().map_or_else(unknown, |forwards| {
        format!("{} -> {}", forwards.count, forwards.connect_address)
    });
    let rows = [
        (
            "agent",
            format!("{} (process {})", document.role, document.pid),
        ),
        ("mode", document.mode.clone()),
        (
            "address",
            format!("{address} on {interface}, gateway {gateway}"),
        ),
        ("windows", windows),
        ("forwards", forwards),
        ("file", document.network_file.display().to_string()),
        (
            "passes",
            format!(
                "{}, the last took {} us",
                document.passes, document.last_pass_us
            ),
        ),
    ];
    for (name, value) in rows {
        print(&format!("{name:>9}: {value}"))?;
    }
    print(&format!(
        "{:>9}: {}",
        "health",
        if document.degraded() {
            "degraded"
        } else {
            "fine"
        }
    ))?;
    for entry in &document.health {
        let subject = if entry.subject.is_empty() {
            String::new()
        } else {
            format!(" ({})", entry.subject)
        };
        print(&format!(
            "{:>11}{}: {}{subject}: {}. {}",
            "", entry.severity, entry.code, entry.detail, entry.cure
        ))?;
    }
    Ok(())
}
