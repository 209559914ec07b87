//! Observes the world, one file per source, into an [`Observation`].

mod changes;
mod clock;
mod discovery;
mod dns;
mod endpoints;
mod expected;
mod machine;
mod nat;
mod network;
mod peers;
mod ports;
mod published;
mod resolv;
mod rule;
mod sockets;
mod tunnel;
mod units;
mod wireguard;

use std::{fs, io, path::Path};

use rustix::fs::{Access, access};

use crate::{
    config::Settings,
    fs::file,
    model::{
        HostMemory, ModeState, NetworkFile, Observation, SysctlKey, SysctlReading, SysctlValue,
    },
    netlink::{Netlink, NetlinkError},
};

/// Takes one whole observation. `mode` and `host` are what earlier calls to
/// Windows gave: an observation never waits for Windows. `runtime` is the directory of
/// what was claimed.
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
    runtime: &Path,
) -> Result<Observation, NetlinkError> {
    let (links, addresses, routes) = network::read(netlink, &settings.interface).await?;
    let wireguard = devices.read(settings, &links).await;
    Ok(Observation {
        kernel_ports: ports::kernel_ports(&mode, &links, &wireguard, runtime),
        carriers: wireguard::carriers(netlink, &wireguard).await?,
        wireguard,
        links,
        addresses,
        routes,
        mode,
        network_file: network_file(&settings.config_file),
        zone_links: network::towards(netlink, settings.dns.zones.values().flatten()).await?,
        resolver: resolver(Path::new(RESOLV_CONF)),
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

pub use changes::SocketWatch;
pub use clock::{
    Drift, HostClock, NoReference, Ptp, clocks, drift, drift_of, follows_host, now_unix,
};
pub use discovery::{Owner, Question, owners, owners_at};
pub use dns::{DNS_DEADLINE, DnsCheck, check_dns, query_first};
pub use endpoints::Endpoints;
pub use expected::expected_tunnels;
pub use machine::{Machine, machine};
pub use nat::look_at_nat;
pub use peers::Peers;
pub use ports::{CLAIMED, claimed};
pub use published::{Published, RuleWatch, published};
pub use resolv::{RESOLV_CONF, resolver};
pub use sockets::{BoundSocket, bound, passes_on, sockets, udp_cookie};
pub use tunnel::add_traffic;
pub use wireguard::Devices;
