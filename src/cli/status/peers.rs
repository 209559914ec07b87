//! WireGuard devices and their peers, as `wg show` prints them.

use super::super::{
    counters::bytes,
    style,
    table::{WIDTH, hanging, listed, wrap},
};
use crate::{
    model::{HANDSHAKE_STALE, LinkKind, counted, from_word, span},
    report::{Document, LinkEntry, PeerEntry, WireguardEntry},
};

/// Columns of the names before each value of the page, and of the values.
pub(super) const MARGIN: usize = 11;
pub(super) const ROOM: usize = WIDTH - MARGIN;

/// Forwards that are shown, and peers of one device: those with the latest handshakes.
pub(super) const MOST: usize = 16;

/// All devices; nothing where there is none.
pub(super) fn lines(document: &Document, now_unix: u64) -> Vec<String> {
    let Some(devices) = &document.wireguard else {
        let names = document.links.iter().filter(carries_wireguard);
        let names: Vec<String> = names.map(|link| link.name.clone()).collect();
        let mut lines = listed(&names, ROOM);
        if !lines.is_empty() {
            lines.push(style::dim("sudo wslmesh status shows the peers"));
        }
        return lines;
    };
    let devices = devices.iter();
    devices.flat_map(|device| one(device, now_unix)).collect()
}

fn carries_wireguard(link: &&LinkEntry) -> bool {
    from_word(&link.kind).is_ok_and(LinkKind::is_wireguard)
}

fn one(device: &WireguardEntry, now_unix: u64) -> Vec<String> {
    if let Some(error) = &device.error {
        let lines = wrap(error, ROOM).into_iter();
        return lines.map(|line| style::warn(&line)).collect();
    }
    let port = device.listen_port.map(|port| format!("port {port}"));
    let port = port.unwrap_or_else(|| "no port yet".to_owned());
    let count = counted(device.peers.len(), "peer");
    let mut lines = vec![format!("{}, {port}, {count}", device.device)];
    let mut peers: Vec<&PeerEntry> = device.peers.iter().collect();
    peers.sort_by_key(|peer| std::cmp::Reverse(peer.latest_handshake_unix));
    let shown = peers.iter().take(MOST);
    lines.extend(shown.flat_map(|peer| entry(peer, now_unix)));
    let more = more(peers.len(), &format!("wg show {}", device.device));
    lines.extend(hanging("  ", more));
    lines
}

/// How many of these are not shown, and what shows them.
pub(super) fn more(all: usize, command: &str) -> Option<String> {
    let more = all.checked_sub(MOST).filter(|more| *more > 0)?;
    Some(style::dim(&format!("and {more} more: {command}")))
}

fn entry(peer: &PeerEntry, now_unix: u64) -> Vec<String> {
    let endpoint = peer.endpoint.map(|endpoint| endpoint.to_string());
    let mut facts = vec![endpoint.unwrap_or_else(|| "no endpoint".to_owned())];
    if peer.keepalive > 0 {
        facts.push(format!("keepalive {} s", peer.keepalive));
    }
    if peer.received_bytes > 0 || peer.sent_bytes > 0 {
        facts.push(format!("in {}", bytes(peer.received_bytes)));
        facts.push(format!("out {}", bytes(peer.sent_bytes)));
    }
    let handshake = handshake(peer, now_unix);
    let mut lines = vec![format!("{}  {handshake}", peer.public_key)];
    lines.extend(hanging("  ", listed(&facts, ROOM - 2)));
    lines
}

/// How long ago. It is stale where the keepalive should have brought a newer one.
fn handshake(peer: &PeerEntry, now_unix: u64) -> String {
    // The clock may have been set back since.
    let age = peer
        .latest_handshake_unix
        .map(|at| now_unix.saturating_sub(at));
    let tries = peer.keepalive > 0 && peer.endpoint.is_some();
    let stale = tries && age.is_none_or(|age| age > HANDSHAKE_STALE);
    let text = match age {
        None if peer.endpoint.is_some() => "never answered".to_owned(),
        None => "not connected yet".to_owned(),
        Some(age) if stale => format!("stale, {} ago", span(age)),
        Some(age) => format!("handshake {} ago", span(age)),
    };
    if stale { style::warn(&text) } else { text }
}
