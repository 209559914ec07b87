//! Observes the world, one file per source, into an [`Observation`].

mod network;
mod peers;
mod sockets;
#[cfg(test)]
mod tests;
mod units;
mod wireguard;

use std::{fs, io, net::IpAddr, path::Path};

use rustix::fs::{Access, access};

use crate::{
    config::Settings,
    fs::{file, read_bounded},
    model::{
        HostMemory, ModeState, NetworkFile, Observation, SysctlKey, SysctlReading, SysctlValue,
    },
    netlink::{Netlink, NetlinkError},
};

/// Takes one whole observation. `mode` and `host` are what earlier calls to
/// Windows gave: an observation never waits for Windows.
///
/// # Errors
/// The kernel did not list its links, addresses or routes. Everything else
/// that cannot be read is part of the observation.
pub async fn observe(
    settings: &Settings,
    netlink: &Netlink,
    devices: &Devices,
    mode: ModeState,
    host: HostMemory,
) -> Result<Observation, NetlinkError> {
    let (links, addresses, routes) = network::read(netlink, &settings.interface).await?;
    Ok(Observation {
        wireguard: devices.read(settings, &links).await,
        links,
        addresses,
        routes,
        mode,
        network_file: network_file(&settings.config_file),
        dns: name_server(),
        sysctls: settings
            .sysctls
            .keys()
            .map(|key| (key.clone(), read_sysctl(key)))
            .collect(),
        host,
    })
}

fn network_file(path: &Path) -> NetworkFile {
    match file::read(path) {
        Ok(Some(content)) => NetworkFile::Content(content),
        Ok(None) => NetworkFile::Missing,
        Err(error) => NetworkFile::Unreadable(error.to_string()),
    }
}

/// Most bytes of resolv.conf that are read; glibc takes three servers.
const RESOLV_MAX: usize = 1 << 16;

/// First name server of /etc/resolv.conf. With DNS tunnelling this is
/// 10.255.255.254, which is not the Windows host.
fn name_server() -> Option<IpAddr> {
    let bytes = read_bounded(Path::new("/etc/resolv.conf"), RESOLV_MAX).ok()?;
    name_servers(&String::from_utf8_lossy(&bytes)).next()
}

/// The servers of a resolv.conf(5), in order: the keyword at the start of the line, an
/// IPv6 address perhaps with a zone, which is left out.
pub fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| {
            let word = rest.split_whitespace().next()?;
            word.split('%').next()?.parse().ok()
        })
}

/// Reads a kernel parameter and whether it may be written.
#[must_use]
pub fn read_sysctl(key: &SysctlKey) -> SysctlReading {
    let path = key.path();
    match fs::read_to_string(&path) {
        Ok(text) => SysctlReading::Value {
            value: SysctlValue::new(&text),
            writable: access(&path, Access::WRITE_OK).is_ok(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => SysctlReading::Missing,
        Err(error) => SysctlReading::Unreadable(error.to_string()),
    }
}

pub use peers::Peers;
pub use sockets::sockets;
pub use wireguard::Devices;
