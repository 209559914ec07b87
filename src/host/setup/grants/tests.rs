use std::{net::Ipv4Addr, num::NonZeroU16};

use proptest::prelude::*;

use super::*;
use crate::config::{Firewall, Protocol};

/// The grants of a configuration with these forwards.
fn grants(forwards: &[Forward], named: &[Grant]) -> Result<Vec<Grant>, PolicyError> {
    let mut settings = crate::config::settings("");
    settings.forwards = forwards.to_vec();
    super::grants(&settings, named)
}

fn gap(grants: &[Grant], forward: &Forward) -> Option<crate::host::contract::PolicyGap> {
    super::gap(grants, forward, forward.backend.unwrap_or(Backend::Auto))
}

fn forward(text: &str) -> Forward {
    let words: Vec<&str> = text.split(' ').collect();
    let [name, protocol, address, listen, connect, firewall] = words[..] else {
        panic!("{text}");
    };
    let port = |text: &str| text.parse::<NonZeroU16>().unwrap();
    Forward {
        name: name.into(),
        protocol: if protocol == "tcp" {
            Protocol::Tcp
        } else {
            Protocol::Udp
        },
        listen_address: address.parse().unwrap(),
        listen_port: port(listen).into(),
        connect_address: None,
        connect_port: port(connect).into(),
        firewall: match firewall {
            "none" => Firewall::None,
            "local" => Firewall::Local,
            _ => Firewall::Full,
        },
        backend: None,
        proxy_protocol: None,
        remarks: crate::config::Remarks::default(),
    }
}

/// The grants' ports, one a line.
fn shown(forwards: &[&str], named: &[&str]) -> Vec<String> {
    let forwards: Vec<Forward> = forwards.iter().map(|text| forward(text)).collect();
    let named: Vec<Grant> = named.iter().map(|text| text.parse().unwrap()).collect();
    grants(&forwards, &named)
        .unwrap()
        .iter()
        .map(|grant| {
            let Grant {
                protocol,
                listen_address,
                listen_ports,
                connect_ports,
                firewall,
                backend,
            } = grant;
            let by = match backend {
                Backend::Auto => String::new(),
                other => format!(" {other}"),
            };
            format!("{protocol} {listen_address} {listen_ports} {connect_ports} {firewall}{by}")
        })
        .collect()
}

#[test]
fn neighbours_are_joined_where_they_agree() {
    let a = "a tcp 0.0.0.0 80 80 local";
    let table: [(&[&str], &[&str]); 10] = [
        (&[a], &["tcp 0.0.0.0 80 80 local"]),
        (
            &["b tcp 0.0.0.0 81 81 local", a],
            &["tcp 0.0.0.0 80-81 80-81 local"],
        ),
        (
            &[a, "b tcp 0.0.0.0 81 80 local"],
            &["tcp 0.0.0.0 80-81 80 local"],
        ),
        (
            &[a, "b tcp 0.0.0.0 82 82 local"],
            &["tcp 0.0.0.0 80 80 local", "tcp 0.0.0.0 82 82 local"],
        ),
        (
            &[a, "b tcp 0.0.0.0 81 82 local"],
            &["tcp 0.0.0.0 80 80 local", "tcp 0.0.0.0 81 82 local"],
        ),
        (
            &[a, "b tcp 0.0.0.0 81 81 full"],
            &["tcp 0.0.0.0 80 80 local", "tcp 0.0.0.0 81 81 full"],
        ),
        (
            &[a, "b udp 0.0.0.0 81 81 local"],
            &["tcp 0.0.0.0 80 80 local", "udp 0.0.0.0 81 81 local"],
        ),
        (
            &[a, "b tcp 10.0.0.1 81 81 local"],
            &["tcp 0.0.0.0 80 80 local", "tcp 10.0.0.1 81 81 local"],
        ),
        (
            &[a, "b tcp 0.0.0.0 81 81 local", "c tcp 0.0.0.0 82 82 full"],
            &["tcp 0.0.0.0 80-81 80-81 local", "tcp 0.0.0.0 82 82 full"],
        ),
        // Joined, the first two would take the third's ports on another address.
        (
            &[
                "a tcp 10.0.0.1 80 80 local",
                "b tcp 10.0.0.1 81 81 local",
                "c tcp 10.0.0.2 80 81 local",
            ],
            &[
                "tcp 10.0.0.1 80 80 local",
                "tcp 10.0.0.1 81 81 local",
                "tcp 10.0.0.2 80 81 local",
            ],
        ),
    ];
    for (forwards, expected) in table {
        assert_eq!(shown(forwards, &[]), expected, "{forwards:?}");
    }
}

#[test]
fn named_ports_come_after_the_configuration() {
    assert_eq!(
        shown(
            &["a tcp 0.0.0.0 5000 22 full"],
            &["tcp:5000-5010:22", "udp:51820", "udp:51820"]
        ),
        [
            "tcp 0.0.0.0 5000 22 full",
            "tcp 0.0.0.0 5000-5010 22 local",
            "udp 0.0.0.0 51820 51820 local"
        ]
    );
    // What a range holds needs no grant of its own.
    assert_eq!(
        shown(
            &["a tcp 0.0.0.0 5000 22 local", "b tcp 0.0.0.0 80 80 local"],
            &["tcp:5000-5010:22"]
        ),
        ["tcp 0.0.0.0 80 80 local", "tcp 0.0.0.0 5000-5010 22 local"]
    );
}

#[test]
fn a_list_too_long_to_read_is_refused() {
    let forward = |port: u16| forward(&format!("f tcp 0.0.0.0 {port} {port} local"));
    let scattered: Vec<Forward> = (1..=201).map(|step| forward(step * 2)).collect();
    assert_eq!(grants(&scattered, &[]), Err(PolicyError::TooMany(201)));
    assert_eq!(grants(&scattered[1..], &[]).unwrap().len(), 200);
    let range: Grant = "tcp:1-1000".parse().unwrap();
    assert_eq!(grants(&scattered, &[range]).unwrap(), [range]);
    let neighbours: Vec<Forward> = (1..=500).map(forward).collect();
    assert_eq!(grants(&neighbours, &[]).unwrap().len(), 1);
}

#[test]
fn the_same_ports_on_two_addresses_cannot_be_allowed() {
    let both = [
        forward("a tcp 10.0.0.1 80 80 local"),
        forward("b tcp 10.0.0.2 80 80 local"),
    ];
    let refused = grants(&both, &[]).unwrap_err().to_string();
    assert!(refused.starts_with("forwards \"a\" and \"b\""), "{refused}");
}

#[test]
fn another_distribution_does_not_keep_the_rest_from_being_allowed() {
    let mut all = crate::config::settings("");
    all.forwards = vec![
        forward("a tcp 10.0.0.1 80 80 local"),
        forward("Debian/b tcp 10.0.0.2 80 80 local"),
        forward("Debian/c tcp 0.0.0.0 90 90 local"),
    ];
    let (grants, left) = grants_of_all(&mut all, &[]).unwrap();
    assert_eq!((grants.len(), left.len(), all.forwards.len()), (2, 1, 2));
    let why = left[0].to_string();
    assert!(why.starts_with("forwards \"a\" and \"Debian/b\""), "{why}");
    all.forwards.push(forward("d tcp 10.0.0.3 80 80 local"));
    assert!(grants_of_all(&mut all, &[]).is_err());
}

prop_compose! {
    fn any_forward()(
        udp in any::<bool>(),
        address in 0u8..3,
        listen in 1u16..12,
        connect in 1u16..12,
        firewall in 0u8..3,
    ) -> Forward {
        Forward {
            name: String::new(),
            protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
            listen_address: if address == 0 {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                [10, 0, 0, address].into()
            },
            listen_port: NonZeroU16::new(listen).unwrap().into(),
            connect_address: None,
            connect_port: NonZeroU16::new(connect).unwrap().into(),
            firewall: match firewall { 0 => Firewall::None, 1 => Firewall::Local, _ => Firewall::Full },
            backend: None,
            proxy_protocol: None,
            remarks: crate::config::Remarks::default(),
        }
    }
}

/// Keeps those that a configuration may have beside each other.
fn configuration(candidates: Vec<Forward>) -> Vec<Forward> {
    let mut kept: Vec<Forward> = Vec::new();
    for candidate in candidates {
        let clashes = kept.iter().any(|other| {
            (other.protocol, other.listen_port) == (candidate.protocol, candidate.listen_port)
                && (other.listen_address == candidate.listen_address
                    || other.listen_address.is_unspecified()
                    || candidate.listen_address.is_unspecified()
                    || other.connect_port == candidate.connect_port)
        });
        if !clashes {
            kept.push(candidate);
        }
    }
    kept
}

proptest! {
    #[test]
    fn what_is_configured_is_covered_and_no_other_port_is(
        candidates in prop::collection::vec(any_forward(), 0..20),
        other in any_forward(),
    ) {
        let forwards = configuration(candidates);
        let grants = grants(&forwards, &[]).unwrap();
        for forward in &forwards {
            prop_assert_eq!(gap(&grants, forward), None, "{:?}", forward);
        }
        if gap(&grants, &other).is_none() {
            let alike = |forward: &&Forward| {
                (forward.protocol, forward.listen_address) == (other.protocol, other.listen_address)
                    && forward.firewall >= other.firewall
            };
            let alike: Vec<&Forward> = forwards.iter().filter(alike).collect();
            prop_assert!(alike.iter().any(|forward| forward.listen_port == other.listen_port));
            prop_assert!(alike.iter().any(|forward| forward.connect_port == other.connect_port));
        }
        prop_assert!(grants.len() <= forwards.len());
    }

    #[test]
    fn named_ports_take_nothing_from_the_configuration(
        candidates in prop::collection::vec(any_forward(), 0..10),
        udp in any::<bool>(),
        first in 1u16..12,
        more in 0u16..12,
    ) {
        let forwards = configuration(candidates);
        let protocol = if udp { "udp" } else { "tcp" };
        let named: Grant = format!("{protocol}:{first}-{}:1-20", first + more).parse().unwrap();
        let grants = grants(&forwards, &[named]).unwrap();
        for forward in &forwards {
            prop_assert_eq!(gap(&grants, forward), None);
        }
        prop_assert!(grants.contains(&named));
    }
}

#[test]
fn a_backend_of_its_own_is_a_grant_of_its_own() {
    let mut forwards = [
        forward("a tcp 0.0.0.0 80 80 local"),
        forward("b tcp 0.0.0.0 81 81 local"),
        forward("c tcp 0.0.0.0 82 82 local"),
    ];
    forwards[1].backend = Some(Backend::Portproxy);
    forwards[2].backend = Some(Backend::Relay);
    let found: Vec<Backend> = (grants(&forwards, &[]).unwrap().iter())
        .map(|grant| grant.backend)
        .collect();
    assert_eq!(found, [Backend::Auto, Backend::Portproxy, Backend::Relay]);
    let mut settings = crate::config::settings("[host]\nbackend = \"none\"\n");
    settings.forwards = forwards.to_vec();
    assert_eq!(super::grants(&settings, &[]), Ok(Vec::new()));
}

#[test]
fn what_may_be_discovered_is_proposed() {
    let shown = |text: &str| {
        let grants = super::grants(&crate::config::settings(text), &[]).unwrap();
        Vec::from_iter(grants.iter().map(ToString::to_string))
    };
    let on = "[discovery]\ntcp = [3000, \"8000-8999\"]\nudp = [5000]\nfirewall = \"full\"\n";
    let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let grants: Vec<String> = shown(on).iter().map(words).collect();
    assert_eq!(
        grants,
        [
            "tcp 3000 -> 3000 on 0.0.0.0 from everywhere",
            "tcp 8000-8999 -> 8000-8999 on 0.0.0.0 from everywhere",
            "udp 5000 -> 5000 on 0.0.0.0 from everywhere",
        ]
    );
    // What is denied is not asked for, nor what nothing would serve.
    let denied = format!("{on}deny = [3000, \"8001-8999\"]\n[host]\nbackend = \"portproxy\"\n");
    let grants: Vec<String> = shown(&denied).iter().map(words).collect();
    assert_eq!(
        grants,
        ["tcp 8000 -> 8000 on 0.0.0.0 from everywhere, by the port proxy"]
    );
    assert!(shown(&format!("{on}[host]\nbackend = \"none\"\n")).is_empty());
}
