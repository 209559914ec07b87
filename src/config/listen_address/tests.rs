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
        ("::", None),
        ("::1", None),
        ("2001:db8::5", None),
        ("fd00::5", None),
        ("[::]", Some("write \"::\"")),
        ("[::1]", Some("write \"::1\"")),
        ("::%eth0", Some("names an interface")),
        ("fe80::5%3", Some("names an interface")),
        ("fe80::5", Some("a link's own address")),
        ("ff02::1", Some("a multicast address")),
        ("::ffff:192.168.1.7", Some("write \"192.168.1.7\"")),
        ("::ffff:c0a8:107", Some("write \"192.168.1.7\"")),
        ("[0.0.0.0]", Some("is no address")),
        ("0.0.0.0/0", Some("is no address")),
        ("*", Some("is no address")),
        ("", Some("is no address")),
    ];
    for (text, what) in table {
        match (parse_listen_address(text), what) {
            (Ok(address), None) => assert_eq!(address.to_string(), text),
            (Err(why), Some(what)) => {
                assert!(
                    why.contains(what) && why.contains("write "),
                    "{text}: {why}"
                );
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}
