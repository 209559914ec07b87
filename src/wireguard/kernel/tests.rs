use wireguard_control::Key;

use super::*;

#[test]
fn a_peer_in_several_messages_is_one() {
    let mut first = PeerInfo::from_public_key(Key([1; 32]));
    first.config.persistent_keepalive_interval = Some(25);
    first.config.endpoint = Some("192.0.2.1:51820".parse().unwrap());
    first.stats.last_handshake_time = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7));
    (first.stats.rx_bytes, first.stats.tx_bytes) = (100, 200);
    let mut rest = PeerInfo::from_public_key(Key([1; 32]));
    let allowed = |last: u8| wireguard_control::AllowedIp {
        address: [10, 0, 0, last].into(),
        cidr: 32,
    };
    first.config.allowed_ips = vec![allowed(1)];
    rest.config.allowed_ips = vec![allowed(2)];
    let other = PeerInfo::from_public_key(Key([2; 32]));
    let peers = merged(&[first, rest, other]);
    let whole = Peer {
        keepalive: 25,
        endpoint: Some("192.0.2.1:51820".parse().unwrap()),
        handshake: Some(7),
        allowed: ["10.0.0.1/32", "10.0.0.2/32"]
            .map(|net| net.parse().unwrap())
            .into(),
        received: 100,
        sent: 200,
    };
    assert_eq!(
        peers.into_iter().collect::<Vec<_>>(),
        [
            (PublicKey::new([1; 32]), whole),
            (PublicKey::new([2; 32]), Peer::default())
        ]
    );
}
