//! Reads the world, one file per source, into an [`Observation`].

mod network;
mod network_file;
mod peers;
mod resolv;
mod sockets;
mod sysctl;
mod units;
mod wireguard;

use crate::{
    config::Settings,
    model::{HostMemory, ModeState, Observation},
    netlink::{Netlink, NetlinkError},
};

/// Takes one whole snapshot. `mode` and `host` are what earlier questions to
/// Windows gave: a snapshot never waits for Windows.
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
    let tables = network::read(netlink, &settings.interface).await?;
    let wireguard = devices.read(settings, &tables.links).await;
    Ok(Observation {
        wireguard,
        links: tables.links,
        addresses: tables.addresses,
        routes: tables.routes,
        mode,
        network_file: network_file::read(&settings.config_file),
        dns: resolv::first_server(),
        sysctls: settings
            .sysctls
            .keys()
            .map(|key| (key.clone(), sysctl::read(key)))
            .collect(),
        host,
    })
}

pub use peers::Peers;
pub use sockets::sockets;
pub use sysctl::read as read_sysctl;
pub use wireguard::Devices;
