//! PersistentKeepalive of WireGuard peers.

use std::time::Duration;

use super::ApplyError;
use crate::{
    blocking::{KeyedFlights, run_blocking},
    model::{Code, InterfaceName, KeepaliveChange, LinkKind},
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
    if !link.is_some_and(|link| is_still(&link, &change)) {
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

/// Same index, same name, same kind: the device that was planned for.
fn is_still(link: &LinkMessage, change: &KeepaliveChange) -> bool {
    let kernel = kind_of(link) == Some(&InfoKind::Wireguard);
    name_of(link) == Some(change.name.as_str()) && kernel == (change.kind == LinkKind::WireGuard)
}
