//! PersistentKeepalive and endpoints of WireGuard peers.

use std::time::Duration;

use super::ApplyError;
use crate::{
    blocking::{KeyedFlights, run_blocking},
    model::{
        Code, EndpointChange, InterfaceName, KeepaliveChange, LinkKind, PublicKey, WireguardLink,
    },
    netlink::{Netlink, kind_of, name_of},
    wireguard,
};
use netlink_packet_route::link::{InfoKind, LinkMessage};

/// Longest wait. The call itself cannot be taken back; the library's socket
/// has no deadline.
const DEADLINE: Duration = Duration::from_secs(5);

/// Sets keepalives on a device that is still the one that was planned for; a
/// device that was removed needs none.
pub(super) async fn set_keepalive(
    netlink: &Netlink,
    devices: &KeyedFlights<InterfaceName>,
    change: KeepaliveChange,
) -> Result<bool, ApplyError> {
    let name = change.name.clone();
    let link = netlink
        .link(change.index)
        .await
        .map_err(|error| ApplyError::link(name.to_string(), &error, Code::WireguardRefused))?;
    if !link.is_some_and(|link| is_still(&link, &change.name, change.kind)) {
        return Ok(false);
    }
    let call = move || wireguard::set_keepalive(&change);
    let done = async { run_blocking(devices.begin(&name)?, DEADLINE, call).await };
    match done.await {
        Ok(Err(wireguard::WireGuardError::Removed(_))) => Ok(false),
        Ok(done) => Ok(done? > 0),
        Err(error) => Err(ApplyError::Failed {
            what: name.to_string(),
            why: error.to_string(),
            retry: true,
            code: Code::WireguardRefused,
        }),
    }
}

/// Gives peers of a device that is still the one that was decided on other endpoints;
/// gives back those that it did it for.
///
/// # Errors
/// The kernel's or the daemon's reason, in words.
pub async fn set_endpoints(
    netlink: &Netlink,
    devices: &KeyedFlights<InterfaceName>,
    change: EndpointChange,
) -> Result<Vec<PublicKey>, String> {
    let WireguardLink { index, name, kind } = change.link.clone();
    let link = netlink
        .link(index)
        .await
        .map_err(|error| error.to_string())?;
    if !link.is_some_and(|link| is_still(&link, &name, kind)) {
        return Ok(Vec::new());
    }
    let call = move || wireguard::set_endpoints(&change);
    let done = async { run_blocking(devices.begin(&name)?, DEADLINE, call).await };
    match done.await {
        Ok(Err(wireguard::WireGuardError::Removed(_))) => Ok(Vec::new()),
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Same index, same name, same kind: the device that was planned for.
fn is_still(link: &LinkMessage, name: &InterfaceName, kind: LinkKind) -> bool {
    let kernel = kind_of(link) == Some(&InfoKind::Wireguard);
    name_of(link) == Some(name.as_str()) && kernel == (kind == LinkKind::WireGuard)
}
