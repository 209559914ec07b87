use super::*;
use crate::{
    config::settings,
    model::{LinkKind, NetworkFile, Peer},
    plan::tests::machine::Machine,
};

const NOW: u64 = 1_790_000_000;

/// wg0 with one peer that has an endpoint.
fn machine(handshake: Option<u64>) -> Machine {
    Machine::nat()
        .link("wg0", LinkKind::WireGuard, 1280)
        .address("wg0", "10.9.0.1/24")
        .link("tailscale0", LinkKind::Tun, 1280)
        .with(|seen| {
            let peer = Peer {
                endpoint: Some("192.0.2.7:51820".parse().unwrap()),
                handshake,
                ..Peer::default()
            };
            let device = Device {
                peers: [(PublicKey::new([1; 32]), peer)].into(),
                ..Device::default()
            };
            let name = InterfaceName::new("wg0").unwrap();
            seen.wireguard.insert(name, DeviceReading::Device(device));
        })
}

fn judged(machine: &Machine, names: &[&str], file: bool) -> Online {
    let names = names.iter().map(|name| InterfaceName::new(name).unwrap());
    let names: Vec<InterfaceName> = names.collect();
    online(&settings(""), &names, file, &machine.seen(), NOW)
}

fn of(machine: Machine, name: &str) -> Result<String, String> {
    judged(&machine, &[name], false).tunnels.remove(0).1
}

fn without_endpoint(machine: Machine) -> Machine {
    machine.with(|seen| {
        for reading in seen.wireguard.values_mut() {
            if let DeviceReading::Device(device) = reading {
                device
                    .peers
                    .values_mut()
                    .for_each(|peer| peer.endpoint = None);
            }
        }
    })
}

#[test]
fn a_tunnel_is_usable_once_a_peer_answers() {
    let fresh = || machine(Some(NOW - 179));
    let link = |change: fn(&mut Link)| {
        fresh().with(|seen| {
            let mut links = seen.links.iter_mut();
            change(links.find(|link| link.name.as_str() == "wg0").unwrap());
        })
    };
    for (what, machine, expected) in [
        ("fresh", fresh(), Ok("10.9.0.1, handshake 179 s ago")),
        (
            "stale",
            machine(Some(NOW - 180)),
            Err("no peer answers, last handshake 180 s ago"),
        ),
        (
            "never",
            machine(None),
            Err("no peer has answered yet: 192.0.2.7:51820"),
        ),
        (
            "clock set back",
            machine(Some(NOW + 60)),
            Err("no peer answers since the clock was set back"),
        ),
        (
            "a hub",
            without_endpoint(machine(None)),
            Ok("10.9.0.1, waits for its peers"),
        ),
        (
            "down",
            link(|link| link.up = false),
            Err("the interface is not up"),
        ),
        (
            "another name",
            link(|link| link.name = InterfaceName::new("wg7").unwrap()),
            Err("there is no such interface"),
        ),
        (
            "no address",
            fresh().with(|seen| seen.addresses.truncate(1)),
            Err("the interface has no address"),
        ),
        (
            "unreadable",
            fresh().with(|seen| {
                let why = DeviceReading::Unreadable("wg0: cannot read it".to_owned());
                seen.wireguard
                    .values_mut()
                    .for_each(|one| *one = why.clone());
            }),
            Err("wg0: cannot read it"),
        ),
        (
            "not read",
            fresh().with(|seen| seen.wireguard.clear()),
            Err("its peers are not known"),
        ),
    ] {
        let found = of(machine, "wg0");
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_tunnel_without_peers_needs_an_address() {
    let down = of(machine(None), "tailscale0");
    assert_eq!(down, Err("the interface has no address".to_owned()));
    let up = machine(None).address("tailscale0", "100.64.0.9/32");
    assert_eq!(of(up, "tailscale0"), Ok("100.64.0.9".to_owned()));
}

#[test]
fn all_or_any_of_the_tunnels() {
    let both = ["wg0", "tailscale0"];
    let wg0 = judged(&machine(Some(NOW)), &both, false);
    assert!(!wg0.is_reached(false) && wg0.is_reached(true), "{wg0:?}");
    let none = judged(&machine(None), &both, false);
    assert!(
        !none.is_reached(false) && !none.is_reached(true),
        "{none:?}"
    );
    let alone = judged(&machine(None), &[], false);
    assert!(
        alone.is_reached(false) && alone.is_reached(true),
        "{alone:?}"
    );
}

#[test]
fn without_an_address_nothing_is_reached() {
    let offline = machine(Some(NOW)).with(|seen| {
        let eth0 = seen.links.iter().find(|link| link.name.as_str() == "eth0");
        let index = eth0.unwrap().index;
        seen.addresses.retain(|address| address.link != index);
    });
    let online = judged(&offline, &["wg0"], false);
    assert_eq!(online.node, Err("eth0 has no address".to_owned()));
    assert!(!online.is_reached(true));
}

#[test]
fn the_file_has_to_have_the_addresses() {
    let machine = machine(Some(NOW));
    let stale = judged(&machine, &["wg0"], true);
    let why = "/etc/wslmesh/wsl-network.conf is not up to date yet";
    assert_eq!(stale.node, Err(why.to_owned()));
    let written = |text: &str| {
        let text = text.to_owned();
        let machine = machine.clone();
        machine.with(move |seen| seen.network_file = NetworkFile::Content(text.into()))
    };
    // What else is old, such as PRIMARY_DNS, delays nothing.
    let current = written("WSL_IP=\"172.28.16.5\"\nMESH_IP_WIREGUARD=\"10.9.0.1\"\n");
    assert_eq!(
        judged(&current, &["wg0"], true).node,
        Ok("eth0 172.28.16.5".to_owned())
    );
    let old = written("WSL_IP=\"172.28.16.5\"\n");
    assert!(judged(&old, &["wg0"], true).node.is_err());
    assert!(judged(&old, &["wg0"], false).node.is_ok());
}

#[test]
fn silent_peers_have_an_endpoint() {
    let of = |handshake| {
        let seen = machine(handshake).seen();
        let device = seen.wireguard.values().next().unwrap().device();
        silent_peers(device.unwrap(), NOW).len()
    };
    assert_eq!([of(None), of(Some(NOW - 200)), of(Some(NOW))], [1, 1, 0]);
}
