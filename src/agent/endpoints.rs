//! Peers that moved while the machine was away: WireGuard keeps addresses alone, so their
//! names are looked up again.

use std::{collections::BTreeMap, net::SocketAddr};

use futures_util::future::join_all;

use crate::{
    apply,
    blocking::KeyedFlights,
    model::{Device, EndpointChange, EndpointName, InterfaceName, PeerId, WireguardLink},
    netlink::Netlink,
    observe,
    plan::{is_fresh, moved_to},
};

/// Peers whose endpoints the configuration has by name.
pub(super) type Names = BTreeMap<PeerId, EndpointName>;

/// Most names that are looked up side by side: each look-up is a thread.
const NAMES: usize = 32;

/// What came of the look-ups.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    /// Names that lead elsewhere now, as clauses.
    pub(super) moved: Vec<String>,
    /// What went wrong, likewise.
    pub(super) failed: Vec<String>,
}

/// Looks names up and sets endpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints {
    look_ups: observe::Endpoints,
    sets: KeyedFlights<InterfaceName>,
}

impl Endpoints {
    /// The names of these devices' peers.
    pub(super) async fn names(&self, links: &[WireguardLink]) -> Names {
        let devices = links.iter().map(|link| link.name.clone());
        match links.is_empty() {
            true => Names::new(),
            false => self.look_ups.names(devices.collect()).await,
        }
    }

    /// Sends packets to peers that do not answer where their names lead now.
    pub(super) async fn follow(
        &self,
        netlink: &Netlink,
        links: &[WireguardLink],
        devices: &BTreeMap<InterfaceName, Device>,
        names: &Names,
    ) -> LookedUp {
        let now = observe::now_unix();
        let mut silent: BTreeMap<&EndpointName, Vec<&PeerId>> = BTreeMap::new();
        for (id, name) in names {
            let device = devices.get(&id.0);
            let peer = device.and_then(|device| device.peers.get(&id.1));
            let answers = |at| is_fresh(at, now);
            if peer.is_some_and(|peer| !peer.handshake.is_some_and(answers)) {
                silent.entry(name).or_default().push(id);
            }
        }
        let asked = silent.keys().take(NAMES);
        let found = asked.map(async |name| self.look_ups.look_up(name).await);
        let found = join_all(found).await;
        let mut all = LookedUp::default();
        for ((name, peers), found) in silent.into_iter().zip(found) {
            let addresses = match found {
                Ok(addresses) => addresses,
                Err(why) => {
                    all.failed.push(format!("{}: {why}", name.host));
                    continue;
                }
            };
            for id in peers {
                let link = links.iter().find(|link| link.name == id.0);
                let Some((link, device)) = link.zip(devices.get(&id.0)) else {
                    continue;
                };
                let usable = reachable(netlink, link, device.mark, &addresses).await;
                let Some(was) = device.peers.get(&id.1) else {
                    continue;
                };
                let Some(to) = moved_to(was, &usable, now) else {
                    continue;
                };
                let change = EndpointChange {
                    link: link.clone(),
                    peer: id.1,
                    was: was.clone(),
                    to,
                };
                let from = was.endpoint.map(|at| at.to_string());
                match apply::set_endpoint(netlink, &self.sets, change).await {
                    Ok(false) => {}
                    Ok(true) => {
                        let from = from.as_deref().unwrap_or("none");
                        tracing::info!(
                            event = "endpoint",
                            interface = %id.0,
                            "{} peer {} endpoint {from} -> {to} ({})",
                            id.0,
                            id.1,
                            name.host
                        );
                        all.moved.push(format!("{} is {} now", name.host, to.ip()));
                    }
                    Err(why) => all.failed.push(why),
                }
            }
        }
        all
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
