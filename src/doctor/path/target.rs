//! Which path `wslmesh doctor mtu PEER` means.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::{
    doctor::verdict::list,
    model::{Device, InterfaceName, Peer, PublicKey, excerpt},
};

/// Where the probes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// An address that is reached through a tunnel.
    pub destination: IpAddr,
    /// The WireGuard peer that has it; `None` where another program's tunnel leads there.
    pub peer: Option<NamedPeer>,
}

/// A WireGuard peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPeer {
    /// Its device.
    pub device: InterfaceName,
    /// Its key.
    pub key: PublicKey,
    /// Where packets for it are sent.
    pub endpoint: SocketAddr,
    /// The mark on these packets.
    pub mark: u32,
}

/// Why there is no path to measure. What exists is named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text means nothing.
    #[error(
        "{asked:?} is no IP address, and no WireGuard peer has such a public key or endpoint (names are not looked up); {exist}"
    )]
    Unknown {
        /// What was asked for.
        asked: String,
        /// What exists.
        exist: String,
    },
    /// Several peers fit.
    #[error(
        "{asked:?} fits several peers: {which}; give more of the public key, or an address in the tunnel"
    )]
    Several {
        /// What was asked for.
        asked: String,
        /// Those peers.
        which: String,
    },
    /// Nothing is sent to this peer yet.
    #[error(
        "the peer {0} has no endpoint: it has not connected yet, so there is no path to measure; check the peer, or set its Endpoint"
    )]
    NoEndpoint(String),
    /// The peer has networks alone.
    #[error(
        "none of the allowed IPs of the peer {0} is a single address: give an address inside one of them that answers"
    )]
    NoAddress(String),
    /// It is reached without a tunnel.
    #[error("{address} is not reached through a tunnel, but {by}; {exist}")]
    NotInTunnel {
        /// The address.
        address: IpAddr,
        /// How it is reached.
        by: String,
        /// What exists.
        exist: String,
    },
    /// The route does not lead into the peer's device.
    #[error(
        "{address} is an allowed IP of the peer {peer}, but is reached {by}: add a route by that device (`ip route`)"
    )]
    NotRouted {
        /// The address.
        address: IpAddr,
        /// The peer.
        peer: String,
        /// How it is reached.
        by: String,
    },
}

/// WireGuard devices by their names.
pub(in crate::doctor) type Devices<'a> = [(&'a InterfaceName, &'a Device)];

/// One peer with its device.
#[derive(Clone, Copy)]
struct Found<'a> {
    name: &'a InterfaceName,
    device: &'a Device,
    key: &'a PublicKey,
    peer: &'a Peer,
}

/// Peers that an error lists.
const LISTED: usize = 8;

impl Found<'_> {
    fn described(&self) -> String {
        format!(
            "{} of {} ({})",
            self.key,
            self.name,
            list(&self.peer.allowed)
        )
    }

    /// Its own address in the tunnel.
    fn address(&self) -> Option<IpAddr> {
        let mut allowed = self.peer.allowed.iter();
        let single = |net: &&IpNet| net.prefix_len() == net.max_prefix_len();
        allowed.find(single).map(IpNet::addr)
    }

    fn target(&self, destination: Option<IpAddr>) -> Result<Target, TargetError> {
        let endpoint = self.peer.endpoint;
        let endpoint = endpoint.ok_or_else(|| TargetError::NoEndpoint(self.described()))?;
        let destination = destination.or_else(|| self.address());
        Ok(Target {
            destination: destination.ok_or_else(|| TargetError::NoAddress(self.described()))?,
            peer: Some(NamedPeer {
                device: self.name.clone(),
                key: *self.key,
                endpoint,
                mark: self.device.mark,
            }),
        })
    }
}

fn peers<'a>(devices: &Devices<'a>) -> Vec<Found<'a>> {
    let each = devices.iter().flat_map(|(name, device)| {
        device.peers.iter().map(|(key, peer)| Found {
            name,
            device,
            key,
            peer,
        })
    });
    each.collect()
}

fn described(peers: &[Found]) -> String {
    let more = peers.len().saturating_sub(LISTED);
    let each = list(peers.iter().take(LISTED).map(Found::described));
    match more {
        0 => each,
        more => format!("{each} and {more} more"),
    }
}

/// What a wrong target could have been. `hidden` are devices that could not be read.
pub(in crate::doctor) fn existing(devices: &Devices, hidden: &[String]) -> String {
    let peers = peers(devices);
    let seen = match peers.is_empty() {
        true => "no WireGuard peer was found".to_owned(),
        false => format!("the peers are {}", described(&peers)),
    };
    match hidden {
        [] => seen,
        hidden => format!(
            "{seen}, and could not be read on {}; run it as root (sudo)",
            list(hidden)
        ),
    }
}

/// The target that a text means: an address, an endpoint, or a peer's public key or its
/// beginning.
///
/// # Errors
/// [`TargetError`].
pub(in crate::doctor) fn target(
    asked: &str,
    devices: &Devices,
    hidden: &[String],
) -> Result<Target, TargetError> {
    let all = peers(devices);
    let of = |is_it: &dyn Fn(&Found) -> bool| -> Vec<Found> {
        all.iter().copied().filter(is_it).collect()
    };
    let one = |found: Vec<Found>, destination| match found.as_slice() {
        [] => None,
        [one] => Some(one.target(destination)),
        several => Some(Err(TargetError::Several {
            asked: excerpt(asked),
            which: described(several),
        })),
    };
    // A whole prefix, as `wg show` prints an address.
    let net: Option<IpNet> = asked.parse().ok();
    let whole = net.filter(|net| net.prefix_len() == net.max_prefix_len());
    let address = asked.parse().ok().or(whole.map(|net| net.addr()));
    let found = match (address, asked.parse::<SocketAddr>()) {
        (Some(address), _) => {
            let best = |found: &Found| {
                let allowed = found.peer.allowed.iter();
                let has = allowed.filter(|net| net.contains(&address));
                has.map(IpNet::prefix_len).max()
            };
            let longest = all.iter().filter_map(best).max();
            let at = of(&|found| found.peer.endpoint.is_some_and(|at| at.ip() == address));
            let single = longest.is_some_and(|long| u32::from(long) == address_bits(address));
            // An endpoint says more than a network that it happens to be in.
            if !at.is_empty() && !single {
                one(at, None)
            } else if longest.is_some() {
                one(of(&|found| best(found) == longest), Some(address))
            } else {
                // Another program's tunnel may lead there: the route tells.
                Some(Ok(Target {
                    destination: address,
                    peer: None,
                }))
            }
        }
        (None, Ok(endpoint)) => one(of(&|found| found.peer.endpoint == Some(endpoint)), None),
        (None, Err(_)) if asked.is_empty() => None,
        (None, Err(_)) => match one(of(&|found| found.key.base64().starts_with(asked)), None) {
            None => net.and_then(|net| one(of(&|found| found.peer.allowed.contains(&net)), None)),
            found => found,
        },
    };
    found.unwrap_or_else(|| {
        Err(TargetError::Unknown {
            asked: excerpt(asked),
            exist: existing(devices, hidden),
        })
    })
}

fn address_bits(address: IpAddr) -> u32 {
    if address.is_ipv6() { 128 } else { 32 }
}

#[cfg(test)]
mod tests;
