//! Services that listen on loopback alone.

use super::{super::*, *};

const DB: &str = "[[forward]]\nname = \"db\"\nprotocol = \"tcp\"\nlisten-port = 15432\nconnect-port = 5432\nconnect-address = \"127.0.0.1\"\n";
const NODE: &str = "172.28.16.5";

fn one_port() -> String {
    DB.replace("15432", "5432")
}

fn inside(address: &str) -> Listen {
    listen_at(Protocol::Tcp, address, 5432)
}

/// What a relay should serve, in words.
fn served(machine: &Machine, config: &str, role: RelayRole) -> Vec<String> {
    let actions = planned(machine, config).actions;
    let set = actions.into_iter().find_map(|action| match action {
        Action::SyncRelay(of, set) if of == role => set,
        _ => None,
    });
    let forwards = set.into_iter().flat_map(|set| set.forwards);
    let words = forwards.map(|(name, one)| {
        let header = one.proxy_protocol.map_or("", |_| " with header");
        format!(
            "{name} {} to {}:{} for {:?}{header}",
            one.listen, one.connect_address, one.connect_port, one.admit
        )
    });
    words.collect()
}

#[test]
fn in_nat_mode_a_second_relay_leads_to_loopback() {
    let installed = || nat(HostPrivilege::Installed);
    let table = [
        (
            DB.to_owned(),
            "db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Behind(172.28.16.1)",
        ),
        (
            one_port(),
            "db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Behind(172.28.16.1)",
        ),
        (
            DB.replace("127.0.0.1", "127.9.8.7") + "firewall = \"full\"\n",
            "db tcp 172.28.16.5:5432 to 127.9.8.7:5432 for Behind(172.28.16.1)",
        ),
        (
            DB.replace("tcp", "udp"),
            "db udp 172.28.16.5:5432 to 127.0.0.1:5432 for Behind(172.28.16.1)",
        ),
        // The first relay writes the header, who knows the client.
        (
            format!("{DB}proxy-protocol = \"v2\"\n"),
            "db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Behind(172.28.16.1)",
        ),
        // By IPv4 in here, whatever the client's family.
        (
            format!("{DB}listen-address = \"::\"\n"),
            "db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Behind(172.28.16.1)",
        ),
        // Whatever serves it on Windows.
        (
            format!("{DB}backend = \"portproxy\"\n"),
            "db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Behind(172.28.16.1)",
        ),
    ];
    for (config, expected) in table {
        assert_eq!(
            served(&installed(), &config, RelayRole::Loopback),
            [expected],
            "{config}"
        );
        // Windows leads to this distribution as ever.
        let entry = served(&installed(), &config, RelayRole::Entry);
        let is_ours = config.contains("portproxy");
        assert_eq!(entry.is_empty(), is_ours, "{config}");
        assert!(
            entry.iter().all(|one| one.contains("to 172.28.16.5:5432")),
            "{entry:?}"
        );
        assert_eq!(
            entry.iter().any(|one| one.ends_with("with header")),
            config.contains("v2")
        );
    }
    let behind = |config: &str| served(&installed(), config, RelayRole::Loopback);
    assert_eq!(behind(SSH), [""; 0]);
    assert_eq!(behind(&(DB.to_owned() + &backend("none"))), [""; 0]);
    // The port proxy cannot serve it.
    let ipv6 = format!("{DB}listen-address = \"::\"\n") + &backend("portproxy");
    assert_eq!(behind(&ipv6), [""; 0]);
}

#[test]
fn two_forwards_to_one_service_share_its_listener() {
    let web = DB.replace("db", "web").replace("15432", "25432");
    let installed = nat(HostPrivilege::Installed);
    let config = DB.to_owned() + &web;
    assert_eq!(served(&installed, &config, RelayRole::Loopback).len(), 1);
    let other = DB.to_owned() + &web.replace("127.0.0.1", "127.0.0.2");
    let plan = planned(&installed, &other);
    let states: Vec<_> = plan
        .forwards
        .iter()
        .flatten()
        .map(|one| one.state)
        .collect();
    assert_eq!(states, [ForwardState::Pending, ForwardState::Down]);
    let taken = plan
        .findings
        .iter()
        .find(|one| one.code == Code::ForwardTaken);
    assert_eq!(
        taken.unwrap().detail,
        "forward \"db\" leads tcp 172.28.16.5:5432 to another loopback address"
    );
}

/// It has not asked for loopback, so that it is said where it leads.
#[test]
fn a_plain_forward_to_the_port_of_one_on_loopback_is_said() {
    let plain = "[[forward]]\nname = \"lan\"\nprotocol = \"tcp\"\nlisten-port = 9000\nconnect-port = 5432\n";
    let installed = nat(HostPrivilege::Installed);
    let chains = |config: &str| -> Vec<String> {
        let found = planned(&installed, config).findings.into_iter();
        let chains = found.filter(|one| one.code == Code::ForwardChain);
        chains
            .map(|one| format!("{}: {}", one.subject, one.detail))
            .collect()
    };
    let expected = "lan: tcp 0.0.0.0:9000 leads into the listener of forward \"db\" (tcp 172.28.16.5:5432), and by it to 127.0.0.1";
    assert_eq!(chains(&format!("{plain}{DB}")), [expected]);
    assert_eq!(chains(&format!("{DB}{plain}")), [expected]);
    assert_eq!(
        chains(&format!("{DB}{}", plain.replace("tcp", "udp"))),
        [""; 0]
    );
    assert_eq!(
        chains(&format!("{DB}{}", plain.replace("= 5432", "= 5433"))),
        [""; 0]
    );
}

/// A VPN has taken the default route.
#[test]
fn without_a_gateway_windows_has_the_first_address_of_the_subnet() {
    let table = [
        ("172.28.16.5/20", "for Behind(172.28.16.1)"),
        ("172.28.17.200/24", "for Behind(172.28.17.1)"),
    ];
    for (net, expected) in table {
        let machine = nat(HostPrivilege::Installed).with(|seen| {
            seen.routes.clear();
            seen.addresses[0].net = net.parse().unwrap();
        });
        let config = format!("[network]\ninterface = \"eth0\"\n{DB}");
        let behind = served(&machine, &config, RelayRole::Loopback);
        assert!(
            behind.len() == 1 && behind[0].ends_with(expected),
            "{behind:?}"
        );
    }
}

#[test]
fn loopback_services_that_are_relays_of_each_other_are_a_loop() {
    let other = DB
        .replace("db", "back")
        .replace("15432", "x")
        .replace("5432", "15432")
        .replace('x', "5432");
    for mode in [Mode::Mirrored, Mode::Bridged] {
        let machine = Machine::nat().mode(mode);
        let codes: Vec<Code> = planned(&machine, &format!("{DB}{other}"))
            .findings
            .iter()
            .map(|one| one.code)
            .filter(|code| [Code::ForwardLoop, Code::ForwardChain].contains(code))
            .collect();
        assert_eq!(codes, [Code::ForwardLoop]);
        // Of equal ports the relay listens at the node's address alone.
        let machine = Machine::nat().mode(mode);
        let found = planned(&machine, &one_port()).findings;
        assert!(found.iter().all(|one| one.code != Code::ForwardLoop));
    }
}

#[test]
fn a_forward_is_up_once_both_relays_serve_it() {
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 98,
    };
    let entry = || {
        let at = listen_at(Protocol::Tcp, "0.0.0.0", 15432);
        nat(HostPrivilege::Installed).relay_listens(&[at])
    };
    let with = |listening: Vec<Listen>, failed: Vec<(Listen, Failure)>| {
        entry().with(|seen| {
            let wanted = relay_at(RelayLocation::Guest, failed);
            seen.host.loopback = RelayMemory {
                listening: listening.into_iter().collect(),
                ..wanted
            };
        })
    };
    let table = [
        (entry(), ForwardState::Pending, None),
        (with(vec![inside(NODE)], vec![]), ForwardState::Up, None),
        // Of an address that the node had.
        (
            with(vec![inside("172.28.16.4")], vec![]),
            ForwardState::Pending,
            None,
        ),
        (
            with(vec![], vec![(inside(NODE), failure)]),
            ForwardState::Down,
            Some(Code::ForwardTaken),
        ),
    ];
    for (machine, state, code) in table {
        let plan = planned(&machine, DB);
        let forwards = plan.forwards.unwrap();
        assert_eq!(forwards[0].state, state);
        assert_eq!(forwards[0].connect_address, Some([127, 0, 0, 1].into()));
        let found = plan
            .findings
            .iter()
            .find(|one| one.code == Code::ForwardTaken);
        assert_eq!(found.map(|one| one.code), code);
    }
}

#[test]
fn it_follows_the_address_and_ends_with_the_forward() {
    let installed = nat(HostPrivilege::Installed);
    let set = |machine: &Machine, config: &str| {
        let mut actions = planned(machine, config).actions.into_iter();
        actions.find_map(|action| match action {
            Action::SyncRelay(RelayRole::Loopback, set) => Some(set),
            _ => None,
        })
    };
    let serves = installed.clone().with(|seen| {
        seen.host.loopback.wanted = set(&installed, DB).unwrap();
    });
    assert_eq!(set(&serves, DB), None, "nothing to change");
    assert_eq!(set(&serves, SSH), Some(None));
    let moved = serves
        .clone()
        .with(|seen| seen.addresses[0].net = "172.28.30.1/20".parse().unwrap());
    let then = set(&moved, DB).flatten().unwrap();
    assert_eq!(then.forwards[0].1.listen, inside("172.28.30.1"));
    // As long as the mode is not known it stays.
    let asked = serves.with(|seen| seen.mode = ModeState::Pending);
    assert_eq!(set(&asked, DB), None);
}

#[test]
fn where_clients_reach_the_guest_its_one_relay_leads_to_loopback() {
    let mirrored = || Machine::nat().mode(Mode::Mirrored);
    let full = |config: &str| format!("{config}firewall = \"full\"\n");
    let none = |config: &str| format!("{config}firewall = \"none\"\n");
    let header = "proxy-protocol = \"v2\"\n";
    let table = [
        // Two ports: on all addresses, as another forward would.
        (
            DB.to_owned(),
            vec!["db tcp 0.0.0.0:15432 to 127.0.0.1:5432 for Local"],
        ),
        (
            full(DB),
            vec!["db tcp 0.0.0.0:15432 to 127.0.0.1:5432 for Any"],
        ),
        // One: not where the service is.
        (
            one_port(),
            vec!["db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Local"],
        ),
        (
            none(&one_port()),
            vec!["db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Host"],
        ),
        (
            one_port() + header,
            vec!["db tcp 172.28.16.5:5432 to 127.0.0.1:5432 for Local with header"],
        ),
        (
            one_port() + "listen-address = \"192.168.1.5\"\n",
            vec!["db tcp 192.168.1.5:5432 to 127.0.0.1:5432 for Local"],
        ),
        (
            DB.to_owned() + "listen-address = \"::\"\n",
            vec!["db tcp [::]:15432 to 127.0.0.1:5432 for Local"],
        ),
        // Windows' own loopback reaches the service itself.
        (one_port() + "listen-address = \"127.0.0.1\"\n", vec![]),
    ];
    for (config, expected) in table {
        for mode in [Mode::Mirrored, Mode::Consomme, Mode::Bridged] {
            let machine = mirrored().mode(mode);
            assert_eq!(
                served(&machine, &config, RelayRole::Entry),
                expected,
                "{mode} {config}"
            );
            assert_eq!(
                served(&machine, &config, RelayRole::Loopback),
                [""; 0],
                "{mode}"
            );
        }
    }
    assert_eq!(
        outcome(&mirrored(), &(none(&one_port()) + &backend("portproxy"))),
        ["forward-needs-relay"]
    );
}
