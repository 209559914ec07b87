use super::*;

#[test]
fn guid_is_the_vmbus_device() {
    const GUID: &str = "ebfda100-7464-4629-9da5-12de5470cb4f";
    let bus = "../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00";
    for (path, found) in [
        (format!("{bus}/{GUID}/net/eth0"), true),
        (format!("{bus}/{}/net/eth0", GUID.to_uppercase()), true),
        (
            format!("{bus}/{GUID}/pci0001:00/0001:00:00.0/virtio1/net/eth0"),
            true,
        ),
        (format!("{bus}/{GUID}/net/_wlan0/net/wlan0"), true),
        ("../../devices/virtual/net/docker0".to_owned(), false),
        ("eth0".to_owned(), false),
    ] {
        let guid = guid_in(Path::new(&path));
        assert_eq!(guid.as_deref(), found.then_some(GUID), "{path}");
    }
}

#[test]
fn ipv6_routes_are_read_where_ipv4_may_be_missing() {
    let name = |text: &str| InterfaceName::new(text).unwrap();
    let link = |index, text: &str, kind| Link {
        index,
        name: name(text),
        kind,
        up: true,
        carrier: true,
        mtu: 1500,
        guid: None,
    };
    let links = [
        link(1, "lo", LinkKind::Loopback),
        link(2, "eth0", LinkKind::Other),
        link(3, "wg0", LinkKind::WireGuard),
    ];
    let address = |link, net: &str| Address {
        link,
        net: net.parse().unwrap(),
        global: true,
        secondary: false,
        state: Default::default(),
        created: 0,
    };
    let route = |link| DefaultRoute {
        ipv6: false,
        link,
        gateway: None,
        source: None,
        metric: 0,
        towards_gateway: None,
    };
    let auto = Interface::Auto;
    let eth0 = Interface::Named(name("eth0"));
    let eth9 = Interface::Named(name("eth9"));
    let ipv4 = [address(2, "172.28.16.5/20"), address(2, "2001:db8::5/64")];
    let lo = [address(1, "10.255.255.254/32"), address(3, "10.0.0.2/24")];
    let ipv6 = [address(2, "169.254.7.7/16"), address(2, "2001:db8::5/64")];
    for (case, interface, addresses, routes, expected) in [
        ("IPv4", &auto, &ipv4, vec![route(2)], true),
        ("no route", &auto, &ipv4, vec![], false),
        ("a tunnel's route", &auto, &ipv4, vec![route(3)], false),
        ("not of the node", &auto, &lo, vec![route(2)], false),
        ("a tunnel's address", &auto, &lo, vec![route(3)], false),
        ("link-local", &auto, &ipv6, vec![route(2)], false),
        ("named", &eth0, &ipv4, vec![], true),
        ("named, and IPv6 alone", &eth0, &ipv6, vec![route(2)], false),
        ("named, and not there", &eth9, &ipv4, vec![route(2)], false),
    ] {
        let found = has_ipv4(interface, &links, addresses, &routes);
        assert_eq!(found, expected, "{case}");
    }
}
