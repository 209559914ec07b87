use super::*;
use crate::model::{FactKey, Mode};

fn change(key: FactKey, interface: &str, new: &str) -> Change {
    Change {
        key,
        interface: interface.to_owned(),
        old: String::new(),
        new: new.to_owned(),
        known: Default::default(),
    }
}

#[test]
fn unknown_facts_are_marked_as_such() {
    let change = change(FactKey::WslIp, "eth0", "172.28.27.77");
    assert_eq!(
        environment(&change, "172.28.16.5", &ModeState::Pending, None),
        [
            "WSLMESH_EVENT=address-changed",
            "WSLMESH_INTERFACE=eth0",
            "WSLMESH_ADDRESS_OLD=172.28.16.5",
            "WSLMESH_ADDRESS_NEW=172.28.27.77",
            "WSLMESH_MODE=unknown",
            "WSLMESH_GATEWAY=",
        ]
    );
}

#[test]
fn ipv6_has_no_brackets() {
    let change = change(FactKey::WslIp, "eth0", "2001:db8::5");
    let gateway = Some("fe80::1".parse().unwrap());
    let environment = environment(&change, "2001:db8::4", &ModeState::Pending, gateway);
    assert_eq!(environment[5], "WSLMESH_GATEWAY=fe80::1");
}

#[test]
fn a_lost_tunnel_has_no_new_value() {
    let change = change(FactKey::MeshIpWireguard, "wg0", "");
    let mode = ModeState::Known(Mode::Nat);
    assert_eq!(
        environment(&change, "10.9.0.1", &mode, None),
        [
            "WSLMESH_EVENT=mesh-changed",
            "WSLMESH_INTERFACE=wg0",
            "WSLMESH_KEY=MESH_IP_WIREGUARD",
            "WSLMESH_OLD=10.9.0.1",
            "WSLMESH_NEW=",
            "WSLMESH_MODE=nat",
        ]
    );
}
