//! WireGuard devices.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use futures_util::future::join_all;

use super::units;
use crate::{
    blocking::{KeyedFlights, run_blocking},
    config::Settings,
    model::{Device, DeviceReading, InterfaceName, Link, LinkKind, WireguardLink},
    netlink::{Netlink, NetlinkError},
    wireguard,
};

/// Longest wait for a device. A hanging userspace daemon must not hold up the
/// pass that brings everything else to the new address.
const DEADLINE: Duration = Duration::from_secs(1);

/// Reads a device in a thread of its own; a device that hangs gets no second call.
pub(super) async fn read(
    flights: &KeyedFlights<InterfaceName>,
    device: &InterfaceName,
    kind: LinkKind,
    deadline: Duration,
) -> Result<Device, String> {
    let name = device.clone();
    let answer = async {
        let read = move || wireguard::read(&name, kind);
        run_blocking(flights.begin(device)?, deadline, read).await
    };
    match answer.await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(error) => Err(format!("{device}: {error}")),
    }
}

/// Reads devices for passes.
#[derive(Debug, Clone, Default)]
pub struct Devices(KeyedFlights<InterfaceName>);

impl Devices {
    pub(super) async fn read(
        &self,
        settings: &Settings,
        links: &[Link],
    ) -> BTreeMap<InterfaceName, DeviceReading> {
        let ours = links.iter().filter(|link| {
            let wanted = [&settings.wireguard_interfaces, &settings.mtu_interfaces];
            link.kind.is_wireguard() && wanted.iter().any(|list| list.covers(link))
        });
        let readings = join_all(ours.map(|link| self.unless_busy(settings, link))).await;
        readings.into_iter().collect()
    }

    /// The devices alone; those that cannot be read are left out.
    pub async fn read_plain(&self, links: &[WireguardLink]) -> BTreeMap<InterfaceName, Device> {
        let one = async |link: &WireguardLink| {
            let device = read(&self.0, &link.name, link.kind, DEADLINE).await;
            Some((link.name.clone(), device.ok()?))
        };
        let devices = join_all(links.iter().map(one)).await;
        devices.into_iter().flatten().collect()
    }

    async fn unless_busy(
        &self,
        settings: &Settings,
        link: &Link,
    ) -> (InterfaceName, DeviceReading) {
        let reading = match read(&self.0, &link.name, link.kind, DEADLINE).await {
            Ok(device)
                if settings.wireguard_interfaces.covers(link)
                    && needs_keepalive(settings, &device) =>
            {
                units::wg_quick_busy(&link.name)
                    .await
                    .map_or(DeviceReading::Device(device), DeviceReading::Busy)
            }
            Ok(device) => DeviceReading::Device(device),
            Err(why) => DeviceReading::Unreadable(why),
        };
        (link.name.clone(), reading)
    }
}

/// Most peers of a device whose way is looked up: a hub's lead the same way.
const PEERS: usize = 64;

/// The interfaces by which packets to each device's peers leave.
///
/// # Errors
/// The kernel's refusal to look up a route.
pub(super) async fn carriers(
    netlink: &Netlink,
    devices: &BTreeMap<InterfaceName, DeviceReading>,
) -> Result<BTreeMap<InterfaceName, BTreeSet<u32>>, NetlinkError> {
    let mut carriers = BTreeMap::new();
    for (name, reading) in devices {
        let Some(device) = reading.device() else {
            continue;
        };
        let endpoints = device.peers.values().filter_map(|peer| peer.endpoint);
        let endpoints: BTreeSet<SocketAddr> = endpoints.collect();
        let mut links = BTreeSet::new();
        for endpoint in endpoints.into_iter().take(PEERS) {
            links.extend(match endpoint {
                // A link-local address is of one link.
                SocketAddr::V6(at) if at.scope_id() != 0 => Some(at.scope_id()),
                at => netlink.link_towards(at.ip(), device.mark).await?,
            });
        }
        carriers.insert(name.clone(), links);
    }
    Ok(carriers)
}

/// Whether something of the device would be changed. Only then it matters what
/// wg-quick is doing; asking systemd in every pass would keep the bus busy.
fn needs_keepalive(settings: &Settings, device: &Device) -> bool {
    settings.keepalive.is_some() && device.without_keepalive().next().is_some()
}

#[cfg(test)]
mod tests;
