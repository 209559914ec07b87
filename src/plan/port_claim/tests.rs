use super::*;
use crate::{
    config::settings,
    model::Mode,
    plan::tests::machine::{Machine, name, planned},
};

const SOCKET: u64 = 7;

/// A device on port 9 whose socket is open, with a range such as WSL reserves.
fn machine(mode: Mode, kind: LinkKind) -> Machine {
    let machine = Machine::nat().mode(mode).link("wg0", kind, 1280);
    machine.device("wg0", 9, &[25]).with(|seen| {
        seen.kernel_ports.range = Some((50000, 54095));
        seen.kernel_ports.sockets = [(9, SOCKET), (50000, 8)].into();
    })
}

fn kernel() -> Machine {
    machine(Mode::Mirrored, LinkKind::WireGuard)
}

fn way(machine: &Machine, config: &str) -> Option<PortWay> {
    let seen = machine.seen();
    let device = seen.wireguard.get(&name("wg0")).unwrap().device().unwrap();
    port_way(&settings(config), &seen, &name("wg0"), device)
}

#[test]
fn ways() {
    let claim = || {
        Some(PortWay::Due(PortClaim {
            name: name("wg0"),
            port: 9,
            socket: SOCKET,
        }))
    };
    let at = |port| kernel().device("wg0", port, &[]);
    let consomme = || machine(Mode::Consomme, LinkKind::WireGuard);
    let off = |why| Some(PortWay::Off(why));
    let table = [
        ("mirrored", kernel(), "", claim()),
        ("consomme", consomme(), "", claim()),
        (
            "in the range",
            at(50000),
            "",
            Some(PortWay::Reserved(50000, 54095)),
        ),
        (
            "in the range, switched off",
            at(50000),
            "[wireguard]\nclaim-port = false",
            Some(PortWay::Reserved(50000, 54095)),
        ),
        (
            "in a range that is not WSL's",
            at(50000).with(|seen| seen.kernel_ports.range = Some((32768, 60999))),
            "",
            Some(PortWay::Due(PortClaim {
                name: name("wg0"),
                port: 50000,
                socket: 8,
            })),
        ),
        (
            "consomme reserves no range",
            consomme().device("wg0", 50000, &[]),
            "",
            Some(PortWay::Due(PortClaim {
                name: name("wg0"),
                port: 50000,
                socket: 8,
            })),
        ),
        (
            "range unknown",
            kernel().with(|seen| seen.kernel_ports.range = None),
            "",
            claim(),
        ),
        (
            "claimed",
            kernel().with(|seen| seen.kernel_ports.claimed = [SOCKET].into()),
            "",
            Some(PortWay::Claimed),
        ),
        (
            "another socket was claimed",
            kernel().with(|seen| seen.kernel_ports.claimed = [8].into()),
            "",
            claim(),
        ),
        ("down", at(10), "", Some(PortWay::Closed)),
        (
            "switched off",
            kernel(),
            "[wireguard]\nclaim-port = false",
            off("[wireguard] claim-port = false"),
        ),
        (
            "not named",
            kernel(),
            "[wireguard]\ninterfaces = [\"vpn*\"]",
            off("[wireguard] interfaces does not name it"),
        ),
        (
            "unreadable",
            kernel().with(|seen| seen.kernel_ports.unreadable = Some("EBUSY".into())),
            "",
            Some(PortWay::Unreadable("EBUSY".into())),
        ),
        (
            "userspace",
            machine(Mode::Mirrored, LinkKind::WireGuardUserspace),
            "",
            Some(PortWay::Userspace),
        ),
        (
            "another link",
            machine(Mode::Mirrored, LinkKind::Other),
            "",
            None,
        ),
        ("NAT", machine(Mode::Nat, LinkKind::WireGuard), "", None),
        (
            "bridged",
            machine(Mode::Bridged, LinkKind::WireGuard),
            "",
            None,
        ),
        ("none", machine(Mode::None, LinkKind::WireGuard), "", None),
        (
            "not WSL",
            machine(Mode::NotWsl, LinkKind::WireGuard),
            "",
            None,
        ),
        (
            "mode unknown",
            kernel().with(|seen| seen.mode = crate::model::ModeState::Pending),
            "",
            None,
        ),
    ];
    for (case, machine, config, expected) in table {
        assert_eq!(way(&machine, config), expected, "{case}");
    }
}

#[test]
fn one_action_until_it_is_claimed() {
    let plan_of = |machine: &Machine| planned(&settings(""), &machine.seen(), plan);
    let first = plan_of(&kernel());
    let [action] = first.actions.as_slice() else {
        panic!("{first:?}")
    };
    assert_eq!(action.to_string(), "claim UDP port 9 of wg0 from Windows");
    assert_eq!(action.key(), "wg0 port");
    let claimed = kernel().with(|seen| seen.kernel_ports.claimed = [SOCKET].into());
    assert_eq!(plan_of(&claimed), plan_of(&Machine::nat()));
}

#[test]
fn sockets_that_cannot_be_read() {
    let machine = kernel().with(|seen| seen.kernel_ports.unreadable = Some("EBUSY".into()));
    let codes = |config: &str| -> Vec<Code> {
        let plan = planned(&settings(config), &machine.seen(), plan);
        assert!(plan.actions.is_empty());
        plan.findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(""), [Code::WireguardPortUnclaimed]);
    assert_eq!(codes("[wireguard]\nclaim-port = false"), []);
}
