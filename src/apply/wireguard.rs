//! PersistentKeepalive of WireGuard peers.

use std::time::Duration;

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use tokio::{task::spawn_blocking, time::timeout};

use super::ApplyError;
use crate::{
    model::{KeepaliveChange, LinkKind},
    netlink::{Netlink, name_of},
    wireguard,
};

/// Longest wait. The call itself cannot be taken back; the library's socket
/// has no deadline.
const DEADLINE: Duration = Duration::from_secs(5);

/// Sets keepalives on a device that is still the one that was planned for. A
/// device that is gone needs none.
pub(super) async fn set_keepalive(
    netlink: &Netlink,
    change: KeepaliveChange,
) -> Result<bool, ApplyError> {
    let name = change.name.to_string();
    let link = netlink
        .link(change.index)
        .await
        .map_err(|error| ApplyError::Link {
            name: name.clone(),
            error,
        })?;
    if !link.is_some_and(|link| is_still(&link, &change)) {
        return Ok(false);
    }
    let call = spawn_blocking(move || {
        wireguard::set_keepalive(
            &change.name,
            change.index,
            change.kind,
            &change.peers,
            change.seconds,
        )
    });
    match timeout(DEADLINE, call).await {
        Ok(Ok(Err(wireguard::WireGuardError::Gone(_)))) => Ok(false),
        Ok(Ok(done)) => Ok(done? > 0),
        Ok(Err(_)) | Err(_) => Err(ApplyError::Hangs(name)),
    }
}

/// Same index, same name, same kind: the device that was planned for.
fn is_still(link: &LinkMessage, change: &KeepaliveChange) -> bool {
    let wireguard = LinkInfo::Kind(InfoKind::Wireguard);
    let kernel = link.attributes.iter().any(|attribute| {
        matches!(attribute, LinkAttribute::LinkInfo(infos) if infos.contains(&wireguard))
    });
    name_of(link) == Some(change.name.as_str()) && kernel == (change.kind == LinkKind::WireGuard)
}
