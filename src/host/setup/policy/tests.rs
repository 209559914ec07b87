use super::*;

#[test]
fn ports_as_a_person_writes_them() {
    let table = [
        ("tcp:2222:22", Ok("--ports tcp:2222:22")),
        ("tcp:8000-8010", Ok("--ports tcp:8000-8010")),
        ("udp:51820", Ok("--ports udp:51820")),
        ("udp:1-3:5-9", Ok("--ports udp:1-3:5-9")),
        ("tcp:10-10:10", Ok("--ports tcp:10")),
        ("icmp:1", Err("is no protocol")),
        ("tcp", Err("write it as")),
        ("tcp:", Err("\"\" is no port")),
        ("tcp:1:2:3", Err("write it as")),
        ("tcp:5-1", Err("write the lower number first")),
        ("tcp:0-1", Err("\"0\" is no port")),
        ("tcp:65536", Err("is no port")),
        ("tcp:+5", Err("is no port")),
        ("tcp:1-2-3", Err("is no port")),
    ];
    for (text, expected) in table {
        match (text.parse::<Grant>(), expected) {
            (Ok(grant), Ok(option)) => {
                assert_eq!(grant.option().as_deref(), Some(option))
            }
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn a_grant_allows_what_is_as_it_says_or_held_to_less() {
    let grant = |firewall, backend| Grant {
        firewall,
        backend,
        .."tcp:2222:22".parse().unwrap()
    };
    let forward = |firewall| Forward {
        name: String::new(),
        protocol: Protocol::Tcp,
        listen_address: Ipv4Addr::UNSPECIFIED.into(),
        listen_port: "2222".parse().unwrap(),
        connect_address: None,
        connect_port: "22".parse().unwrap(),
        firewall,
        backend: None,
        proxy_protocol: None,
        remarks: crate::config::Remarks::default(),
    };
    use Backend::{Auto, Portproxy, Relay};
    use Firewall::{Full, Local, None as Shut};
    let table = [
        (Local, Auto, Local, Auto, None),
        (Local, Auto, Local, Relay, None),
        (Local, Relay, Local, Auto, None),
        (Local, Portproxy, Local, Portproxy, None),
        (Local, Auto, Local, Portproxy, Some(PolicyGap::Backend)),
        (Local, Portproxy, Local, Auto, Some(PolicyGap::Backend)),
        (Local, Portproxy, Local, Relay, Some(PolicyGap::Backend)),
        // The relay holds a forward to less than its grant, the port proxy cannot.
        (Full, Auto, Local, Auto, None),
        (Local, Auto, Shut, Relay, None),
        (Local, Portproxy, Shut, Portproxy, Some(PolicyGap::Firewall)),
        (Local, Auto, Full, Auto, Some(PolicyGap::Firewall)),
        (Shut, Auto, Local, Auto, Some(PolicyGap::Firewall)),
    ];
    for (granted, by, asked, with, expected) in table {
        let found = gap(
            &[grant(granted, by)],
            &forward(asked),
            with,
            SyncMode::Nat,
            false,
        );
        assert_eq!(found, expected, "{granted} {by} for {asked} {with}");
    }
    assert_eq!(
        gap(&[], &forward(Shut), Auto, SyncMode::Nat, false),
        Some(PolicyGap::OutsidePolicy)
    );
    let (backend, firewall) = (Some(PolicyGap::Backend), Some(PolicyGap::Firewall));
    let table = [
        // In mirrored mode nothing holds a forward to less, and nothing forwards.
        (SyncMode::Mirrored, false, Shut, Auto, Auto, firewall),
        (SyncMode::Mirrored, false, Local, Auto, Portproxy, None),
        // The relay may not run: the port proxy is what serves `auto`.
        (SyncMode::Nat, true, Local, Auto, Auto, None),
        (SyncMode::Nat, true, Local, Auto, Portproxy, None),
        (SyncMode::Nat, true, Shut, Auto, Auto, firewall),
        (SyncMode::Nat, true, Local, Auto, Relay, backend),
        (SyncMode::Nat, true, Local, Relay, Auto, backend),
    ];
    for (mode, forbidden, asked, by, with, expected) in table {
        let found = gap(&[grant(Local, by)], &forward(asked), with, mode, forbidden);
        assert_eq!(
            found, expected,
            "{mode} {forbidden} {by} for {asked} {with}"
        );
    }
}
