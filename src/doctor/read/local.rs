//! What /proc, /sys and /etc say.

use std::io;

use ipnet::Ipv4Net;

use super::{files, limits, machine, pollers, processes, root::Root};
use crate::{
    doctor::facts::{Local, Secrecy},
    interop::{
        Drives, WslFile,
        ini::{self, Ini},
    },
    model::{Protocol, Socket},
    observe::{self, DnsCheck, RESOLV_CONF},
};

/// Most bytes of the table of routes.
const TABLE: usize = 4 << 20;

/// Reads what is below a root. `own` are wslmesh's own files, `home` is this user's
/// folder.
pub(super) fn read(root: &Root, own: &[(String, Secrecy)], home: Option<&str>) -> Local {
    let wsl_conf = root.bytes("/etc/wsl.conf", ini::MOST);
    let wsl_conf = wsl_conf.map(|bytes| bytes.map(|bytes| Ini::wsl_conf(&bytes)));
    let boot = wsl_conf.iter().flatten().next();
    let boot = boot.and_then(|ini| ini.get("boot.command"));
    let release = root.line("/proc/sys/kernel/osrelease").unwrap_or_default();
    let drives = Drives::below(&root.at("/"));
    Local {
        wsl_conf_near: root.existing("/etc", WslFile::Conf.near()),
        pollers: pollers::read(root, boot),
        wsl_conf,
        kernel: machine::kernel(root, &release),
        release,
        // As sd_booted(3) does.
        systemd: root.at("/run/systemd/system").is_dir(),
        sockets: sockets(root),
        passes_on: observe::passes_on(&root.at("/")),
        // The tables of this namespace, which iptables-nft does not use (net/netfilter/x_tables.c).
        legacy_nat: (root.text("/proc/net/ip_tables_names", 4096))
            .map(|text| text.is_some_and(|text| text.lines().any(|table| table == "nat"))),
        mtu_probing: root.line("/proc/sys/net/ipv4/tcp_mtu_probing"),
        watches: root.line("/proc/sys/fs/inotify/max_user_watches"),
        routes: routes(&root.text_or_empty("/proc/net/route", TABLE)),
        dns: DnsCheck {
            resolver: observe::resolver(&root.at(RESOLV_CONF)),
            ..DnsCheck::default()
        },
        drift: observe::drift(&root.at("/")),
        follows: observe::follows_host(&root.at("/")),
        processes: processes::read(root, &drives),
        drives,
        data_root: files::data_root(root),
        guarded: files::guarded(root, own, home),
        hidden_keys: files::hidden_keys(root, home),
        memory: observe::machine(&root.at("/")),
        disk: machine::disk(&root.at("/")),
        pressure: limits::pressure(root),
        oom_kills: limits::oom_kills(root),
        limits: limits::read(root),
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

fn sockets(root: &Root) -> Result<Vec<Socket>, String> {
    let read = |protocol| observe::sockets(&root.at("/"), protocol);
    let all = read(Protocol::Tcp).and_then(|tcp| Ok([tcp, read(Protocol::Udp)?].concat()));
    all.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "/proc/net does not exist".to_owned(),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests;
