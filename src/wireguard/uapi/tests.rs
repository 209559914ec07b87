use super::*;

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

#[test]
fn reads_the_answer_of_a_daemon() {
    let text = format!(
        "private_key={}\nlisten_port=51820\npublic_key={}\nendpoint=[2001:db8::1%3]:7\nallowed_ip=10.0.0.1/32\npersistent_keepalive_interval=10\nlast_handshake_time_sec=1790000000\nlast_handshake_time_nsec=5\nrx_bytes=100\ntx_bytes=200\npublic_key={}\npreshared_key={}\nlast_handshake_time_sec=0\nendpoint=[fe80::1%eth0]:7\nnew_thing=1\nerrno=0\n\n",
        hex(9),
        hex(1),
        hex(2),
        hex(8)
    );
    let device = parse(text.as_bytes()).unwrap();
    assert_eq!(device.listen_port, Some(51820));
    let first = Peer {
        keepalive: 10,
        endpoint: Some("[2001:db8::1%3]:7".parse().unwrap()),
        handshake: Some(1_790_000_000),
        allowed: vec!["10.0.0.1/32".parse().unwrap()],
        received: 100,
        sent: 200,
    };
    assert_eq!(
        device.peers.into_iter().collect::<Vec<_>>(),
        [
            (PublicKey::new([1; 32]), first),
            (PublicKey::new([2; 32]), Peer::default())
        ]
    );
}

#[test]
fn broken_answers_are_errors() {
    let good_key = hex(1);
    for bad in [
        "",
        "listen_port=51820\n",
        "listen_port=99999\nerrno=0\n",
        "public_key=zz\nerrno=0\n",
        "persistent_keepalive_interval=1\nerrno=0\n",
        &format!("public_key={good_key}\npersistent_keepalive_interval=x\nerrno=0\n"),
        &format!("public_key={good_key}\nrx_bytes=-1\nerrno=0\n"),
        &format!("public_key={good_key}\nallowed_ip=home\nerrno=0\n"),
        "errno=-22\n",
        "errno=lots\n",
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn asks_for_existing_peers_only() {
    let keys = [0xab, 0xcd].map(|byte| PublicKey::new([byte; 32]));
    let lines = ["persistent_keepalive_interval=25", "endpoint=192.0.2.1:7"];
    let peers = keys.iter().zip(lines.map(str::to_owned));
    assert_eq!(
        request(peers),
        format!(
            "set=1\npublic_key={}\nupdate_only=true\n{}\npublic_key={}\nupdate_only=true\n{}\n\n",
            hex(0xab),
            lines[0],
            hex(0xcd),
            lines[1]
        )
    );
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _either = parse(&bytes[..]).is_ok();
    }
}
