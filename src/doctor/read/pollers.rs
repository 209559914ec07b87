//! Scripts from before wslmesh, which poll for the address.

use super::{
    super::facts::{Pollers, Text},
    root::Root,
};

/// Most entries of a folder that are read.
const MOST: usize = 256;

/// Most bytes of a file that are read.
const BYTES: usize = 64 << 10;

/// What such a script contains: the rules it makes, or the value it writes.
const SIGNS: &[&str] = &["portproxy", "WSL_IP="];

/// The file that it writes, as the agent does now.
const FILE: &str = "wsl-network.conf";

/// What makes a line write a file: units and shells may read the agent's.
const WRITES: &[&str] = &[">", "sed -i", "tee "];

/// Folders of cron, where every file counts.
const CRON: &[&str] = &[
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
];

/// Searches what cron, systemd, shells and WSL start; `boot` is `[boot] command` of
/// /etc/wsl.conf.
pub(super) fn read(root: &Root, boot: Option<&str>) -> Pollers {
    let mut pollers = Pollers::default();
    search(root, "/etc/crontab", &mut pollers);
    folders(root, CRON, |_| true, &mut pollers);
    let unit = |name: &str| name.ends_with(".service") || name.ends_with(".timer");
    folders(root, &["/etc/systemd/system"], unit, &mut pollers);
    let script = |name: &str| name.ends_with(".sh");
    folders(root, &["/etc/profile.d"], script, &mut pollers);
    if boot.is_some_and(is_poller) {
        pollers.found.push("[boot] command in /etc/wsl.conf".into());
    }
    pollers
}

fn folders(root: &Root, folders: &[&str], is_ours: fn(&str) -> bool, pollers: &mut Pollers) {
    for folder in folders {
        if root.is_hidden(folder) {
            pollers.hidden.push((*folder).to_owned());
        }
        let names = root.names(folder, MOST).into_iter();
        for name in names.filter(|name| is_ours(name)) {
            let file = format!("{folder}/{name}");
            // Subfolders that count are in the list themselves.
            if !root.at(&file).is_dir() {
                search(root, &file, pollers);
            }
        }
    }
}

fn search(root: &Root, file: &str, pollers: &mut Pollers) {
    match root.text(file, BYTES) {
        Text::Content(text) => {
            let mut lines = text.lines().map(str::trim_start);
            if lines.any(|line| !line.starts_with('#') && is_poller(line)) {
                pollers.found.push(file.to_owned());
            }
        }
        Text::Unreadable(_) => pollers.hidden.push(file.to_owned()),
        Text::Missing => {}
    }
}

fn is_poller(line: &str) -> bool {
    let writes = || WRITES.iter().any(|sign| line.contains(sign));
    SIGNS.iter().any(|sign| line.contains(sign)) || (line.contains(FILE) && writes())
}

#[cfg(test)]
mod tests;
