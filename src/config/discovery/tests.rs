use proptest::prelude::*;

use super::*;
use crate::config::{Settings, Source, settings};

fn ports(text: &str) -> (String, String) {
    let discovery = settings(&format!("[discovery]\n{text}")).discovery;
    let shown = |protocol| {
        let ranges = discovery.ports(protocol).into_iter();
        Vec::from_iter(ranges.map(|range| range.to_string())).join(" ")
    };
    (shown(Protocol::Tcp), shown(Protocol::Udp))
}

#[test]
fn ranges_without_the_denied() {
    let table = [
        ("", "", ""),
        ("tcp = [3000, \"8000-8010\"]", "3000 8000-8010", ""),
        ("udp = [\"51820\"]", "", "51820"),
        // Databases and Docker's API are denied unless the list says otherwise.
        ("tcp = [5432, \"2374-2381\"]", "2374 2381", ""),
        ("tcp = [5432]\ndeny = []", "5432", ""),
        ("tcp = [\"1-65535\"]\ndeny = [\"2-65534\"]", "1 65535", ""),
        ("tcp = [\"1-65535\"]\ndeny = [1, 65535]", "2-65534", ""),
        (
            "tcp = [\"8000-8002\", \"8001-8004\", 8005]",
            "8000-8005",
            "",
        ),
        ("tcp = [80]\nudp = [80]\ndeny = [80]", "", ""),
    ];
    for (text, tcp, udp) in table {
        assert_eq!(ports(text), (tcp.to_owned(), udp.to_owned()), "{text}");
    }
    assert!(!Discovery::default().is_on());
    assert!(settings("[discovery]\nudp = [7]").discovery.is_on());
    assert!(!settings("[discovery]\ntcp = [5432]").discovery.is_on());
}

#[test]
fn wrong_values_have_place_key_and_fix() {
    let many = format!("tcp = [{}]", "80, ".repeat(101));
    let table = [
        ("tcp = 8000", "2:7: discovery.tcp: "),
        (
            "tcp = [0]",
            "2:8: discovery.tcp: 0 is no port: write a number from 1 to 65535",
        ),
        (
            "udp = [1, 70000]",
            "2:11: discovery.udp: 70000 is no port: write a number from 1 to 65535",
        ),
        (
            "tcp = [\"9-8\"]",
            "2:8: discovery.tcp: \"9-8\" is no range of ports: write the lower number first",
        ),
        (
            "tcp = [\"a-8\"]",
            "2:8: discovery.tcp: \"a\" is no port: write a number from 1 to 65535",
        ),
        (
            "deny = [true]",
            "2:9: discovery.deny: invalid type: boolean `true`, expected a number from 1 to 65535, or a range such as \"8000-8010\"",
        ),
        (
            &many,
            "discovery.tcp: 101 entries: write up to 100, and neighbouring ports as a range such as \"8000-8999\"",
        ),
        (
            "listen-address = \"224.0.0.1\"",
            "discovery.listen-address: 224.0.0.1 is a multicast address",
        ),
        (
            "firewall = \"all\"",
            "discovery.firewall: unknown variant `all`",
        ),
        ("containers = 1", "discovery.containers: "),
        ("port = [1]", "unknown key `port` in [discovery]: "),
    ];
    for (text, expected) in table {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wslmesh.toml");
        std::fs::write(&path, format!("[discovery]\n{text}\n")).unwrap();
        let error = Settings::load(&Source::File(path.clone())).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(
            error.starts_with(&format!("{}:2:", path.display())),
            "{error}"
        );
    }
}

#[test]
fn shown_settings_are_read_as_the_same() {
    let text = "[discovery]\ntcp = [80, \"8000-8999\"]\ninterfaces = [\"eth*\"]\ncontainers = false\nlisten-address = \"192.168.1.5\"\nfirewall = \"full\"\n";
    let first = settings(text);
    let again = settings(&first.to_string());
    assert_eq!(again.discovery, first.discovery);
    assert!(
        first.to_string().contains("tcp = [80, \"8000-8999\"]"),
        "{first}"
    );
}

proptest! {
    #[test]
    fn each_port_is_where_it_belongs(
        wanted in prop::collection::vec((1..60_u16, 0..9_u16), 0..6),
        denied in prop::collection::vec((1..60_u16, 0..9_u16), 0..6),
    ) {
        let set = |ranges: &[(u16, u16)]| {
            PortSet::of(&Vec::from_iter(ranges.iter().map(|(first, more)| (*first, first + more))))
        };
        let has = |ranges: &[PortRange], port: u16| {
            ranges.iter().any(|range| range.has(port.try_into().unwrap()))
        };
        let (wanted, denied) = (set(&wanted), set(&denied));
        let left = wanted.without(&denied);
        for port in 1..80 {
            let expected = has(&wanted.0, port) && !has(&denied.0, port);
            prop_assert_eq!(has(&left, port), expected, "{}", port);
        }
        for pair in left.windows(2) {
            prop_assert!(pair[0].last().get() + 1 < pair[1].first().get());
        }
    }
}
