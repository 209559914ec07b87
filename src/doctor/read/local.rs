//! What /proc, /sys and /etc say.

use std::{collections::BTreeMap, fs, io, path::Path};

use ipnet::Ipv4Net;

use super::{clock, dns, files, machine, pollers, root::Root};
use crate::{
    doctor::facts::{Facts, Process, Secrecy, Systemd, Text, Wsl},
    interop::ini::{self, Ini},
    model::{Protocol, Socket},
    observe,
};

/// Parameters that checks read beside the configured ones.
const SYSCTLS: &[&str] = &[
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.ip_local_port_range",
    "fs.inotify.max_user_watches",
];

/// Most bytes of the table of routes.
const TABLE: usize = 4 << 20;

/// Most processes that are read.
const PROCESSES: usize = 4096;

/// Reads what is below a root; all else is unread. `own` are wslmesh's own files,
/// `home` is this user's folder.
pub(super) fn read(root: &Root, own: &[(String, Secrecy)], home: Option<&str>) -> Facts {
    let wsl_conf = root.bytes("/etc/wsl.conf", ini::MOST);
    let wsl_conf = wsl_conf.map(|bytes| Ini::decode(&bytes));
    let boot = wsl_conf.content();
    let boot = boot.and_then(|ini| ini.get("boot", "command"));
    let release = root.line("/proc/sys/kernel/osrelease").unwrap_or_default();
    let table = root.text("/proc/net/route", TABLE);
    let table = table.content().map(String::as_str);
    let unread = Facts::unread("");
    Facts {
        pollers: pollers::read(root, boot),
        wsl_conf,
        kernel: machine::kernel(root, &release),
        wsl: Wsl {
            release,
            ..unread.wsl
        },
        systemd: Systemd {
            // As sd_booted(3) does.
            running: root.at("/run/systemd/system").is_dir(),
            ..unread.systemd
        },
        sockets: sockets(&root.at("/")),
        sysctls: sysctls(root),
        routes: routes(table.unwrap_or_default()),
        resolver: dns::resolver(root),
        clock: clock::read(root),
        processes: processes(root),
        guarded: files::guarded(root, own, home),
        hidden_keys: files::hidden_keys(root, home),
        resources: machine::resources(root),
        ..unread
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

/// The processes that this user can read.
fn processes(root: &Root) -> Vec<Process> {
    let names = root.names("/proc", PROCESSES * 2);
    let ids = names
        .into_iter()
        .filter(|name| name.chars().all(|c| c.is_ascii_digit()));
    ids.take(PROCESSES)
        .filter_map(|id| process(root, &id))
        .collect()
}

fn process(root: &Root, id: &str) -> Option<Process> {
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

#[cfg(test)]
mod tests;
