//! What stands in /proc, /sys and /etc.

use std::{collections::BTreeMap, io, path::Path};

use ipnet::Ipv4Net;

use super::{clock, dns, files, machine, pollers, processes, root::Root, unreadable};
use crate::{
    doctor::facts::{Clock, Guarded, Kernel, Pollers, Process, Resources, Secrecy, Text},
    interop::ini::{self, Ini},
    model::{Protocol, Socket},
    observe,
};

/// Parameters that checks look at beside the configured ones.
const SYSCTLS: &[&str] = &[
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.ip_local_port_range",
    "fs.inotify.max_user_watches",
];

/// Most bytes of the table of routes.
const TABLE: usize = 4 << 20;

/// Files of this distribution, understood.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) release: String,
    pub(super) systemd: bool,
    pub(super) wsl_conf: Text<Ini>,
    pub(super) sockets: Text<Vec<Socket>>,
    pub(super) sysctls: BTreeMap<&'static str, String>,
    pub(super) routes: Vec<(String, Ipv4Net)>,
    pub(super) resolver: dns::File,
    pub(super) clock: Clock,
    pub(super) processes: Vec<Process>,
    pub(super) guarded: Vec<Guarded>,
    pub(super) hidden_keys: Vec<String>,
    pub(super) pollers: Pollers,
    pub(super) resources: Resources,
    pub(super) kernel: Kernel,
}

impl Local {
    /// Reads them below a root; `own` are wslmesh's own files, `home` is this
    /// user's folder.
    pub(super) fn read(root: &Path, own: &[(String, Secrecy)], home: Option<&str>) -> Self {
        let root = Root::new(root);
        let conf = root.bytes("/etc/wsl.conf", ini::MOST);
        let wsl_conf = conf.map(|bytes| Ini::decode(&bytes));
        let boot = wsl_conf
            .content()
            .and_then(|ini| ini.get("boot", "command"));
        let release = root.line("/proc/sys/kernel/osrelease").unwrap_or_default();
        let table = root.text("/proc/net/route", TABLE);
        Self {
            pollers: pollers::read(&root, boot),
            wsl_conf,
            kernel: machine::kernel(&root, &release),
            release,
            // As sd_booted(3) does.
            systemd: root.at("/run/systemd/system").is_dir(),
            sockets: sockets(&root.at("/")),
            sysctls: sysctls(&root),
            routes: table
                .content()
                .map(|table| routes(table))
                .unwrap_or_default(),
            resolver: dns::file(&root),
            clock: clock::read(&root),
            processes: processes::read(&root),
            guarded: files::guarded(&root, own, home),
            hidden_keys: files::hidden_keys(&root, home),
            resources: machine::resources(&root),
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
            routes: Vec::new(),
            resolver: dns::File {
                text: unreadable(why),
                link: None,
                immutable: false,
            },
            clock: Clock {
                drift: Err(why.to_owned()),
                follows: None,
            },
            processes: Vec::new(),
            guarded: Vec::new(),
            hidden_keys: Vec::new(),
            pollers: Pollers::default(),
            resources: Resources::default(),
            kernel: Kernel::default(),
        }
    }
}

/// Interface and destination of each route in /proc/net/route, which has the main
/// table: words of 32 bits in the machine's own byte order.
fn routes(table: &str) -> Vec<(String, Ipv4Net)> {
    let route = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, to) = (fields.next()?, fields.next()?);
        let mask = fields.nth(5)?;
        let word = |hex| u32::from_str_radix(hex, 16).ok().map(u32::to_ne_bytes);
        let net = Ipv4Net::with_netmask(word(to)?.into(), word(mask)?.into());
        Some((name.to_owned(), net.ok()?.trunc()))
    };
    table.lines().skip(1).filter_map(route).collect()
}

fn sockets(root: &Path) -> Text<Vec<Socket>> {
    let mut all = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        match observe::sockets(root, protocol) {
            Ok(found) => all.extend(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Text::Missing,
            Err(error) => return Text::Unreadable(error.to_string()),
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
        let nothing = Local::read(folder.path(), &[], None);
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
        let local = Local::read(folder.path(), &[], None);
        assert_eq!(local.release, "6.6.87.2-microsoft-standard-WSL2");
        assert!(local.systemd);
        assert_eq!(local.sysctls.get("net.ipv4.tcp_mtu_probing").unwrap(), "1");
        let conf = local.wsl_conf.content().unwrap();
        assert_eq!(conf.get("boot", "systemd"), Some("true"));
        let sockets = local.sockets.content().unwrap();
        assert_eq!(sockets[0].to_string(), "tcp 0.0.0.0:22");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_of_the_kernel() {
        let table =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t01101CAC\t0003\t0\t0\t0\t00000000\t0\t0\t0
wg0\t0000630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
bad line\nx\t0\t0\t0\t0\t0\t0\tFF00FF00\n";
        let found: Vec<String> = routes(table)
            .iter()
            .map(|(name, net)| format!("{name} {net}"))
            .collect();
        assert_eq!(found, ["eth0 0.0.0.0/0", "wg0 10.99.0.0/24"]);
    }

    proptest::proptest! {
        #[test]
        fn routes_never_panic(table in "(\\PC{0,30}[\t\n]){0,12}", hex in "[0-9A-F]{0,9}") {
            let table = format!("head\n{table}\na {hex} 0 0 0 0 0 {hex}\n");
            proptest::prop_assert!(routes(&table).len() <= table.lines().count());
        }
    }
}
