use super::*;
use crate::plan::tests::machine::Machine;

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
            "IPv6 alone is no address here",
            wsl()
                .address("eth0", "fd00::5/64")
                .route("eth0", "172.28.16.1", 0),
            Interface::Auto,
            Err(Code::NoAddress),
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
