//! Reads the world, one file per source, into an [`Observation`].

mod network;
mod peers;
mod resolv;
mod sockets;
mod sysctl;
mod units;
mod wireguard;

use std::path::Path;

use crate::{
    config::Settings,
    fs::file,
    model::{HostMemory, ModeState, NetworkFile, Observation},
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
        network_file: network_file(&settings.config_file),
        dns: resolv::first_server(),
        sysctls: settings
            .sysctls
            .keys()
            .map(|key| (key.clone(), sysctl::read(key)))
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

pub use peers::Peers;
pub use sockets::sockets;
pub use sysctl::read as read_sysctl;
pub use wireguard::Devices;
