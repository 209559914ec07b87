//! WireGuard devices as far as the agent needs them: never a private key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{InterfaceName, LinkKind, Mode, PeerId};

/// A handshake of more seconds ago is stale: a session that is in use has a new one
/// every two minutes, and after three no packet passes any more (the WireGuard
/// paper, section 6.1: Reject-After-Time).
pub const HANDSHAKE_STALE: u64 = 180;

/// Whether a handshake of then is fresh, both in seconds since 1970. One in the future is not
/// known to be: the clock was set back since.
#[must_use]
pub fn is_fresh(handshake: u64, now_unix: u64) -> bool {
    let age = now_unix.checked_sub(handshake);
    age.is_some_and(|age| age < HANDSHAKE_STALE)
}

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

/// Whether a peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Its last handshake is fresh.
    Answers,
    /// It did once.
    Stale,
    /// There was no handshake yet.
    #[default]
    Never,
}

impl Peer {
    /// Whether it answers, in seconds since 1970.
    #[must_use]
    pub fn state(&self, now_unix: u64) -> PeerState {
        match self.handshake {
            Some(at) if is_fresh(at, now_unix) => PeerState::Answers,
            Some(_) => PeerState::Stale,
            None => PeerState::Never,
        }
    }
}

/// A link that carries WireGuard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireguardLink {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: InterfaceName,
    /// Kernel or userspace.
    pub kind: LinkKind,
}

/// A peer's endpoint by name, as its configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointName {
    /// The name.
    pub host: String,
    /// The UDP port, from 1.
    pub port: u16,
}

impl EndpointName {
    /// Longest name (RFC 1035, section 2.3.4).
    const LONGEST: usize = 253;

    /// Reads `NAME:PORT`; `None` for an address, which stays where it is, and for what is
    /// neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = (1..=Self::LONGEST).contains(&host.len()) && host.chars().all(is_word);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (is_name && host.parse::<IpAddr>().is_err()).then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Peers whose endpoints the configuration has by name.
pub type EndpointNames = BTreeMap<PeerId, EndpointName>;

/// Other endpoints for peers that do not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointChange {
    /// The device.
    pub link: WireguardLink,
    /// Its peers.
    pub peers: BTreeMap<PublicKey, NewEndpoint>,
}

/// Another endpoint for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Its endpoint when this was decided.
    pub was: Option<SocketAddr>,
    /// Its last handshake then, in seconds since 1970.
    pub handshake: Option<u64>,
    /// The new endpoint.
    pub to: SocketAddr,
}

impl Device {
    /// The peers whose keepalive is off.
    pub fn without_keepalive(&self) -> impl Iterator<Item = PublicKey> {
        let off = self.peers.iter().filter(|(_, peer)| peer.keepalive == 0);
        off.map(|(key, _)| *key)
    }

    /// An address that this device sends to that peer alone; `None` where there is none,
    /// or no such peer. For a network it is the first host's.
    #[must_use]
    pub fn address_of(&self, peer: &PublicKey) -> Option<IpAddr> {
        let own = self.peers.get(peer)?;
        // The longest prefix decides.
        let leads_there = |net: &IpNet, address: &IpAddr| {
            let closer =
                |other: &IpNet| other.prefix_len() > net.prefix_len() && other.contains(address);
            let mut others = self.peers.iter().filter(|(key, _)| *key != peer);
            !others.any(|(_, other)| other.allowed.iter().any(closer))
        };
        own.allowed.iter().find_map(|net| {
            let address = match net {
                // Documentation's own (RFC 5737, RFC 3849): no machine of anyone.
                IpNet::V4(net) if net.prefix_len() == 0 => IpAddr::from([192, 0, 2, 1]),
                IpNet::V6(net) if net.prefix_len() == 0 => {
                    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])
                }
                net => net.hosts().next()?,
            };
            leads_there(net, &address).then_some(address)
        })
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
    fn a_packet_for_one_peer_alone() {
        let device = |allowed: &[&[&str]]| {
            let peers = (1..).zip(allowed).map(|(index, nets)| {
                let allowed = nets.iter().map(|net| net.parse().unwrap());
                let peer = Peer {
                    allowed: allowed.collect(),
                    ..Peer::default()
                };
                (PublicKey::new([index; 32]), peer)
            });
            Device {
                peers: peers.collect(),
                ..Device::default()
            }
        };
        for (allowed, address) in [
            (vec![&["10.0.0.2/32"][..]], Some("10.0.0.2")),
            (vec![&["10.0.0.0/24"][..]], Some("10.0.0.1")),
            (vec![&["fd00::/64"][..]], Some("fd00::")),
            (vec![&["0.0.0.0/0"][..]], Some("192.0.2.1")),
            (vec![&["::/0"][..]], Some("2001:db8::1")),
            // The first host of the network is another peer.
            (vec![&["10.0.0.0/24"][..], &["10.0.0.1/32"][..]], None),
            (
                vec![&["10.0.0.0/24", "fd00::7/128"][..], &["10.0.0.0/25"][..]],
                Some("fd00::7"),
            ),
            (
                vec![&["10.0.0.2/32"][..], &["10.0.0.0/24"][..]],
                Some("10.0.0.2"),
            ),
            (vec![&[][..]], None),
        ] {
            let found = device(&allowed).address_of(&PublicKey::new([1; 32]));
            assert_eq!(found, address.map(|ip| ip.parse().unwrap()), "{allowed:?}");
        }
        assert_eq!(Device::default().address_of(&PublicKey::new([1; 32])), None);
    }

    #[test]
    fn an_endpoint_is_a_name_or_an_address() {
        let long = format!("{}:1", "a".repeat(254));
        for (text, expected) in [
            ("hub.example.org:51820", Some(("hub.example.org", 51820))),
            ("hub:1", Some(("hub", 1))),
            ("3com.example:65535", Some(("3com.example", 65535))),
            ("192.0.2.1:51820", None),
            ("[2001:db8::1]:51820", None),
            ("[fe80::1%eth0]:51820", None),
            ("2001:db8::1", None),
            ("hub", None),
            ("hub:", None),
            (":51820", None),
            ("hub:0", None),
            ("hub:65536", None),
            ("hub:http", None),
            ("hub.example.org;reboot:1", None),
            ("h\u{fc}b:1", None),
            (long.as_str(), None),
            ("", None),
        ] {
            let found = EndpointName::parse(text);
            let found = found.as_ref().map(|name| (&*name.host, name.port));
            assert_eq!(found, expected, "{text}");
        }
    }

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
