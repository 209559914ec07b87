//! WireGuard devices as far as the agent needs them: never a private key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
};

use ipnet::IpNet;

use super::{LinkKind, Mode};

/// A handshake of more seconds ago is stale: a session that is in use has a new one
/// every two minutes, and after three no packet passes any more (the WireGuard
/// paper, section 6.1: Reject-After-Time).
pub const HANDSHAKE_STALE: u64 = 180;

/// A peer's public key. Its text form is cut to eight characters: enough to
/// find the peer in `wg show`, too little to be mistaken for a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A key of 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The whole key as `wg` prints it: base64, 44 characters.
    #[must_use]
    pub fn base64(&self) -> String {
        wireguard_control::Key(self.0).to_base64()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base64().get(..8).unwrap_or_default())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A WireGuard device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// UDP port it listens on; `None` until one is set.
    pub listen_port: Option<u16>,
    /// The mark on its packets, by which rules choose their route; 0 for none.
    pub mark: u32,
    /// Its peers.
    pub peers: BTreeMap<PublicKey, Peer>,
}

/// The state of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// PersistentKeepalive in seconds, 0 where it is off.
    pub keepalive: u16,
    /// Its last known or configured endpoint.
    pub endpoint: Option<SocketAddr>,
    /// The last handshake in seconds since 1970 (UTC); `None` before the first.
    pub handshake: Option<u64>,
    /// Its addresses in the tunnel, and the networks behind it.
    pub allowed: Vec<IpNet>,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

impl Device {
    /// The peers whose keepalive is off.
    pub fn without_keepalive(&self) -> impl Iterator<Item = PublicKey> {
        let off = self.peers.iter().filter(|(_, peer)| peer.keepalive == 0);
        off.map(|(key, _)| *key)
    }
}

/// What reading a WireGuard device gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceReading {
    /// The device.
    Device(Device),
    /// Another program is setting it up or removing it; the text names it.
    Busy(String),
    /// Reading failed; the text says how.
    Unreadable(String),
}

impl DeviceReading {
    /// The device where it could be read.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match self {
            Self::Device(device) => Some(device),
            Self::Busy(_) | Self::Unreadable(_) => None,
        }
    }
}

/// The UDP ports at which WireGuard in the kernel can be reached, where Windows shares
/// its ports with this machine and passes on those alone that it knows of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelPorts {
    /// First and last of net.ipv4.ip_local_port_range.
    pub range: Option<(u16, u16)>,
    /// The kernel's number (cookie) of the IPv4 socket at each port: no other socket of
    /// this boot has the same, so that a port that was closed and opened is another one.
    pub sockets: BTreeMap<u16, u64>,
    /// Why the sockets could not be read.
    pub unreadable: Option<String>,
    /// The sockets whose ports were claimed.
    pub claimed: BTreeSet<u64>,
}

/// The most ports that WSL reserves in mirrored mode
/// (HcnReserveGuestNetworkServicePortRange in microsoft/WSL:
/// src/windows/service/exe/WslCoreGuestNetworkService.cpp). A wider range is Linux' own.
const RESERVED_MOST: u16 = 4096;

impl KernelPorts {
    /// The ports, from first to last, that Windows reserves for this machine.
    #[must_use]
    pub fn reserved(&self, mode: Mode) -> Option<(u16, u16)> {
        let is_wsls = |(first, last): &(u16, u16)| last.saturating_sub(*first) < RESERVED_MOST;
        let range = self.range.filter(|_| mode == Mode::Mirrored);
        range.filter(is_wsls)
    }
}

impl LinkKind {
    /// Whether a link of this kind carries WireGuard.
    #[must_use]
    pub fn is_wireguard(self) -> bool {
        matches!(self, Self::WireGuard | Self::WireGuardUserspace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_the_first_eight_base64_digits() {
        // wg prints this key as AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=.
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(place).unwrap();
        }
        assert_eq!(
            PublicKey::new(bytes).base64(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        );
        assert_eq!(
            PublicKey::new([0xff; 32]).base64(),
            "//////////////////////////////////////////8="
        );
        assert_eq!(PublicKey::new(bytes).to_string(), "AAECAwQF");
        assert_eq!(format!("{:?}", PublicKey::new(bytes)), "AAECAwQF");
    }
}
