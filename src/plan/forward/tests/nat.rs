//! NAT mode: each privilege and backend, and ports that change hands.

use super::{super::*, *};
use crate::model::{DynamicPorts, RelayForward};

#[test]
fn nat_before_windows_has_answered() {
    let ssh_relayed = || Machine::nat().relay_listens(&[ssh_at("127.0.0.1")]);
    check(vec![
        ("nothing configured", Machine::nat(), String::new(), &[]),
        (
            "auto, TCP: where the relay may be, Windows must say",
            Machine::nat(),
            SSH.into(),
            &["windows: []"],
        ),
        (
            "auto, TCP: rules of the port proxy may remain, and stay",
            Machine::nat().with(|seen| seen.host.rules_remain = true),
            SSH.into(),
            &["windows: [ssh portproxy]"],
        ),
        (
            "auto, UDP: where the relay may be, Windows must say",
            Machine::nat(),
            WG.into(),
            &["windows: []"],
        ),
        (
            "backend relay: the same",
            Machine::nat(),
            SSH.to_owned() + &backend("relay"),
            &["windows: []"],
        ),
        (
            "after a reload: what the relay serves stays with it",
            nat(HostPrivilege::None)
                .with(|seen| seen.host.facts.privilege = HostPrivilege::Unknown)
                .relay_listens(&[ssh_at("127.0.0.1")]),
            SSH.into(),
            &[
                "relay: unpacked [ssh 127.0.0.1]",
                "windows: []",
                "relay-loopback",
            ],
        ),
        (
            "after a reload: no warning before Windows has answered",
            nat(HostPrivilege::None)
                .with(|seen| seen.host.facts.privilege = HostPrivilege::Unknown),
            SSH.to_owned() + &backend("relay"),
            &["relay: unpacked [ssh 127.0.0.1]", "windows: []"],
        ),
        (
            "portproxy alone: not before the relay released the port",
            ssh_relayed(),
            SSH.to_owned() + &backend("portproxy"),
            &["windows: []"],
        ),
        (
            "the agent restarted: its relay goes on and is re-pointed",
            Machine::nat()
                .relay_listens(&[ssh_at("0.0.0.0")])
                .with(|seen| {
                    let program = DrivePath::new(r"C:\Program Files\wslmesh\wslmesh-relay.exe");
                    let location = RelayLocation::Installed {
                        program: program.unwrap(),
                        version: "0.1.0".into(),
                    };
                    let mut relay = relay_at(location, vec![]).wanted;
                    let forward = RelayForward {
                        listen: ssh_at("0.0.0.0"),
                        connect_address: [172, 28, 16, 4].into(),
                        connect_port: 22.try_into().unwrap(),
                        admit: Admit::Any,
                        proxy_protocol: None,
                    };
                    let forwards = relay.as_mut().map(|set| &mut set.forwards);
                    forwards.unwrap().push(("ssh".into(), forward));
                    seen.host.relay.wanted = relay;
                }),
            SSH.into(),
            &["relay: installed [ssh 0.0.0.0]", "windows: [ssh relay]"],
        ),
        (
            "rules of an earlier run may remain: withdraw",
            Machine::nat().with(|seen| seen.host.rules_remain = true),
            String::new(),
            &["windows: []"],
        ),
        (
            "backend none: Windows is never called",
            Machine::nat().with(|seen| seen.host.rules_remain = true),
            SSH.to_owned() + &backend("none"),
            &["forward-leftover"],
        ),
        (
            "no address: nothing to point at, and the relay stays as it is",
            Machine::new().with(|seen| seen.host.relay = relay_at(RelayLocation::Guest, vec![])),
            SSH.into(),
            &[],
        ),
    ]);
}

#[test]
fn nat_with_each_power_and_backend() {
    let both = format!("{SSH}{WG}");
    let with = |name: &str| both.clone() + &backend(name);
    let by_portproxy = || SSH.to_owned() + "backend = \"portproxy\"\n";
    let all = [ssh_at("0.0.0.0"), wg_at("0.0.0.0")];
    check(vec![
        (
            "installed: the relay, held to each firewall until it is read back",
            nat(HostPrivilege::Installed),
            both.clone(),
            &["relay: installed [ssh 0.0.0.0 host, wg 0.0.0.0 local]"],
        ),
        (
            "installed: what it listens on is read back",
            nat(HostPrivilege::Installed).relay_listens(&all),
            both.clone(),
            &[
                "relay: installed [ssh 0.0.0.0 host, wg 0.0.0.0 local]",
                "windows: [ssh relay, wg relay]",
            ],
        ),
        (
            "installed: the firewall lets in no more",
            nat(HostPrivilege::Installed).read_back(&all),
            both.clone(),
            &[
                "relay: installed [ssh 0.0.0.0, wg 0.0.0.0]",
                "windows: [ssh relay, wg relay]",
            ],
        ),
        (
            "installed: one is narrower than its grant",
            nat(HostPrivilege::Installed)
                .read_back(&all[..1])
                .relay_listens(&all[1..]),
            both.clone(),
            &[
                "relay: installed [ssh 0.0.0.0, wg 0.0.0.0 local]",
                "windows: [ssh relay, wg relay]",
            ],
        ),
        (
            "installed, the firewall full needs no hold",
            nat(HostPrivilege::Installed),
            SSH.replace("none", "full"),
            &["relay: installed [ssh 0.0.0.0]"],
        ),
        (
            "installed, the port proxy for one forward",
            nat(HostPrivilege::Installed),
            by_portproxy() + WG,
            &[
                "relay: installed [wg 0.0.0.0 local]",
                "windows: [ssh portproxy]",
            ],
        ),
        (
            "no backend: nor for one forward",
            nat(HostPrivilege::Installed),
            format!("{SSH}backend = \"relay\"\n{}", backend("none")),
            &[],
        ),
        (
            "installed, Windows does not let the relay run: the port proxy for TCP",
            nat(HostPrivilege::Installed).with(|seen| seen.host.facts.relay_forbidden = true),
            both.clone(),
            &["windows: [ssh portproxy]", "relay-failed"],
        ),
        (
            "the same, and the relay alone is wanted",
            nat(HostPrivilege::Installed).with(|seen| seen.host.facts.relay_forbidden = true),
            SSH.to_owned() + &backend("relay"),
            &["relay-failed"],
        ),
        (
            "installed, its relay is missing",
            nat(HostPrivilege::Installed).with(|seen| seen.host.facts.installed_relay = None),
            both.clone(),
            &[
                "relay: unpacked [ssh 127.0.0.1, wg 127.0.0.1]",
                "relay-loopback",
            ],
        ),
        (
            "installed, the firewall was not looked at",
            nat(HostPrivilege::Installed).with(|seen| seen.host.facts.firewall = false),
            WG.into(),
            &["relay: installed [wg 0.0.0.0 local]", "forward-firewall"],
        ),
        (
            "elevated, auto: the relay will refuse, but says so itself",
            nat(HostPrivilege::Elevated),
            both.clone(),
            &[
                "relay: unpacked [wg 127.0.0.1]",
                "windows: [ssh portproxy]",
                "relay-loopback",
            ],
        ),
        (
            "no privilege, auto",
            nat(HostPrivilege::None),
            both.clone(),
            &[
                "relay: unpacked [ssh 127.0.0.1, wg 127.0.0.1]",
                "relay-loopback",
            ],
        ),
        (
            "no privilege, a forward on loopback needs none",
            nat(HostPrivilege::None),
            SSH.to_owned() + "listen-address = \"127.0.0.1\"\n",
            &["relay: unpacked [ssh 127.0.0.1]"],
        ),
        (
            "no privilege, both families",
            nat(HostPrivilege::None),
            SSH.to_owned() + "listen-address = \"::\"\n",
            &["relay: unpacked [ssh 127.0.0.1, ssh ::1]", "relay-loopback"],
        ),
        (
            "no privilege, an address of IPv6",
            nat(HostPrivilege::None),
            SSH.to_owned() + "listen-address = \"2001:db8::5\"\n",
            &["relay: unpacked [ssh ::1]", "relay-loopback"],
        ),
        (
            "the port proxy has no IPv6",
            nat(HostPrivilege::Installed),
            SSH.to_owned() + "listen-address = \"::\"\nbackend = \"portproxy\"\n",
            &["forward-needs-relay"],
        ),
        (
            "elevated: by the relay, for the port proxy has no IPv6",
            nat(HostPrivilege::Elevated),
            SSH.to_owned() + "listen-address = \"::\"\n",
            &["relay: unpacked [ssh 127.0.0.1, ssh ::1]", "relay-loopback"],
        ),
        (
            "a rule of the port proxy has a part of it: it goes first",
            nat(HostPrivilege::Installed).rule_installed(ssh_at("0.0.0.0")),
            SSH.to_owned() + "listen-address = \"::\"\n",
            &["windows: []"],
        ),
        (
            "no privilege, two addresses of one port",
            nat(HostPrivilege::None),
            format!(
                "{SSH}listen-address = \"10.0.0.1\"\n{}listen-address = \"10.0.0.2\"\n",
                SSH.replace("ssh", "two")
            ),
            &[
                "relay: unpacked [ssh 127.0.0.1]",
                "relay-loopback",
                "relay-loopback",
            ],
        ),
        (
            "no privilege, portproxy: Windows refuses",
            nat(HostPrivilege::None),
            SSH.replace("none", "full") + &backend("portproxy"),
            &["windows: [ssh portproxy]"],
        ),
        (
            "of another version: its rule serves",
            nat(HostPrivilege::Installed)
                .rule_installed(ssh_at("0.0.0.0"))
                .with(|seen| seen.host.facts.installed_relay = None),
            SSH.into(),
            &["windows: [ssh portproxy]"],
        ),
        (
            "sent, and not confirmed: Windows is not asked yet",
            nat(HostPrivilege::Installed)
                .read_back(&[wg_at("0.0.0.0")])
                .with(|seen| seen.host.relay.applied = false),
            WG.into(),
            &["relay: installed [wg 0.0.0.0]"],
        ),
        (
            "no place for the relay",
            nat(HostPrivilege::None).with(|seen| seen.host.facts.local_app_data = None),
            SSH.into(),
            &["relay-failed"],
        ),
        (
            "none: the relay ends",
            nat(HostPrivilege::None)
                .with(|seen| seen.host.relay = relay_at(RelayLocation::Guest, vec![])),
            with("none"),
            &["relay: end"],
        ),
        (
            "in the range that Windows hands out",
            hands_out(None, Some("49152-65535")),
            WG.replace("41820", "51820"),
            &[
                "relay: installed [wg 0.0.0.0 local]",
                "forward-dynamic-range",
            ],
        ),
        (
            "just below it",
            hands_out(None, Some("49152-65535")),
            WG.replace("41820", "49151"),
            &["relay: installed [wg 0.0.0.0 local]"],
        ),
        (
            "in that of the other protocol",
            hands_out(Some("1024-65535"), Some("60000-65535")),
            WG.replace("41820", "51820"),
            &["relay: installed [wg 0.0.0.0 local]"],
        ),
        (
            "Windows has not said its range",
            nat(HostPrivilege::Installed),
            WG.replace("41820", "51820"),
            &["relay: installed [wg 0.0.0.0 local]"],
        ),
    ]);
    // The configuration refuses this; the plan says it all the same.
    let mut settings = settings(WG);
    settings.backend = Backend::Portproxy;
    let seen = nat(HostPrivilege::Installed).seen();
    let plan = machine::planned(&settings, &seen, plan);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.findings[0].code, Code::ForwardNeedsRelay);
}

/// With these dynamic ranges of TCP and UDP.
fn hands_out(tcp: Option<&str>, udp: Option<&str>) -> Machine {
    let range = |text: &str| text.parse().unwrap();
    nat(HostPrivilege::Installed).with(|seen| {
        seen.host.facts.dynamic = DynamicPorts {
            tcp: tcp.map(range),
            udp: udp.map(range),
        };
    })
}

#[test]
fn a_range_that_crosses_into_the_dynamic_one_is_said_with_its_ports() {
    let text = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = \"49100-49200\"\n";
    let seen = hands_out(Some("49152-65535"), None).seen();
    let plan = crate::plan::plan(&settings(text), &seen);
    let found = plan.findings.iter();
    let found = found.filter(|one| one.code == Code::ForwardDynamicRange);
    let found: Vec<String> = found
        .map(|one| format!("{}: {}", one.subject, one.detail))
        .collect();
    assert_eq!(
        found,
        ["web: tcp 49152-49200: Windows hands out 49152-65535"]
    );
}

#[test]
fn a_port_has_one_owner() {
    let relay = SSH.to_owned() + &backend("relay");
    let portproxy = SSH.to_owned() + &backend("portproxy");
    check(vec![
        (
            "to the relay: first the rule goes",
            nat(HostPrivilege::Installed).rule_installed(ssh_at("0.0.0.0")),
            relay.clone(),
            &["windows: []"],
        ),
        (
            "a rule on one address is in the way of all",
            nat(HostPrivilege::Installed).rule_installed(ssh_at("192.168.50.10")),
            relay.clone(),
            &["windows: []"],
        ),
        (
            "then the relay comes",
            nat(HostPrivilege::Installed),
            relay.clone(),
            &["relay: installed [ssh 0.0.0.0 host]"],
        ),
        (
            "rules of an earlier run, not listed yet",
            nat(HostPrivilege::Installed).with(|seen| {
                (seen.host.rules_remain, seen.host.possibly_installed) = (true, None);
            }),
            relay,
            &["windows: []"],
        ),
        (
            "UDP has no rules",
            nat(HostPrivilege::Installed)
                .rule_installed(listen_at(Protocol::Tcp, "0.0.0.0", 41820))
                .with(|seen| seen.host.rules_remain = false),
            WG.into(),
            &["relay: installed [wg 0.0.0.0 local]"],
        ),
        (
            "to the port proxy: first the relay releases it",
            nat(HostPrivilege::Installed)
                .relay_listens(&[ssh_at("127.0.0.1")])
                .with(|seen| {
                    seen.host.relay.wanted = relay_at(RelayLocation::Guest, vec![]).wanted
                }),
            portproxy.clone(),
            &["relay: end"],
        ),
        (
            "then the rule comes",
            nat(HostPrivilege::Installed),
            portproxy,
            &["windows: [ssh portproxy]"],
        ),
        (
            "a rule that cannot be removed keeps its port",
            nat(HostPrivilege::None).rule_installed(ssh_at("0.0.0.0")),
            SSH.into(),
            &["windows: [ssh portproxy]"],
        ),
        (
            "and the relay does not get it",
            nat(HostPrivilege::None).rule_installed(ssh_at("0.0.0.0")),
            SSH.to_owned() + &backend("relay"),
            &["windows: []", "relay-loopback"],
        ),
    ]);
}

#[test]
fn what_is_in_place_is_not_requested() {
    let asked = |machine: &Machine, config: &str| {
        let (mut rules, mut relay) = (None, None);
        for action in planned(machine, config).actions {
            match action {
                Action::SyncForwards(set) => rules = Some(set),
                Action::SyncRelay(_, set) => relay = Some(set),
                other => panic!("{other:?}"),
            }
        }
        (rules, relay)
    };
    let both = format!("{SSH}backend = \"portproxy\"\n{WG}");
    let fresh = nat(HostPrivilege::Installed).read_back(&[wg_at("0.0.0.0")]);
    let (rules, relay) = asked(&fresh, &both);
    let settled = |machine: &Machine| {
        machine.clone().with(|seen| {
            seen.host.settled.clone_from(&rules);
            seen.host.relay.wanted = relay.clone().flatten();
        })
    };
    let done = settled(&fresh);
    assert_eq!(asked(&done, &both), (None, None));
    let moved = |machine: Machine| {
        machine.with(|seen| seen.addresses[0].net = "172.28.30.1/20".parse().unwrap())
    };
    let (rules_then, relay_then) = asked(&moved(done.clone()), &both);
    let address: std::net::Ipv4Addr = "172.28.30.1".parse().unwrap();
    assert_eq!(rules_then.map(|set| set.connect_address), Some(address));
    let connects = relay_then
        .flatten()
        .map(|set| set.forwards[0].1.connect_address);
    assert_eq!(connects, Some(address.into()));
    // Another version in its place is another relay, though its path is the same.
    let upgraded = done
        .clone()
        .with(|seen| seen.host.facts.installed_version = Some("0.2.0".into()));
    assert!(matches!(asked(&upgraded, &both), (None, Some(Some(_)))));
    // What the relay serves is read back.
    let (rules, relay) = asked(&fresh, WG);
    let done = fresh.clone().with(|seen| {
        seen.host.settled = rules;
        seen.host.relay.wanted = relay.flatten();
    });
    assert!(matches!(asked(&moved(done), WG), (Some(_), Some(Some(_)))));
    // The guest's own ports have no address.
    let mirrored = nat(HostPrivilege::Installed).mode(Mode::Mirrored);
    let (rules, _) = asked(&mirrored, WG);
    let done = mirrored.with(|seen| seen.host.settled = rules);
    assert_eq!(asked(&moved(done), WG), (None, None));
    // A listener that failed is tried again, as often as the ledger lets it.
    let (_, relay) = asked(&fresh, WG);
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 10048,
    };
    let failing = fresh.with(|seen| {
        seen.host.relay.wanted = relay.flatten();
        seen.host.relay.failed = [(wg_at("0.0.0.0"), failure)].into();
    });
    assert!(matches!(asked(&failing, WG), (Some(_), Some(Some(_)))));
}
