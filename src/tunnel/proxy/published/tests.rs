use proptest::prelude::*;

use super::*;

fn listens(change: &Change) -> Vec<String> {
    change.listens.iter().map(Listen::to_string).collect()
}

/// A message with one port that is published.
fn one(port: &str, address: &str, host_port: &str) -> Change {
    let text = format!(
        r#"{{"remove":false,"ports":{{"{port}":[{{"HostIp":"{address}","HostPort":"{host_port}"}}]}},"connectAddrs":null}}"#
    );
    let (mut changes, used) = take(text.as_bytes()).unwrap();
    assert_eq!((changes.len(), used), (1, text.len()));
    changes.remove(0)
}

#[test]
fn published_ports_appear_on_loopback() {
    for (port, address, expected) in [
        ("80/tcp", "0.0.0.0", &["tcp 127.0.0.1:8080"][..]),
        ("80/tcp", "127.0.0.1", &["tcp 127.0.0.1:8080"]),
        ("80/tcp", "::", &["tcp [::1]:8080"]),
        ("80/tcp", "::1", &["tcp [::1]:8080"]),
        ("80/tcp", "", &["tcp 127.0.0.1:8080", "tcp [::1]:8080"]),
        ("80", "0.0.0.0", &["tcp 127.0.0.1:8080"]),
        ("53/udp", "0.0.0.0", &["udp 127.0.0.1:8080"]),
        ("53/UDP", "0.0.0.0", &["udp 127.0.0.1:8080"]),
    ] {
        let change = one(port, address, "8080");
        assert_eq!(listens(&change), expected, "{port} {address}");
        assert!(change.refused.is_empty() && !change.remove);
    }
}

#[test]
fn what_cannot_be_served_is_named_and_the_rest_is_not_lost() {
    for (port, address, host_port, expected) in [
        ("80/sctp", "", "80", "80/sctp: neither TCP nor UDP"),
        ("80/tcp", "", "", "HostPort \"\" is no port (1 to 65535)"),
        ("80/tcp", "", "0", "HostPort \"0\" is no port"),
        ("80/tcp", "", "65536", "HostPort \"65536\" is no port"),
        ("80/tcp", "", "80-90", "HostPort \"80-90\" is no port"),
        ("80/tcp", "here", "80", "HostIp \"here\" is no IP address"),
        ("80/tcp", "192.0.2.1", "80", "published on 192.0.2.1 alone"),
    ] {
        let change = one(port, address, host_port);
        assert!(change.listens.is_empty(), "{port} {address} {host_port}");
        let [why] = &change.refused[..] else {
            panic!("{change:?}");
        };
        assert!(why.contains(expected), "{why}");
    }
    let text = br#"{"ports":{"1/sctp":[{"HostPort":"1"}],"2/tcp":[{"HostPort":"0"},{"HostIp":"0.0.0.0","HostPort":"2"}],"3/tcp":null}}"#;
    let (changes, _) = take(text).unwrap();
    assert_eq!(listens(&changes[0]), ["tcp 127.0.0.1:2"]);
    assert_eq!(changes[0].refused.len(), 2);
}

#[test]
fn messages_come_one_after_another_and_in_pieces() {
    let first = br#"{"remove":true,"ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"80"}]}}"#;
    let mut bytes = first.to_vec();
    bytes.extend(b"\n{\"ports\":{}}\n{\"po");
    let (changes, used) = take(&bytes).unwrap();
    assert_eq!(changes.len(), 2);
    assert!(changes[0].remove && !changes[1].remove);
    assert_eq!(&bytes[used..].trim_ascii(), b"{\"po");
    for length in 0..first.len() {
        let (changes, used) = take(&first[..length]).unwrap();
        assert!(changes.is_empty() && used == 0, "{length}");
    }
    let (changes, used) = take(b" \n").unwrap();
    assert!(changes.is_empty() && used == 2);
}

#[test]
fn garbage_is_an_error_and_nothing_is_kept_without_end() {
    for text in ["garbage", "[]", "{}", "{\"ports\":3}", "{\"ports\":{}}}"] {
        assert!(
            matches!(take(text.as_bytes()), Err(Invalid::Json(_))),
            "{text}"
        );
    }
    let mut long = b"{\"ports\":{\"".to_vec();
    long.resize(LONGEST + 1, b'a');
    assert!(matches!(take(&long), Err(Invalid::TooLong)));
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes: Vec<u8>) {
        if let Ok((_, used)) = take(&bytes) {
            prop_assert!(used <= bytes.len());
        }
    }

    #[test]
    fn any_port_is_served_or_named(port in ".{0,12}", address in ".{0,12}", host in ".{0,8}") {
        let text = serde_json::json!({"ports": {port: [{"HostIp": address, "HostPort": host}]}});
        let (changes, _) = take(text.to_string().as_bytes()).unwrap();
        let change = &changes[0];
        prop_assert!(change.listens.is_empty() != change.refused.is_empty());
        prop_assert!(change.listens.iter().all(|one| one.listen_address.is_loopback()));
        prop_assert!(change.refused.iter().all(|why| !why.contains(char::is_control)));
    }
}
