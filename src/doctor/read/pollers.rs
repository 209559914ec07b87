//! Scripts from before wslmesh, which poll for the address.

use super::{super::facts::Pollers, root::Root};

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

/// Folders whose files count, with what their names end with.
const FOLDERS: &[(&str, &[&str])] = &[
    ("/etc/cron.d", &[""]),
    ("/etc/cron.hourly", &[""]),
    ("/var/spool/cron", &[""]),
    ("/var/spool/cron/crontabs", &[""]),
    ("/etc/systemd/system", &[".service", ".timer"]),
    ("/etc/profile.d", &[".sh"]),
];

/// Searches what cron, systemd, shells and WSL start; `boot` is `[boot] command` of
/// /etc/wsl.conf.
pub(super) fn read(root: &Root, boot: Option<&str>) -> Pollers {
    let mut pollers = Pollers::default();
    search(root, "/etc/crontab", &mut pollers);
    for (folder, ends) in FOLDERS {
        if root.is_hidden(folder) {
            pollers.hidden.push((*folder).to_owned());
        }
        for name in root.names(folder, MOST) {
            let file = format!("{folder}/{name}");
            // Subfolders that count are in the list themselves.
            if ends.iter().any(|end| name.ends_with(end)) && !root.at(&file).is_dir() {
                search(root, &file, &mut pollers);
            }
        }
    }
    if boot.is_some_and(is_poller) {
        pollers.found.push("[boot] command in /etc/wsl.conf".into());
    }
    pollers
}

fn search(root: &Root, file: &str, pollers: &mut Pollers) {
    match root.text(file, BYTES) {
        Ok(text) => {
            let text = text.unwrap_or_default();
            let mut lines = text.lines().map(str::trim_start);
            if lines.any(|line| !line.starts_with('#') && is_poller(line)) {
                pollers.found.push(file.to_owned());
            }
        }
        Err(_) => pollers.hidden.push(file.to_owned()),
    }
}

fn is_poller(line: &str) -> bool {
    let writes = || WRITES.iter().any(|sign| line.contains(sign));
    SIGNS.iter().any(|sign| line.contains(sign)) || (line.contains(FILE) && writes())
}

#[cfg(test)]
mod tests;
