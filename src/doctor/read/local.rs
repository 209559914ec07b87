//! What stands in /proc, /sys and /etc.

use std::{collections::BTreeMap, path::Path};

use super::{root::Root, unreadable};
use crate::{
    doctor::{
        facts::Text,
        ini::{self, Ini},
        sockets::{self, Socket},
    },
    model::Protocol,
};

/// Parameters that checks look at beside the configured ones.
const SYSCTLS: &[&str] = &["net.ipv4.tcp_mtu_probing"];

/// Most bytes of a table of sockets: about 25,000 of them.
const TABLE: usize = 4 << 20;

/// Files of this distribution, understood.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) release: String,
    pub(super) systemd: bool,
    pub(super) wsl_conf: Text<Ini>,
    pub(super) sockets: Text<Vec<Socket>>,
    pub(super) sysctls: BTreeMap<&'static str, String>,
}

impl Local {
    /// Reads them below a root.
    pub(super) fn read(root: &Path) -> Self {
        let root = Root::new(root);
        let conf = root.bytes("/etc/wsl.conf", ini::MOST);
        Self {
            release: root.line("/proc/sys/kernel/osrelease").unwrap_or_default(),
            // As sd_booted(3) does.
            systemd: root.at("/run/systemd/system").is_dir(),
            wsl_conf: conf.map(|bytes| Ini::decode(&bytes)),
            sockets: sockets(&root),
            sysctls: sysctls(&root),
        }
    }

    /// All of it out of reach.
    pub(super) fn unreadable(why: &str) -> Self {
        Self {
            release: String::new(),
            systemd: false,
            wsl_conf: unreadable(why),
            sockets: unreadable(why),
            sysctls: BTreeMap::new(),
        }
    }
}

fn sockets(root: &Root) -> Text<Vec<Socket>> {
    let mut all = Vec::new();
    for (protocol, name) in [
        (Protocol::Tcp, "tcp"),
        (Protocol::Tcp, "tcp6"),
        (Protocol::Udp, "udp"),
        (Protocol::Udp, "udp6"),
    ] {
        match root.text(&format!("/proc/net/{name}"), TABLE) {
            Text::Content(table) => all.extend(sockets::parse(protocol, &table)),
            Text::Unreadable(why) => return Text::Unreadable(why),
            // A kernel without IPv6 has no table of it.
            Text::Missing if name.ends_with('6') => {}
            Text::Missing => return Text::Missing,
        }
    }
    Text::Content(all)
}

fn sysctls(root: &Root) -> BTreeMap<&'static str, String> {
    let read = |key: &&'static str| {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        Some((*key, root.line(&path)?))
    };
    SYSCTLS.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_described_machine() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let nothing = Local::read(folder.path());
        assert_eq!(nothing.sockets, Text::Missing);
        assert_eq!(nothing.wsl_conf, Text::Missing);
        assert!(!nothing.systemd && nothing.release.is_empty());
        let files = [
            (
                "/proc/sys/kernel/osrelease",
                "6.6.87.2-microsoft-standard-WSL2\n",
            ),
            ("/proc/sys/net/ipv4/tcp_mtu_probing", "1\n"),
            (
                "/proc/net/tcp",
                "head\n 0: 00000000:0016 00000000:0000 0A\n",
            ),
            ("/proc/net/udp", "head\n"),
            ("/etc/wsl.conf", "[boot]\nsystemd=true\n"),
        ];
        for (path, text) in files {
            let path = root.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(root.at("/run/systemd/system")).unwrap();
        let local = Local::read(folder.path());
        assert_eq!(local.release, "6.6.87.2-microsoft-standard-WSL2");
        assert!(local.systemd);
        assert_eq!(local.sysctls.get("net.ipv4.tcp_mtu_probing").unwrap(), "1");
        let conf = local.wsl_conf.content().unwrap();
        assert_eq!(conf.get("boot", "systemd"), Some("true"));
        let sockets = local.sockets.content().unwrap();
        assert_eq!(sockets[0].to_string(), "tcp 0.0.0.0:22");
    }
}
