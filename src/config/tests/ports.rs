//! Ports and ranges of ports.

use super::load;

#[test]
fn ports_are_numbers_or_ranges() {
    let text = |ports: &str| format!("[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\n{ports}\n");
    let table = [
        ("listen-port = 22", 22, 22, 1),
        ("listen-port = \"22\"", 22, 22, 1),
        (
            "listen-port = \"8000-8000\"\nconnect-port = 80",
            8000,
            80,
            1,
        ),
        ("listen-port = \"8000-8010\"", 8000, 8000, 11),
        (
            "listen-port = \"8000-8010\"\nconnect-port = \"1-11\"",
            8000,
            1,
            11,
        ),
        (
            "listen-port = \"1-1000\"\nconnect-port = \"64536-65535\"",
            1,
            64536,
            1000,
        ),
    ];
    for (ports, listen, connect, count) in table {
        let settings = load(text(ports).as_bytes()).unwrap();
        let forward = &settings.forwards[0];
        let singles = Vec::from_iter(forward.singles());
        assert_eq!(singles.len(), count, "{ports}");
        let first = &singles[0];
        let pair = (
            first.listen_port.first().get(),
            first.connect_port.first().get(),
        );
        assert_eq!(pair, (listen, connect), "{ports}");
        let again = load(settings.to_string().as_bytes()).unwrap();
        assert_eq!(again.forwards, settings.forwards, "{settings}");
    }
}

#[test]
fn tcp_and_udp_may_share_a_port() {
    let text = "[[forward]]\nname=\"a\"\nprotocol=\"tcp\"\nlisten-port=53\n[[forward]]\nname=\"b\"\nprotocol=\"udp\"\nlisten-port=53\n";
    assert_eq!(load(text.as_bytes()).unwrap().forwards.len(), 2);
}
