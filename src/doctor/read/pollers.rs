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
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::testing::machine;

    #[test]
    fn scripts_that_poll() {
        let (_folder, root) = machine(&[
            ("/etc/crontab", "* * * * * root run-parts\n"),
            (
                "/etc/cron.d/wsl",
                "* * * * * root sed -i s/WSL_IP=.*/x/ f\n",
            ),
            ("/etc/cron.d/old", "# >wsl-network.conf\n"),
            (
                "/etc/cron.d/new",
                "* * * * * root /x >/etc/wsl-network.conf\n",
            ),
            (
                "/var/spool/cron/root",
                "* * * * * netsh.exe interface portproxy reset\n",
            ),
            (
                "/etc/systemd/system/ip.service",
                "[Service]\nExecStart=sh -c 'x | tee /etc/wsl-network.conf'\n",
            ),
            (
                "/etc/systemd/system/reader.service",
                "[Service]\nEnvironmentFile=/etc/wslmesh/wsl-network.conf\n",
            ),
            ("/etc/systemd/system/ip.conf", "portproxy\n"),
            (
                "/etc/profile.d/ip.sh",
                "netsh.exe interface portproxy add v4tov4\n",
            ),
            (
                "/etc/profile.d/reader.sh",
                ". /etc/wslmesh/wsl-network.conf\n",
            ),
        ]);
        let pollers = read(&root, Some("netsh.exe interface portproxy reset"));
        assert_eq!(
            pollers.found,
            [
                "/etc/cron.d/new",
                "/etc/cron.d/wsl",
                "/var/spool/cron/root",
                "/etc/systemd/system/ip.service",
                "/etc/profile.d/ip.sh",
                "[boot] command in /etc/wsl.conf",
            ]
        );
        assert_eq!(pollers.hidden, [""; 0]);
        assert_eq!(read(&root, Some("service ssh start")).found.len(), 5);
        // What is not a file cannot be read, not even by root.
        fs::remove_file(root.at("/etc/crontab")).unwrap();
        let pipe = root.at("/etc/crontab");
        rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o600.into()).unwrap();
        assert_eq!(read(&root, None).hidden, ["/etc/crontab"]);
    }
}
