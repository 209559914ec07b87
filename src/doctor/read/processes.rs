//! Processes of this distribution.

use std::fs;

use super::{super::facts::Process, root::Root};

/// Most processes that are looked at.
const MOST: usize = 4096;

/// Those that can be seen.
pub(super) fn read(root: &Root) -> Vec<Process> {
    let names = root.names("/proc", MOST * 2);
    let ids = names
        .into_iter()
        .filter(|name| name.chars().all(|c| c.is_ascii_digit()));
    ids.take(MOST).filter_map(|id| one(root, &id)).collect()
}

fn one(root: &Root, id: &str) -> Option<Process> {
    let arguments = root.bytes(&format!("/proc/{id}/cmdline"), 1024);
    let arguments = arguments.content().map(|bytes| {
        let text = String::from_utf8_lossy(bytes).replace('\0', " ");
        text.trim().chars().filter(|c| !c.is_control()).collect()
    });
    let folder = fs::read_link(root.at(&format!("/proc/{id}/cwd"))).ok();
    Some(Process {
        name: root.line(&format!("/proc/{id}/comm"))?,
        arguments: arguments.unwrap_or_default(),
        folder: folder.map(|folder| folder.display().to_string()),
    })
}
