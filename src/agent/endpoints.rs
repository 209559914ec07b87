//! Peers that moved: WireGuard keeps addresses alone, so the names of those that do not
//! answer are looked up again. A recovery and what looks after peers do it by this alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::time::sleep;

use crate::{
    apply,
    blocking::KeyedFlights,
    model::{
        Device, EndpointChange, EndpointName, EndpointNames, InterfaceName, LinkKind, NewEndpoint,
        Peer, PeerId, PeerState, PublicKey, WireguardLink,
    },
    netlink::Netlink,
    observe,
    plan::{moved_to, silent_names},
    wireguard::send_into,
};

/// Most names that are looked up side by side: each look-up is a thread.
pub(super) const NAMES: usize = 32;

/// Packets that are sent at once, and the pause before the next ones.
const PACKETS: usize = 32;
const PAUSE: Duration = Duration::from_millis(10);

/// Devices as they were read.
pub(super) type Reading = BTreeMap<InterfaceName, Device>;

/// What came of the look-ups.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    /// Names that lead elsewhere now, and where.
    pub(super) moved: BTreeMap<EndpointName, IpAddr>,
    /// What went wrong.
    pub(super) failed: BTreeMap<EndpointName, String>,
}

/// What a look-up is to do.
pub(super) struct Search<'a> {
    pub(super) links: &'a [WireguardLink],
    pub(super) devices: &'a Reading,
    pub(super) names: &'a EndpointNames,
    /// Those that are looked up; all whose peers are silent where it is `None`.
    pub(super) only: Option<&'a BTreeSet<EndpointName>>,
    /// Those of which the next address has its turn.
    pub(super) next: &'a BTreeSet<EndpointName>,
}

/// Looks names up and sets endpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints {
    look_ups: observe::Endpoints,
    sets: KeyedFlights<InterfaceName>,
}

impl Endpoints {
    /// The names of these devices' peers; `None` where the files cannot be read in time.
    pub(super) async fn names(&self, links: &[WireguardLink]) -> Option<EndpointNames> {
        let devices = links.iter().map(|link| link.name.clone());
        match links.is_empty() {
            true => Some(EndpointNames::new()),
            false => self.look_ups.names(devices.collect()).await,
        }
    }

    /// Sends packets to peers that do not answer where their names lead now. Each endpoint is
    /// set as soon as its name is known: no name waits for another.
    pub(super) async fn follow(&self, netlink: &Netlink, search: Search<'_>) -> LookedUp {
        let silent = silent_names(search.names, search.devices, observe::now_unix());
        let is_asked = |name: &EndpointName| search.only.is_none_or(|only| only.contains(name));
        let asked = silent.keys().copied().filter(|name| is_asked(name));
        let asked = asked.take(NAMES);
        let look_ups = asked.map(async |name| (name, self.look_ups.look_up(name).await));
        let mut look_ups: FuturesUnordered<_> = look_ups.collect();
        let mut all = LookedUp::default();
        while let Some(first) = look_ups.next().await {
            let mut changes = Vec::new();
            let mut found = Some(first);
            while let Some((name, addresses)) = found {
                let peers = silent.get(name).map(Vec::as_slice).unwrap_or_default();
                let chosen = match addresses {
                    Ok(addresses) => choose(netlink, &search, name, peers, &addresses).await,
                    Err(why) => Err(why),
                };
                match chosen {
                    Ok(chosen) => changes.extend(chosen),
                    Err(why) => drop(all.failed.insert(name.clone(), why)),
                }
                found = look_ups.next().now_or_never().flatten();
            }
            self.set(netlink, &search, &changes, &mut all).await;
        }
        all
    }

    /// Sends a packet to each peer with which there is a session, and gives back their number:
    /// it learns from where this node's packets come now, and need not wait for the next
    /// keepalive.
    pub(super) async fn nudge(
        &self,
        netlink: &Netlink,
        links: &[WireguardLink],
        devices: &Reading,
    ) -> usize {
        let (mut count, now) = (0, observe::now_unix());
        for link in links {
            let Some(device) = devices.get(&link.name) else {
                continue;
            };
            if link.kind == LinkKind::WireGuardUserspace {
                self.forget_sources(netlink, link, device).await;
            }
            let answers = |peer: &Peer| peer.state(now) == PeerState::Answers;
            let peers = device.peers.iter();
            let peers = peers.filter(|(_, peer)| peer.endpoint.is_some() && answers(peer));
            let peers = BTreeSet::from_iter(peers.map(|(key, _)| *key));
            count += peers.len();
            send_to(&link.name, device, &peers).await;
        }
        count
    }

    /// Gives peers the endpoints that they have. A userspace daemon keeps with an endpoint the
    /// address to which its packets came, and sends from there though this node has it no
    /// more: wireguard-go until a handshake has failed, 15 s later (device/timers.go).
    async fn forget_sources(&self, netlink: &Netlink, link: &WireguardLink, device: &Device) {
        let same = device.peers.iter().filter_map(|(key, peer)| {
            let to = NewEndpoint {
                was: peer.endpoint,
                handshake: peer.handshake,
                to: peer.endpoint?,
            };
            Some((*key, to))
        });
        let change = EndpointChange {
            link: link.clone(),
            peers: same.collect(),
        };
        if let Err(why) = apply::set_endpoints(netlink, &self.sets, change).await {
            tracing::debug!(event = "endpoint", interface = %link.name, "{why}");
        }
    }

    /// Sets endpoints, a device at a time, and sends a packet to each of these peers: their
    /// handshake begins at once.
    async fn set(
        &self,
        netlink: &Netlink,
        search: &Search<'_>,
        changes: &[Change<'_>],
        all: &mut LookedUp,
    ) {
        for link in search.links {
            let of_link = changes.iter().filter(|one| one.peer.0 == link.name);
            let peers: BTreeMap<_, _> = of_link
                .clone()
                .map(|one| (one.peer.1, one.to.clone()))
                .collect();
            let Some(device) = search.devices.get(&link.name).filter(|_| !peers.is_empty()) else {
                continue;
            };
            let change = EndpointChange {
                link: link.clone(),
                peers,
            };
            let set = match apply::set_endpoints(netlink, &self.sets, change).await {
                Ok(set) => BTreeSet::from_iter(set),
                Err(why) => {
                    let failed = of_link.map(|one| (one.name.clone(), why.clone()));
                    all.failed.extend(failed);
                    continue;
                }
            };
            for one in of_link.filter(|one| set.contains(&one.peer.1)) {
                one.log();
                all.moved.insert(one.name.clone(), one.to.to.ip());
            }
            send_to(&link.name, device, &set).await;
        }
    }
}

/// A new endpoint of a peer.
struct Change<'a> {
    peer: &'a PeerId,
    to: NewEndpoint,
    name: &'a EndpointName,
    /// Whether it was at another address of its name.
    is_turn: bool,
}

impl Change<'_> {
    /// The addresses of a name take turns for as long as its peer is switched off, and that
    /// is no news.
    fn log(&self) {
        let ((interface, key), host, to) = (self.peer, &self.name.host, self.to.to);
        let from = self.to.was.map(|at| at.to_string());
        let from = from.as_deref().unwrap_or("none");
        let line = format!("{interface} peer {key} endpoint {from} -> {to} ({host})");
        match self.is_turn {
            true => tracing::debug!(event = "endpoint", %interface, "{line}"),
            false => tracing::info!(event = "endpoint", %interface, "{line}"),
        }
    }
}

/// The new endpoints of a name's peers.
///
/// # Errors
/// Why none of its addresses is one.
async fn choose<'a>(
    netlink: &Netlink,
    search: &Search<'_>,
    name: &'a EndpointName,
    peers: &[&'a PeerId],
    addresses: &[SocketAddr],
) -> Result<Vec<Change<'a>>, String> {
    let (next, now) = (search.next.contains(name), observe::now_unix());
    let (mut chosen, mut leads) = (Vec::new(), false);
    for link in search.links {
        let of_link = peers.iter().filter(|id| id.0 == link.name);
        let of_link = Vec::from_iter(of_link);
        let device = search.devices.get(&link.name);
        let Some(device) = device.filter(|_| !of_link.is_empty()) else {
            continue;
        };
        let usable = reachable(netlink, link, device.mark, addresses).await;
        leads |= !usable.is_empty();
        chosen.extend(of_link.into_iter().filter_map(|id| {
            let peer = device.peers.get(&id.1)?;
            let to = NewEndpoint {
                was: peer.endpoint,
                handshake: peer.handshake,
                to: moved_to(peer, &usable, next, now)?,
            };
            let was = to.was.map(|at| at.ip());
            Some(Change {
                peer: id,
                to,
                name,
                is_turn: usable.iter().any(|one| Some(one.ip()) == was),
            })
        }));
    }
    match leads {
        true => Ok(chosen),
        false => Err("there is no route to any of its addresses".to_owned()),
    }
}

/// The addresses to which packets of this device have a way outside of it: a name server of
/// the mesh may know the peer's address inside.
async fn reachable(
    netlink: &Netlink,
    link: &WireguardLink,
    mark: u32,
    addresses: &[SocketAddr],
) -> Vec<SocketAddr> {
    let mut usable = Vec::new();
    for address in addresses {
        let way = netlink.link_towards(address.ip(), mark).await;
        if way.ok().flatten().is_some_and(|way| way != link.index) {
            usable.push(*address);
        }
    }
    usable
}

/// Sends a packet into the tunnel to each of these peers, some at a time. What cannot be sent
/// is as good as lost.
async fn send_to(name: &InterfaceName, device: &Device, peers: &BTreeSet<PublicKey>) {
    for (number, peer) in peers.iter().enumerate() {
        if number > 0 && number % PACKETS == 0 {
            sleep(PAUSE).await;
        }
        if let Some(to) = device.address_of(peer) {
            send_into(name, to).unwrap_or_default();
        }
    }
}
