use super::*;
use crate::{
    config::settings,
    model::{Peer, PublicKey},
};

#[test]
fn systemd_is_asked_only_where_something_would_change() {
    let device = |keepalives: &[u16]| Device {
        listen_port: Some(51820),
        mark: 0,
        peers: (0..)
            .map(|number| PublicKey::new([number; 32]))
            .zip(keepalives.iter().map(|keepalive| Peer {
                keepalive: *keepalive,
                ..Peer::default()
            }))
            .collect(),
    };
    let table: [(&str, &[u16], &str, bool); 5] = [
        ("a peer without one", &[25, 0], "", true),
        ("all have one", &[25, 3], "", false),
        ("no peers", &[], "", false),
        ("switched off", &[0], "[wireguard]\nkeepalive = 0", false),
        ("another value", &[0], "[wireguard]\nkeepalive = 5", true),
    ];
    for (case, keepalives, config, expected) in table {
        assert_eq!(
            needs_keepalive(&settings(config), &device(keepalives)),
            expected,
            "{case}"
        );
    }
}
