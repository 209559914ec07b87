use super::*;

#[test]
fn names_are_systemds() {
    let long = "a".repeat(248);
    let table = [
        ("nginx", Ok("nginx.service")),
        ("nginx.service", Ok("nginx.service")),
        ("wg-quick@wg0", Ok("wg-quick@wg0.service")),
        ("a.b", Ok("a.b.service")),
        ("mesh.target", Ok("mesh.target")),
        (
            "dev-disk-by\\x2dlabel-x.swap",
            Ok("dev-disk-by\\x2dlabel-x.swap"),
        ),
        ("a@b@c.timer", Ok("a@b@c.timer")),
        ("", Err("something before its suffix")),
        (".service", Err("something before its suffix")),
        ("@x.service", Err("before the @")),
        ("wg-quick@.service", Err("name the instance")),
        ("wg-quick@", Err("name the instance")),
        ("a b", Err("letters, digits")),
        ("a/b", Err("systemd-escape")),
        ("é", Err("letters, digits")),
        ("a;b", Err("letters, digits")),
        ("a\n", Err("letters, digits")),
        ("*", Err("letters, digits")),
        (long.as_str(), Err("255")),
    ];
    for (text, expected) in table {
        match (UnitName::parse(text), expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name.as_str(), expected),
            (Err(why), Err(part)) => assert!(why.contains(part), "{text:?}: {why}"),
            (got, _) => panic!("{text:?}: {got:?}"),
        }
    }
    assert!(UnitName::parse(&"a".repeat(247)).is_ok());
}

#[test]
fn a_change_of_a_tunnel_in_words() {
    let ip = FactKey::MeshIpTailscale;
    for (key, old, new, expected) in [
        (
            ip,
            "",
            "100.64.0.9",
            "address 100.64.0.9 (MESH_IP_TAILSCALE)",
        ),
        (
            ip,
            "100.64.0.9",
            "",
            "address 100.64.0.9 is lost (MESH_IP_TAILSCALE)",
        ),
        (
            FactKey::MeshPortWireguard,
            "51820",
            "51999",
            "port 51820 -> 51999 (MESH_PORT_WIREGUARD)",
        ),
    ] {
        let change = MeshChange {
            interface: "ts0".to_owned(),
            key,
            old: old.to_owned(),
            new: new.to_owned(),
        };
        assert_eq!(change.to_string(), format!("tunnel ts0: {expected}"));
    }
}

#[test]
fn what_makes_tunnels_follows_the_address_alone() {
    let both = Follows {
        address: true,
        mesh: true,
    };
    for (unit, mesh) in [
        ("wg-quick@wg0", false),
        ("wg-quick.target", false),
        ("tailscaled", false),
        ("wg-quick", true),
        ("nginx", true),
    ] {
        let dependent = Dependent {
            unit: UnitName::parse(unit).unwrap(),
            action: UnitAction::Restart,
            on: None,
        };
        let follows = dependent.follows(both);
        assert_eq!((follows.address, follows.mesh), (true, mesh), "{unit}");
        assert!(!dependent.follows(Follows::ADDRESS).mesh);
    }
}
