//! Which peers have to be looked for by their names, and where their packets go.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::model::{
    Device, EndpointName, EndpointNames, HANDSHAKE_STALE, InterfaceName, Peer, PeerId, PeerState,
    is_fresh,
};

/// The names of peers that do not answer, each with all of these: one look-up serves them.
#[must_use]
pub fn silent_names<'a>(
    names: &'a EndpointNames,
    devices: &BTreeMap<InterfaceName, Device>,
    now_unix: u64,
) -> BTreeMap<&'a EndpointName, Vec<&'a PeerId>> {
    let mut silent = BTreeMap::<_, Vec<_>>::new();
    for (id, name) in names {
        let state = peer(devices, id).map(|peer| peer.state(now_unix));
        if state.is_some_and(|state| state != PeerState::Answers) {
            silent.entry(name).or_default().push(id);
        }
    }
    silent
}

/// In how many seconds the first of the peers with names that answer now may not any more.
#[must_use]
pub fn next_stale(
    names: &EndpointNames,
    devices: &BTreeMap<InterfaceName, Device>,
    now_unix: u64,
) -> Option<u64> {
    let stamps = names.keys().filter_map(|id| peer(devices, id)?.handshake);
    let fresh = stamps.filter(|at| is_fresh(*at, now_unix));
    let oldest = fresh.min()?;
    Some(
        oldest
            .saturating_add(HANDSHAKE_STALE)
            .saturating_sub(now_unix),
    )
}

fn peer<'a>(devices: &'a BTreeMap<InterfaceName, Device>, id: &PeerId) -> Option<&'a Peer> {
    devices.get(&id.0)?.peers.get(&id.1)
}

/// The address of its name that a peer's endpoint should be; `None` where it stays. The
/// addresses are those that packets can reach, the best first.
///
/// One that answers stays where it is, however it came there: WireGuard follows a peer that
/// moves. So does one whose endpoint is among the addresses, at whichever port, since behind
/// NAT a peer has another than its own; but where it had time to answer from there in vain
/// (`next`), the next address has its turn: in the order of their numbers, since name servers
/// mix them, and at the name's port.
#[must_use]
pub fn moved_to(
    peer: &Peer,
    addresses: &[SocketAddr],
    next: bool,
    now_unix: u64,
) -> Option<SocketAddr> {
    if peer.state(now_unix) == PeerState::Answers {
        return None;
    }
    let at = peer.endpoint;
    let is_there = addresses
        .iter()
        .any(|one| at.is_some_and(|at| at.ip() == one.ip()));
    if !is_there {
        return addresses.first().copied();
    }
    let after = addresses.iter().filter(|one| at < Some(**one)).min();
    let turn = after.or_else(|| addresses.iter().min());
    turn.copied().filter(|turn| next && Some(*turn) != at)
}

#[cfg(test)]
mod tests;
