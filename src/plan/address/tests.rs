use super::*;
use crate::{config::Settings, plan::tests::machine::Machine};

mod ipv6;

fn address(machine: &Machine, interface: &Interface) -> Result<String, Code> {
    select(interface, &machine.seen())
        .map(|node| format!("{} {} via {:?}", node.link.name, node.net, node.gateway))
        .map_err(|finding| finding.code)
}

#[test]
fn picks_the_address_windows_knows() {
    let named = |name: &str| Interface::Named(crate::model::InterfaceName::new(name).unwrap());
    let wsl = || {
        Machine::new()
            .link("lo", LinkKind::Loopback, 65536)
            .address("lo", "10.255.255.254/32")
            .link("eth0", LinkKind::Other, 1500)
    };
    let table: Vec<(&str, Machine, Interface, Result<&str, Code>)> = vec![
        (
            "plain NAT, DNS tunnelling's address on lo ignored",
            wsl()
                .address("eth0", "172.28.16.5/20")
                .route("eth0", "172.28.16.1", 0),
            Interface::Auto,
            Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
        ),
        (
            "no route yet",
            wsl().address("eth0", "172.28.16.5/20"),
            Interface::Auto,
            Err(Code::NoInterface),
        ),
        (
            "route without address",
            wsl().route("eth0", "172.28.16.1", 0),
            Interface::Auto,
            Err(Code::NoAddress),
        ),
        (
            "an exit node's default route is not the underlay",
            wsl()
                .address("eth0", "172.28.16.5/20")
                .route("eth0", "172.28.16.1", 100)
                .link("wg0", LinkKind::WireGuard, 1420)
                .address("wg0", "10.0.0.2/24")
                .route("wg0", "10.0.0.1", 0),
            Interface::Auto,
            Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
        ),
        (
            "the lowest metric wins",
            wsl()
                .address("eth0", "192.168.1.9/24")
                .route("eth0", "192.168.1.1", 25)
                .link("eth1", LinkKind::Other, 1500)
                .address("eth1", "10.1.1.9/24")
                .route("eth1", "10.1.1.1", 20),
            Interface::Auto,
            Ok("eth1 10.1.1.9/24 via Some(10.1.1.1)"),
        ),
        (
            "a second address in the gateway's subnet beats an earlier stranger",
            wsl()
                .address("eth0", "10.9.9.9/24")
                .address("eth0", "172.28.16.5/20")
                .route("eth0", "172.28.16.1", 0),
            Interface::Auto,
            Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
        ),
        (
            "the route's source beats everything",
            wsl()
                .address("eth0", "172.28.16.5/20")
                .secondary("eth0", "172.28.16.6/20")
                .route_from("eth0", "172.28.16.1", "172.28.16.6"),
            Interface::Auto,
            Ok("eth0 172.28.16.6/20 via Some(172.28.16.1)"),
        ),
        (
            "a secondary address only comes after the first",
            wsl()
                .secondary("eth0", "172.28.16.6/20")
                .address("eth0", "172.28.16.5/20")
                .route("eth0", "172.28.16.1", 0),
            Interface::Auto,
            Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
        ),
        (
            "a named interface needs no route",
            wsl().address("eth0", "172.28.16.5/20"),
            named("eth0"),
            Ok("eth0 172.28.16.5/20 via None"),
        ),
        (
            "a named interface that was removed",
            wsl(),
            named("eth7"),
            Err(Code::NoInterface),
        ),
        (
            "a Windows InterfaceGuid",
            wsl()
                .guid("eth0", "6b29fc40-ca47-1067-b31d-00dd010662da")
                .address("eth0", "10.0.0.1/8"),
            Interface::Guid("6b29fc40-ca47-1067-b31d-00dd010662da".into()),
            Ok("eth0 10.0.0.1/8 via None"),
        ),
        (
            "an IPv6 address without a router is none",
            wsl()
                .address("eth0", "fd00::5/64")
                .route("eth0", "172.28.16.1", 0),
            Interface::Auto,
            Err(Code::NoAddress),
        ),
        (
            "a link-local address is none",
            wsl()
                .address("eth0", "169.254.7.7/16")
                .route("eth0", "169.254.254.1", 0),
            Interface::Auto,
            Err(Code::NoAddress),
        ),
        (
            "a link-local address beside a real one",
            wsl()
                .address("eth0", "169.254.7.7/16")
                .address("eth0", "192.168.1.9/24")
                .route("eth0", "169.254.254.1", 0),
            Interface::Auto,
            Ok("eth0 192.168.1.9/24 via Some(169.254.254.1)"),
        ),
        (
            "of two links with one GUID the one without _",
            wsl()
                .link("_wlan0", LinkKind::Other, 1500)
                .guid("_wlan0", "6b29fc40-ca47-1067-b31d-00dd010662da")
                .link("wlan0", LinkKind::Other, 1500)
                .guid("wlan0", "6b29fc40-ca47-1067-b31d-00dd010662da")
                .address("wlan0", "10.0.0.1/8"),
            Interface::Guid("6b29fc40-ca47-1067-b31d-00dd010662da".into()),
            Ok("wlan0 10.0.0.1/8 via None"),
        ),
    ];
    for (case, machine, interface, expected) in table {
        assert_eq!(
            address(&machine, &interface),
            expected.map(str::to_owned),
            "{case}"
        );
    }
}

/// The chosen interface and why, or why there is none.
fn choice(machine: &Machine) -> String {
    match select(&Interface::Auto, &machine.seen()) {
        Ok(node) => format!("{}: {}", node.link.name, node.reason.unwrap_or_default()),
        Err(finding) => finding.detail,
    }
}

#[test]
fn better_interfaces_win_and_the_choice_is_explained() {
    let nat = Machine::nat;
    let lan = || {
        Machine::new()
            .link("eth0", LinkKind::Other, 1500)
            .address("eth0", "192.168.50.23/24")
            .route("eth0", "192.168.50.1", 25)
            .link("eth2", LinkKind::Other, 9000)
    };
    for (case, machine, expected) in [
        ("one", nat(), "eth0: "),
        (
            "a proxy's TUN on Windows, in mirrored mode",
            lan().address("eth2", "198.18.0.1/30").direct("eth2", 0),
            "eth0: eth2 has the better default route, but it looks like a VPN adapter with its address 198.18.0.1/30",
        ),
        (
            "Tailscale on Windows",
            lan().address("eth2", "100.101.7.9/32").direct("eth2", 5),
            "eth0: eth2 has the better default route, but it looks like a VPN adapter with its address 100.101.7.9/32",
        ),
        (
            "a VPN without a gateway",
            lan().address("eth2", "10.8.0.6/24").direct("eth2", 1),
            "eth0: eth2 has the better default route, but it has no gateway",
        ),
        (
            "a VPN with a gateway and a private address is not recognised: the choice is explained",
            lan()
                .address("eth2", "10.8.0.6/24")
                .route("eth2", "10.8.0.1", 1),
            "eth2: its default route has metric 1, and that of eth0 has 25",
        ),
        (
            "two of the same metric",
            lan()
                .address("eth2", "10.8.0.6/24")
                .route("eth2", "10.8.0.1", 25),
            "eth0: eth2 has a default route of the same metric 25, and the first by name is taken",
        ),
        (
            "a worse one is not mentioned",
            lan().address("eth2", "198.18.0.1/30").direct("eth2", 9000),
            "eth0: ",
        ),
        (
            "nothing but a VPN",
            Machine::new()
                .link("eth2", LinkKind::Other, 1500)
                .address("eth2", "100.101.7.9/32")
                .direct("eth2", 5),
            "eth2: eth2 looks like a VPN adapter with its address 100.101.7.9/32, but no better one has a default route",
        ),
        (
            "a home router in shared address space",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .address("eth0", "100.64.1.9/24")
                .route("eth0", "100.64.1.1", 5),
            "eth0: eth0 looks like a VPN adapter with its address 100.64.1.9/24, but no better one has a default route",
        ),
        (
            "no router yet",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .address("eth0", "fd00::5/64"),
            "there is no default route in the main table",
        ),
        (
            "IPv6 beside IPv4 without a route",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .address("eth0", "fd00::5/64")
                .address("eth0", "169.254.7.7/16"),
            "there is no default route in the main table",
        ),
        (
            "docker0 first",
            Machine::new()
                .link("docker0", LinkKind::Virtual, 1500)
                .address("docker0", "172.17.0.1/16")
                .route("docker0", "172.17.0.9", 0)
                .link("eth0", LinkKind::Other, 1500)
                .address("eth0", "172.28.16.5/20")
                .route("eth0", "172.28.16.1", 0),
            "eth0: docker0 has the better default route, but it is a virtual interface",
        ),
        (
            "a bridge above eth0 is the only one with an address",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .link("br0", LinkKind::Virtual, 1500)
                .address("br0", "192.168.1.9/24")
                .route("br0", "192.168.1.1", 0),
            "br0: br0 is a virtual interface, but no better one has a default route",
        ),
        (
            "an interface that lost its address",
            lan()
                .route("eth2", "10.1.1.1", 5)
                .address("eth2", "169.254.3.3/16"),
            "eth0: eth2 has the better default route, but it has no usable IPv4 address",
        ),
        (
            "the default route leads through a tunnel",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .address("eth0", "172.28.16.5/20")
                .link("docker0", LinkKind::Virtual, 1500)
                .address("docker0", "172.17.0.1/16")
                .link("wg0", LinkKind::WireGuard, 1420)
                .direct("wg0", 0),
            "eth0: the IPv4 default route leads through wg0, and below it no other interface has an address",
        ),
        (
            "wsl-vpnkit's tap",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .address("eth0", "172.28.16.5/20")
                .link("wsltap", LinkKind::Tun, 1500)
                .address("wsltap", "192.168.127.2/24")
                .route("wsltap", "192.168.127.1", 0),
            "eth0: the IPv4 default route leads through wsltap, and below it no other interface has an address",
        ),
        (
            "a tunnel and nothing below it",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .link("wg0", LinkKind::WireGuard, 1420)
                .direct("wg0", 0),
            "the only IPv4 default route leads through wg0, and no other interface has an address",
        ),
        (
            "a tunnel and two below it",
            lan()
                .with(|seen| seen.routes.clear())
                .address("eth2", "10.1.1.9/24")
                .link("wg0", LinkKind::WireGuard, 1420)
                .direct("wg0", 0),
            "the only IPv4 default route leads through wg0, and several interfaces have an address: name one as interface in the section [network] of the configuration",
        ),
        (
            "no address but a link-local one",
            Machine::new()
                .link("eth0", LinkKind::Other, 1500)
                .address("eth0", "169.254.7.7/16")
                .direct("eth0", 0),
            "eth0 has no usable address: 169.254.7.7/16 is link-local",
        ),
    ] {
        assert_eq!(choice(&machine), expected, "{case}");
    }
}

#[test]
fn a_gateway_behind_a_tunnel_is_found() {
    let machine = |by: Option<u32>| {
        Machine::nat()
            .link("tailscale0", LinkKind::Tun, 1280)
            .with(|seen| seen.routes[0].towards_gateway = by)
    };
    for (by, found) in [
        (None, None),
        (Some(1), None),
        (Some(9), None),
        (
            Some(2),
            Some("packets to the gateway 172.28.16.1 leave by tailscale0 and not by eth0"),
        ),
    ] {
        let plan = crate::plan::tests::machine::planned(
            &Settings::default(),
            &machine(by).seen(),
            |_, seen, all| plan(seen, all),
        );
        let details: Vec<&str> = plan
            .findings
            .iter()
            .map(|one| one.detail.as_str())
            .collect();
        assert_eq!(details, Vec::from_iter(found), "{by:?}");
    }
}
