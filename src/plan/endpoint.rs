//! Whether a peer's packets go where its name leads now.

use std::net::SocketAddr;

use super::is_fresh;
use crate::model::Peer;

/// The address of its name that a peer's endpoint should be; `None` where it stays. The
/// addresses are those that packets can reach, the best first.
///
/// One that answers stays where it is, however it came there: WireGuard follows a peer that
/// moves. So does one whose endpoint is among the addresses, at whichever port: behind NAT
/// a peer has another than its own.
#[must_use]
pub fn moved_to(peer: &Peer, addresses: &[SocketAddr], now_unix: u64) -> Option<SocketAddr> {
    let answers = peer.handshake.is_some_and(|at| is_fresh(at, now_unix));
    let is_at = |address: &SocketAddr| peer.endpoint.is_some_and(|at| at.ip() == address.ip());
    let stays = answers || addresses.iter().any(is_at);
    addresses.first().copied().filter(|_| !stays)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    #[test]
    fn only_a_silent_peer_that_is_not_there_moves() {
        let (old, new) = ("192.0.2.1:51820", "192.0.2.9:51820");
        for (what, endpoint, ago, addresses, expected) in [
            ("moved", Some(old), Some(180), vec![new], Some(new)),
            ("it answers", Some(old), Some(179), vec![new], None),
            ("never answered", Some(old), None, vec![new], Some(new)),
            ("no endpoint", None, Some(900), vec![new], Some(new)),
            ("still there", Some(old), Some(900), vec![old], None),
            ("one of several", Some(old), Some(900), vec![new, old], None),
            (
                "another port",
                Some("192.0.2.1:7"),
                Some(900),
                vec![old],
                None,
            ),
            ("no address", Some(old), Some(900), vec![], None),
            (
                "another family",
                Some("[2001:db8::1]:51820"),
                Some(900),
                vec![new],
                Some(new),
            ),
        ] {
            let peer = Peer {
                endpoint: endpoint.map(|at: &str| at.parse().unwrap()),
                handshake: ago.map(|ago| NOW - ago),
                ..Peer::default()
            };
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|at| at.parse().unwrap()).collect();
            let found = moved_to(&peer, &addresses, NOW);
            assert_eq!(found, expected.map(|at| at.parse().unwrap()), "{what}");
        }
    }
}
