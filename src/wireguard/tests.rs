use super::*;
use crate::model::Peer;

fn device(peers: &[(u8, u16)]) -> Device {
    Device {
        listen_port: Some(1),
        mark: 0,
        peers: peers
            .iter()
            .map(|(key, keepalive)| {
                let peer = Peer {
                    keepalive: *keepalive,
                    ..Peer::default()
                };
                (PublicKey::new([*key; 32]), peer)
            })
            .collect(),
    }
}

#[test]
fn comparison_after_setting() {
    let name = InterfaceName::new("wg0").unwrap();
    let set = [PublicKey::new([1; 32]), PublicKey::new([2; 32])];
    let before = device(&[(1, 0), (2, 0), (3, 7)]);
    let verdict = |after: &[(u8, u16)]| {
        check(&name, &before, &device(after), &set, |_, peer| {
            peer.keepalive == 25
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(verdict(&[(1, 25), (2, 25), (3, 7)]), Ok(()));
    assert_eq!(
        verdict(&[(1, 25), (3, 7)]),
        Ok(()),
        "a peer removed meanwhile"
    );
    assert_eq!(
        verdict(&[(1, 25), (2, 0), (3, 7)]),
        Err("wg0: 1 of the peers read back without what was set".into())
    );
    assert_eq!(
        verdict(&[(1, 25), (2, 25), (4, 25)]),
        Err("wg0: 1 new peer appeared while peers were being set".into())
    );
}

#[test]
fn only_the_kernel_says_that_a_device_was_removed() {
    let name = InterfaceName::new("wg0").unwrap();
    for (kind, errno, words) in [
        (LinkKind::WireGuard, Errno::NODEV, "wg0 was removed"),
        (
            LinkKind::WireGuard,
            Errno::PERM,
            "wg0: cannot x: Operation not permitted (os error 1)",
        ),
        (
            LinkKind::WireGuardUserspace,
            Errno::NODEV,
            "wg0: cannot x: No such device (os error 19)",
        ),
    ] {
        let error = failed(&name, kind, "x")(errno.into());
        assert_eq!(error.to_string(), words);
    }
}
