//! WireGuard peers with their handshakes and counters, on request.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::sync::Mutex;

use super::{now_unix, wireguard::read};
use crate::{
    blocking::KeyedFlights,
    model::{InterfaceName, LinkKind, from_word},
    report::{LinkEntry, PeerEntry, WireguardEntry},
};

/// Longest wait for a device. A caller on the bus waits for a second.
const DEADLINE: Duration = Duration::from_millis(700);

/// Reads peers off the loop, apart from the reads of passes: one that hangs here
/// must not keep a pass from reading its device.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    flights: KeyedFlights<InterfaceName>,
    turn: Arc<Mutex<()>>,
}

impl Peers {
    /// The peers of those of the links that carry WireGuard, in their order; a
    /// device that does not answer in time is named with the reason. Callers at
    /// the same time wait for each other.
    pub async fn of(&self, links: &[LinkEntry]) -> Vec<WireguardEntry> {
        let _turn = self.turn.lock().await;
        let device = |link: &LinkEntry| {
            let kind = from_word(&link.kind).ok();
            let kind = kind.filter(|kind: &LinkKind| kind.is_wireguard());
            InterfaceName::new(&link.name).zip(kind)
        };
        let devices = links.iter().filter_map(device);
        join_all(devices.map(|(name, kind)| self.one(name, kind))).await
    }

    async fn one(&self, name: InterfaceName, kind: LinkKind) -> WireguardEntry {
        let device = read(&self.flights, &name, kind, DEADLINE).await;
        let error = device.as_ref().err().cloned();
        let device = device.unwrap_or_default();
        let now = now_unix();
        let peers = device.peers.into_iter().map(|(key, peer)| PeerEntry {
            state: peer.state(now),
            public_key: key.base64(),
            endpoint: peer.endpoint,
            keepalive: peer.keepalive,
            latest_handshake_unix: peer.handshake,
            received_bytes: peer.received,
            sent_bytes: peer.sent,
        });
        WireguardEntry {
            device: name.to_string(),
            listen_port: device.listen_port,
            peers: peers.collect(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_wireguard_devices_are_read_and_failures_reported() {
        let link = |name: &str, kind: &str| LinkEntry {
            name: name.to_owned(),
            kind: kind.to_owned(),
            mtu: 1280,
        };
        let links = [
            link("eth0", "other"),
            link("tailscale0", "tun"),
            // No daemon of this name has a socket.
            link("wg-absent", "wireguard-userspace"),
            link("new0", "some-later-kind"),
        ];
        let found = Peers::default().of(&links).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].device, "wg-absent");
        let why = found[0].error.as_deref().unwrap();
        assert!(why.starts_with("wg-absent: cannot read"), "{why}");
    }
}
