use super::*;

#[test]
fn listen_addresses() {
    let table = [
        ("0.0.0.0", None),
        ("127.0.0.1", None),
        ("192.168.1.7", None),
        ("169.254.7.7", None),
        ("223.255.255.255", None),
        ("0.0.0.1", Some("of network 0")),
        ("0.255.255.255", Some("of network 0")),
        ("224.0.0.1", Some("a multicast address")),
        ("239.255.255.255", Some("a multicast address")),
        ("240.0.0.1", Some("a reserved address")),
        ("255.255.255.254", Some("a reserved address")),
        ("255.255.255.255", Some("the broadcast address")),
    ];
    for (text, what) in table {
        assert_eq!(not_for_listening(text.parse().unwrap()), what, "{text}");
    }
}

#[test]
fn durations() {
    let table = [
        ("50ms", Some(50)),
        ("1s", Some(1000)),
        ("0ms", Some(0)),
        ("10", None),
        ("s", None),
        ("-1s", None),
        ("1.5s", None),
        ("1m", None),
        ("", None),
    ];
    for (text, millis) in table {
        assert_eq!(
            duration(text),
            millis.map(Duration::from_millis),
            "{text:?}"
        );
    }
}
