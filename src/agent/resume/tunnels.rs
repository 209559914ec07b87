//! Whether WireGuard's peers answer after a sleep.
//!
//! A paused guest does not notice that its sessions are too old: the kernel counts their
//! age by a clock that stood still, while the peers have forgotten them. A packet that is
//! not answered has the kernel begin a new session 15 s later; the agent sends one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;

use super::steps::Check;
use crate::{
    agent::endpoints::{LookedUp, Reading},
    model::{EndpointNames, InterfaceName, Peer, PeerId, counted, is_fresh, some_of},
    observe,
    plan::expected_peers,
    wireguard::send_into,
};

/// After this time since the first packet, one peer that answers is enough: the others
/// may be switched off. By then the kernel has tried a new session with each.
const ENOUGH: Duration = Duration::from_secs(18);

/// Most endpoints whose routes are looked up: a hub's lead the same way.
const ENDPOINTS: usize = 64;

/// The peers that should answer.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    expected: BTreeSet<PeerId>,
    /// The devices that were read.
    read: BTreeSet<InterfaceName>,
    /// When the machine was there for the last time.
    awake_unix: u64,
    /// Bytes received when the first packet was sent.
    sent: BTreeMap<PeerId, u64>,
    /// When the first one was.
    since: Option<Instant>,
    /// Names that led elsewhere, as clauses.
    moved: BTreeSet<String>,
    /// What went wrong with names at the last look-up, likewise.
    unresolved: Vec<String>,
}

impl Tunnels {
    /// Those that answered before the sleep.
    pub(super) fn expect_peers(&mut self, devices: &Reading, awake_unix: u64) {
        self.awake_unix = awake_unix;
        if devices.keys().all(|name| self.read.contains(name)) {
            return;
        }
        // One that could not be read at first is no less expected.
        let mut new = devices.clone();
        new.retain(|name, _| !self.read.contains(name));
        self.expected.extend(expected_peers(&new, awake_unix));
        self.read.extend(new.into_keys());
    }

    /// Takes what came of names.
    pub(super) fn note(&mut self, found: LookedUp) {
        let moved = found.moved.iter();
        self.moved
            .extend(moved.map(|(name, to)| format!("{} is {to} now", name.host)));
        let failed = found.failed.iter();
        self.unresolved = failed
            .map(|(name, why)| format!("{}: {why}", name.host))
            .collect();
    }

    /// One of these devices that has expected peers and could not be read now: a busy machine
    /// takes longer than its deadline.
    pub(super) fn unread<'a>(
        &self,
        devices: &Reading,
        names: impl IntoIterator<Item = &'a InterfaceName>,
    ) -> Option<&'a InterfaceName> {
        let is_expected = |name| self.expected.iter().any(|(of, _)| of == name);
        let mut unread = names
            .into_iter()
            .filter(|name| !devices.contains_key(*name));
        unread.find(|name| is_expected(*name))
    }

    /// The expected ones that are there still.
    fn peers<'a>(&'a self, devices: &'a Reading) -> impl Iterator<Item = (&'a PeerId, &'a Peer)> {
        let expected = self.expected.iter();
        expected.filter_map(|id| Some((id, devices.get(&id.0)?.peers.get(&id.1)?)))
    }

    /// Addresses outside of the tunnels to which there must be routes, with the mark of
    /// the packets and a name. A peer with a name may be elsewhere by now.
    pub(super) fn endpoints(
        &self,
        devices: &Reading,
        names: &EndpointNames,
    ) -> Vec<(IpAddr, u32, String)> {
        let peers = self
            .peers(devices)
            .filter(|(id, _)| !names.contains_key(*id));
        let endpoints = peers.filter_map(|((name, key), peer)| {
            let endpoint = peer.endpoint.filter(|endpoint| match endpoint {
                // A link-local address needs none.
                SocketAddr::V6(at) => at.scope_id() == 0,
                SocketAddr::V4(_) => true,
            })?;
            let mark = devices.get(name)?.mark;
            let text = format!("{endpoint}, the endpoint of the peer {key} of {name}");
            Some((endpoint.ip(), mark, text))
        });
        endpoints.take(ENDPOINTS).collect()
    }

    fn has_new_handshake(&self, peer: &Peer) -> bool {
        peer.handshake.is_some_and(|at| at > self.awake_unix)
    }

    fn answers(&self, id: &PeerId, peer: &Peer) -> bool {
        let now = observe::now_unix();
        let sent = self.sent.get(id);
        peer.handshake.is_some_and(|at| is_fresh(at, now))
            || sent.is_some_and(|received| peer.received > *received)
    }

    /// Whether they answer.
    pub(super) fn check(&self, devices: &Reading) -> Check {
        let all = self.peers(devices).count();
        if all == 0 {
            return Check::Skip;
        }
        let (answering, silent): (Vec<_>, Vec<_>) = self
            .peers(devices)
            .partition(|(id, peer)| self.answers(id, peer));
        let waited = self.since.is_some_and(|since| since.elapsed() > ENOUGH);
        if answering.is_empty() || !silent.is_empty() && !waited {
            let silent: Vec<String> = silent
                .iter()
                .map(|((name, key), _)| format!("{key} of {name}"))
                .collect();
            let silent = some_of(silent.into_iter());
            let why = match self.unresolved.is_empty() {
                true => String::new(),
                false => format!("; {}", some_of(self.unresolved.iter().cloned())),
            };
            return Check::Broken(format!("no answer from the peer {silent}{why}"));
        }
        let is_new = |(_, peer): &(&PeerId, &Peer)| self.has_new_handshake(peer);
        let (does, has) = match answering.len() {
            1 => ("answers", "has a new handshake"),
            _ => ("answer", "have new handshakes"),
        };
        let how = if answering.iter().all(is_new) {
            has
        } else {
            does
        };
        let moved = match self.moved.is_empty() {
            true => String::new(),
            false => format!(" ({})", some_of(self.moved.iter().cloned())),
        };
        let peers = counted(all, "peer");
        Check::Well {
            note: format!("{} of {peers} {how}{moved}", answering.len()),
            is_news: answering.iter().any(is_new),
        }
    }

    /// Sends a packet to each that does not answer. What cannot be sent is as good as
    /// lost.
    pub(super) fn provoke(&mut self, devices: &Reading) {
        let silent: Vec<PeerId> = self
            .peers(devices)
            .filter(|(id, peer)| !self.answers(id, peer))
            .map(|(id, _)| id.clone())
            .collect();
        self.since.get_or_insert_with(Instant::now);
        for id in silent {
            let Some(device) = devices.get(&id.0) else {
                continue;
            };
            let Some(peer) = device.peers.get(&id.1) else {
                continue;
            };
            self.sent.entry(id.clone()).or_insert(peer.received);
            if let Some(to) = device.address_of(&id.1) {
                send_into(&id.0, to).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests;
