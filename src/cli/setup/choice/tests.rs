use super::*;
use crate::{config::settings, model::InterfaceName};

const THERE: &str =
    "[[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 41820\nconnect-port = 51820\n";

fn wanted(text: &str) -> Wanted {
    text.parse().unwrap()
}

fn tunnel(kind: TunnelKind, name: &str, port: u16) -> Tunnel {
    Tunnel {
        kind,
        name: InterfaceName::new(name).unwrap(),
        port: Some(port),
        fix: None,
    }
}

#[test]
fn ports_as_a_person_writes_them() {
    for (text, shown) in [
        ("udp:51820", "udp:51820"),
        ("tcp:2222:22", "tcp:2222:22"),
        ("tcp:80:80", "tcp:80"),
        ("tcp:8000-8010", "tcp:8000-8010"),
        ("tcp:8000-8010:9000-9010", "tcp:8000-8010:9000-9010"),
    ] {
        assert_eq!(wanted(text).to_string(), shown);
    }
    for (text, why) in [
        ("51820", "write it as"),
        ("tcp:1:2:3", "write it as"),
        ("sctp:22", "no protocol"),
        ("tcp:0", "no port"),
        ("tcp:22:65536", "no port"),
        ("tcp:+22", "no port"),
        ("tcp:8010-8000", "lower number first"),
        ("tcp:8000-8010:80", "write as many"),
    ] {
        let error = text.parse::<Wanted>().unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let list = parse_list("udp:51820, tcp:2222:22  tcp:80").unwrap();
    assert_eq!(list, ["udp:51820", "tcp:2222:22", "tcp:80"].map(wanted));
    assert_eq!(parse_list(NONE), Ok(Vec::new()));
    assert!(parse_list("tcp:22 x").is_err());
    assert_eq!(parse_reach("LAN"), Ok(Reach::Lan));
    assert!(
        parse_reach("everyone")
            .unwrap_err()
            .contains("lan, lan6 or windows")
    );
}

#[test]
fn wireguard_is_proposed_once() {
    let tunnels = [
        tunnel(TunnelKind::WireGuard, "wg0", 51820),
        tunnel(TunnelKind::WireGuard, "wg1", 51821),
        tunnel(TunnelKind::NetBird, "wt0", 51822),
        tunnel(TunnelKind::Tailscale, "tailscale0", 41641),
    ];
    let none = settings("");
    assert_eq!(
        proposed(&tunnels, &none),
        ["udp:51820", "udp:51821"].map(wanted)
    );
    assert_eq!(
        proposed(&tunnels, &settings(THERE)),
        ["udp:51821"].map(wanted)
    );
}

#[test]
fn forwards_have_names_of_their_own() {
    let tunnels = [tunnel(TunnelKind::WireGuard, "wg0", 51820)];
    let list = [
        "udp:51820",
        "tcp:2222:22",
        "tcp:2223:22",
        "tcp:8000-8010",
        "udp:22",
    ]
    .map(wanted);
    let made = forwards(&list, Reach::Lan, &tunnels, &settings("")).unwrap();
    let names: Vec<&str> = made.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["wg0", "ssh", "ssh-2", "tcp-8000-8010", "udp-22"]);
    assert!(
        made.iter()
            .all(|one| { one.listen_address.is_unspecified() && one.firewall == Firewall::Local })
    );
    let here = forwards(&list, Reach::Windows, &tunnels, &settings("")).unwrap();
    assert!(
        here.iter()
            .all(|one| { one.listen_address.is_loopback() && one.firewall == Firewall::None })
    );
}

#[test]
fn clients_of_ipv6_come_where_they_are_asked_for() {
    let make = |there: &str| forwards(&[wanted("tcp:80")], Reach::Lan6, &[], &settings(there));
    let made = make("").unwrap();
    let of = (made[0].listen_address.to_string(), made[0].firewall);
    assert_eq!(of, ("::".to_owned(), Firewall::Local));
    let there = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 80\n";
    let error = make(there).unwrap_err();
    assert!(
        error.contains("\"web\" listens at 0.0.0.0 alone"),
        "{error}"
    );
    let both = format!("{there}listen-address = \"::\"\n");
    assert_eq!(make(&both), Ok(Vec::new()), "it is there");
    assert_eq!(
        forwards(&[wanted("tcp:80")], Reach::Lan, &[], &settings(&both)),
        Ok(Vec::new()),
        "that takes IPv4 too"
    );
    let error = make("[host]\nbackend = \"portproxy\"\n").unwrap_err();
    assert!(error.contains("takes no IPv6"), "{error}");
    assert_eq!(parse_reach("lan6"), Ok(Reach::Lan6));
}

#[test]
fn what_is_there_stays() {
    let there = settings(THERE);
    let make = |text| forwards(&[wanted(text)], Reach::Lan, &[], &there);
    assert_eq!(make("udp:41820:51820"), Ok(Vec::new()), "it is there");
    let error = make("udp:41820:1").unwrap_err();
    assert!(error.contains("\"wg\" has this port"), "{error}");
    assert!(error.contains("wslmesh forward remove wg"), "{error}");
    let twice = [wanted("tcp:80:1"), wanted("tcp:80:2")];
    assert!(forwards(&twice, Reach::Lan, &[], &there).is_err());
}
