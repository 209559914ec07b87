use super::*;

/// A network with IPv6 alone.
fn ipv6(addresses: &[&str]) -> Machine {
    let machine = Machine::new()
        .link("eth0", LinkKind::Other, 1500)
        .route("eth0", "fe80::1", 1024);
    let add = |machine: Machine, net: &&str| machine.address("eth0", net);
    addresses.iter().fold(machine, add)
}

/// The same machine with its last address in this state.
fn last(machine: Machine, change: impl FnMut(&mut Address)) -> Machine {
    machine.with(|seen| seen.addresses.last_mut().into_iter().for_each(change))
}

#[test]
fn ipv6_is_the_node_where_there_is_no_usable_ipv4() {
    let one = || ipv6(&["2001:db8::5/64"]);
    let table: Vec<(&str, Machine, Result<&str, &str>)> = vec![
        ("alone", one(), Ok("eth0 2001:db8::5/64 via Some(fe80::1)")),
        (
            "IPv4 comes first",
            one()
                .address("eth0", "192.168.1.9/24")
                .route("eth0", "192.168.1.1", 9000),
            Ok("eth0 192.168.1.9/24 via Some(192.168.1.1)"),
        ),
        (
            "IPv4 without a route",
            one().address("eth0", "192.168.1.9/24"),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
        (
            "IPv4 without DHCP",
            one()
                .address("eth0", "169.254.7.7/16")
                .route("eth0", "169.254.0.1", 0),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
        (
            "IPv4 of a container engine only",
            one()
                .link("docker0", LinkKind::Virtual, 1500)
                .address("docker0", "172.17.0.1/16"),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
        (
            "IPv4 through a tunnel only",
            one()
                .link("wg0", LinkKind::WireGuard, 1420)
                .address("wg0", "10.0.0.2/24")
                .direct("wg0", 0),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
        (
            "a tunnel's address is none",
            one()
                .link("wg0", LinkKind::WireGuard, 1420)
                .address("wg0", "fd00:1::2/64")
                .route("wg0", "fd00:1::1", 0),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
        (
            "one address of DHCPv6",
            ipv6(&["2001:db8::77/128"]),
            Ok("eth0 2001:db8::77/128 via Some(fe80::1)"),
        ),
        (
            "an IPv6 router is none of IPv4's",
            one().with(|seen| seen.routes[0].ipv6 = false),
            Err(
                "eth0 has no usable address: 2001:db8::5/64 is without a default route of its protocol",
            ),
        ),
        (
            "link-local alone",
            last(ipv6(&["fe80::5/64"]), |one| one.global = false),
            Err("eth0 has no usable address: fe80::5/64 is link-local"),
        ),
        (
            "duplicate address detection in progress",
            last(one(), |one| one.state = AddressState::Tentative),
            Err(
                "eth0 has no usable address: 2001:db8::5/64 is still being checked for a duplicate",
            ),
        ),
        (
            "a temporary address is ready before the one that stays",
            last(
                last(one(), |one| one.secondary = true).address("eth0", "2001:db8::7/64"),
                |one| one.state = AddressState::Tentative,
            ),
            Err(
                "eth0 has no usable address: 2001:db8::5/64 is temporary, 2001:db8::7/64 is still being checked for a duplicate",
            ),
        ),
        (
            "a second address is being checked",
            last(one().address("eth0", "2001:db8::7/64"), |one| {
                one.state = AddressState::Tentative;
            }),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
        (
            "a duplicate",
            last(one(), |one| one.state = AddressState::Duplicate),
            Err("eth0 has no usable address: 2001:db8::5/64 is a duplicate of another machine's"),
        ),
        (
            "deprecated",
            last(one(), |one| one.state = AddressState::Deprecated),
            Err("eth0 has no usable address: 2001:db8::5/64 is deprecated"),
        ),
        ("nothing yet", ipv6(&[]), Err("eth0 has no address")),
        (
            "a router without an address yet beside one that has it",
            one()
                .link("eth1", LinkKind::Other, 1500)
                .route("eth1", "fe80::2", 1),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
        (
            "Tailscale on Windows, in mirrored mode",
            one()
                .link("eth1", LinkKind::Other, 1280)
                .address("eth1", "fd7a:115c:a1e0::7/128")
                .route("eth1", "fe80::2", 1),
            Ok("eth0 2001:db8::5/64 via Some(fe80::1)"),
        ),
    ];
    for (case, machine, expected) in table {
        let found = select(&Interface::Auto, &machine.seen())
            .map(|node| format!("{} {} via {:?}", node.link.name, node.net, node.gateway))
            .map_err(|finding| finding.detail);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(found, expected, "{case}");
    }
    // A named interface needs no route.
    let named = Interface::Named(crate::model::InterfaceName::new("eth0").unwrap());
    let machine = one().with(|seen| seen.routes.clear());
    let found = address(&machine, &named);
    assert_eq!(found, Ok("eth0 2001:db8::5/64 via None".to_owned()));
}

#[test]
fn of_several_ipv6_addresses_the_one_that_stays() {
    let temporary = |machine: Machine| last(machine, |one| one.secondary = true);
    let add = |machine: Machine, net: &str| machine.address("eth0", net);
    let created = |machine: Machine, at| last(machine, |one| one.created = at);
    let deprecated = |machine: Machine| last(machine, |one| one.state = AddressState::Deprecated);
    // The kernel has the newest first.
    let rotated = |machine: Machine, net: &str| temporary(add(machine, net));
    let start = || created(ipv6(&["2001:db8::5/64"]), 100);
    for (case, machine, expected) in [
        (
            "a temporary one is passed over, though it is first",
            add(temporary(ipv6(&["2001:db8::ab/64"])), "2001:db8::5/64"),
            "2001:db8::5/64",
        ),
        (
            "the next temporary one, and the one before it",
            rotated(
                deprecated(rotated(start(), "2001:db8::1/64")),
                "2001:db8::2/64",
            ),
            "2001:db8::5/64",
        ),
        (
            "nothing but a temporary one",
            temporary(ipv6(&["2001:db8::ab/64"])),
            "2001:db8::ab/64",
        ),
        (
            "a local network's address and a global one",
            ipv6(&["fd00::5/64", "2001:db8::5/64"]),
            "2001:db8::5/64",
        ),
        (
            "a new one beside it changes nothing, whatever its place",
            created(add(start(), "2001:db8::1/64"), 900).with(|seen| seen.addresses.reverse()),
            "2001:db8::5/64",
        ),
        (
            "nor does one that sorts behind it",
            created(add(start(), "2001:db8::9/64"), 900),
            "2001:db8::5/64",
        ),
        (
            "of the same moment the lower one, in either order",
            created(add(start(), "2001:db8::1/64"), 100),
            "2001:db8::1/64",
        ),
        (
            "the other order",
            created(add(start(), "2001:db8::1/64"), 100).with(|seen| seen.addresses.reverse()),
            "2001:db8::1/64",
        ),
        (
            "the network was renumbered",
            created(add(deprecated(start()), "2001:db8:1::5/64"), 900),
            "2001:db8:1::5/64",
        ),
        (
            "the route's source beats everything",
            temporary(add(start(), "2001:db8::9/64")).with(|seen| {
                seen.routes[0].source = Some("2001:db8::9".parse().unwrap());
            }),
            "2001:db8::9/64",
        ),
    ] {
        let node = select(&Interface::Auto, &machine.seen()).unwrap();
        assert_eq!(node.net.to_string(), expected, "{case}");
    }
    // Two routers, in either order.
    for reverse in [false, true] {
        let machine = start().route("eth0", "fe80::9", 1024).with(|seen| {
            if reverse {
                seen.routes.reverse();
            }
        });
        let node = select(&Interface::Auto, &machine.seen()).unwrap();
        assert_eq!(node.gateway, Some("fe80::1".parse().unwrap()), "{reverse}");
    }
}

#[test]
fn an_ipv6_gateway_behind_a_tunnel_is_found() {
    let machine = ipv6(&["2001:db8::5/64"])
        .link("wg0", LinkKind::WireGuard, 1420)
        .with(|seen| {
            seen.routes[0].gateway = Some("2001:db8::1".parse().unwrap());
            seen.routes[0].towards_gateway = Some(2);
        });
    let plan = crate::plan::tests::machine::planned(
        &Settings::default(),
        &machine.seen(),
        |_, seen, all| plan(seen, all),
    );
    let found: Vec<&str> = plan.findings.iter().map(|one| &*one.detail).collect();
    let expected = "packets to the gateway 2001:db8::1 leave by wg0 and not by eth0";
    assert_eq!(found, [expected]);
}
