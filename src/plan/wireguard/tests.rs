use super::*;
use crate::{
    config::settings,
    model::LinkKind,
    plan::tests::machine::{Machine, name, peer, planned},
};

#[test]
fn only_peers_without_one() {
    let machine = Machine::nat()
        .link("wg0", LinkKind::WireGuard, 1420)
        .device("wg0", 51820, &[0, 10, 0, 25]);
    let plan = planned(&settings(""), &machine.seen(), plan);
    let expected = Action::SetKeepalive(KeepaliveChange {
        index: 2,
        name: name("wg0"),
        kind: LinkKind::WireGuard,
        peers: vec![peer(0), peer(2)],
        seconds: 25,
    });
    assert_eq!(plan.actions, [expected]);
}

#[test]
fn cases_with_nothing_to_do() {
    let wg = || Machine::nat().link("wg0", LinkKind::WireGuard, 1280);
    let table = [
        ("all set", wg().device("wg0", 1, &[25, 3]), "", None),
        (
            "switched off",
            wg().device("wg0", 1, &[0]),
            "[wireguard]\nkeepalive = 0",
            None,
        ),
        ("no peers", wg().device("wg0", 1, &[]), "", None),
        (
            "the name is another kind of link now",
            Machine::nat()
                .link("wg0", LinkKind::Other, 1500)
                .device("wg0", 1, &[0]),
            "",
            None,
        ),
        (
            "the link was removed",
            Machine::nat().device("wg0", 1, &[0]),
            "",
            None,
        ),
        (
            "wg-quick at work",
            wg().with(|seen| {
                drop(
                    seen.wireguard
                        .insert(name("wg0"), DeviceReading::Busy("x".into())),
                )
            }),
            "",
            Some(Code::WireguardBusy),
        ),
        (
            "hanging",
            wg().with(|seen| {
                drop(
                    seen.wireguard
                        .insert(name("wg0"), DeviceReading::Unreadable("x".into())),
                )
            }),
            "",
            Some(Code::WireguardUnreadable),
        ),
    ];
    for (case, machine, config, finding) in table {
        let plan = planned(&settings(config), &machine.seen(), plan);
        assert!(plan.actions.is_empty(), "{case}");
        assert_eq!(
            plan.findings.first().map(|finding| finding.code),
            finding,
            "{case}"
        );
    }
}
