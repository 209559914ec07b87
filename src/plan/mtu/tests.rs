use super::*;
use crate::{
    config::settings,
    plan::tests::machine::{Machine, planned},
};

fn outcome(machine: &Machine, config: &str) -> Vec<String> {
    let (settings, seen) = (settings(config), machine.seen());
    let plan = planned(&settings, &seen, plan);
    let actions = plan.actions.iter().map(ToString::to_string);
    actions
        .chain(
            plan.findings
                .iter()
                .map(|finding| format!("{} {}", finding.code, finding.subject)),
        )
        .collect()
}

#[test]
fn tunnels_and_what_is_below() {
    let tunnel = |below: u32| {
        Machine::new()
            .link("eth0", LinkKind::Other, below)
            .address("eth0", "172.28.16.5/20")
            .route("eth0", "172.28.16.1", 0)
            .link("wg0", LinkKind::WireGuard, 1420)
    };
    let done = |below: u32| tunnel(below).with(|seen| seen.links[1].mtu = 1280);
    let adapter = |machine: Machine| {
        machine.with(|seen| seen.host.facts.lowest_mtu = Some(("Tailscale".into(), 1280)))
    };
    let over = |mtu: u32, by: &[&str]| {
        let machine = Machine::nat().link("tailscale0", LinkKind::Tun, 1280).link(
            "wg0",
            LinkKind::WireGuard,
            mtu,
        );
        by.iter()
            .fold(machine, |machine, by| machine.carried("wg0", by))
    };
    let lower = "[mtu]\nunderlay = \"lower-tunnel\"";
    let leave = "[mtu]\nunderlay = \"leave\"";
    let table: Vec<(&str, Machine, &str, Vec<&str>)> = vec![
        (
            "no tunnel: eth0 is left alone",
            Machine::nat().with(|seen| seen.links[0].mtu = 1280),
            "",
            vec![],
        ),
        (
            "a new tunnel",
            tunnel(1500),
            "",
            vec!["wg0 mtu 1420 -> 1280"],
        ),
        ("all as it should be", done(1500), "", vec![]),
        (
            "the tunnel to Windows carries it, and is no tunnel itself",
            done(1500)
                .link("wslmesh0", LinkKind::Tunnel, 1500)
                .carried("wg0", "wslmesh0"),
            "[mtu]\ninterfaces = [\"*\"]",
            vec![],
        ),
        ("just enough", done(1340), "", vec![]),
        (
            "one byte short",
            done(1339),
            "",
            vec!["eth0 mtu 1339 -> 1340 (a tunnel of 1280 needs it)"],
        ),
        (
            "Tailscale on Windows",
            done(1280),
            "",
            vec!["eth0 mtu 1280 -> 1340 (a tunnel of 1280 needs it)"],
        ),
        (
            "the cause is named",
            adapter(done(1280)),
            "",
            vec![
                "eth0 mtu 1280 -> 1340 (a tunnel of 1280 needs it; the Windows adapter \"Tailscale\" has MTU 1280)",
            ],
        ),
        (
            "IPv6 below needs 80",
            done(1340).address("eth0", "2001:db8::5/64"),
            "",
            vec!["eth0 mtu 1340 -> 1360 (a tunnel of 1280 needs it)"],
        ),
        (
            "mirrored: an adapter's MTU is not raised",
            done(1300).mode(Mode::Mirrored),
            "",
            vec!["wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)"],
        ),
        (
            "not WSL: neither",
            done(1300).mode(Mode::NotWsl),
            "",
            vec!["wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)"],
        ),
        (
            "mirrored with IPv6 in the tunnel: warn instead",
            done(1300).mode(Mode::Mirrored).address("wg0", "fd00::1/64"),
            "",
            vec!["mtu-underlay-small wg0"],
        ),
        (
            "mode not known yet: wait",
            done(1280).with(|seen| seen.mode = ModeState::Pending),
            "",
            vec![],
        ),
        (
            "asked to lower",
            done(1300),
            lower,
            vec!["wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)"],
        ),
        (
            "asked to lower, IPv6 lost",
            done(1300).address("wg0", "fd00::1/64"),
            lower,
            vec![
                "wg0 mtu 1280 -> 1240 (eth0 carries no more with its MTU 1300)",
                "mtu-ipv6-lost wg0",
            ],
        ),
        (
            "too small even for that",
            done(600),
            lower,
            vec!["mtu-underlay-small eth0"],
        ),
        (
            "asked to leave it",
            done(1280),
            leave,
            vec!["mtu-underlay-small eth0"],
        ),
        (
            "a jumbo tunnel cannot be carried by raising",
            tunnel(1500),
            "[mtu]\nvalue = 9000",
            vec!["wg0 mtu 1420 -> 1440 (eth0 carries no more with its MTU 1500)"],
        ),
        (
            "no underlay known: the tunnel all the same",
            Machine::new().link("tailscale0", LinkKind::Tun, 1500),
            "",
            vec!["tailscale0 mtu 1500 -> 1280"],
        ),
        (
            "NetBird: WireGuard of any name is a tunnel",
            Machine::nat().with(|seen| seen.links[0].mtu = 1280).link(
                "wt0",
                LinkKind::WireGuardUserspace,
                1280,
            ),
            "",
            vec!["eth0 mtu 1280 -> 1340 (a tunnel of 1280 needs it)"],
        ),
        (
            "another program's tun is none of ours",
            Machine::nat().link("tun0", LinkKind::Tun, 1500),
            "",
            vec![],
        ),
        (
            "a tunnel over another one is not raised over it",
            over(1220, &["tailscale0"]),
            "",
            vec![],
        ),
        (
            "and is lowered where it is too big",
            over(1420, &["tailscale0"]),
            "",
            vec!["wg0 mtu 1420 -> 1220 (tailscale0 carries no more with its MTU 1280)"],
        ),
        (
            "peers by both ways: the narrower one decides",
            over(1280, &["eth0", "tailscale0"]),
            "",
            vec!["wg0 mtu 1280 -> 1220 (tailscale0 carries no more with its MTU 1280)"],
        ),
        (
            "peers by the node's interface",
            over(1420, &["eth0"]),
            "",
            vec!["wg0 mtu 1420 -> 1280"],
        ),
        (
            "a route through the tunnel itself says nothing",
            over(1420, &["wg0"]),
            "",
            vec!["wg0 mtu 1420 -> 1280"],
        ),
        (
            "over another one, with IPv6",
            over(1280, &["tailscale0"]).address("wg0", "fd00::1/64"),
            "",
            vec!["mtu-underlay-small wg0"],
        ),
        (
            "over another one, asked to leave it",
            over(1220, &["tailscale0"]),
            leave,
            vec!["mtu-underlay-small wg0"],
        ),
        (
            "other links are not tunnels",
            Machine::nat().link("docker0", LinkKind::Other, 1500),
            "",
            vec![],
        ),
        (
            "a pattern that covers the underlay does not shrink it",
            Machine::nat(),
            "[mtu]\ninterfaces = [\"*\"]",
            vec![],
        ),
    ];
    for (case, machine, config, expected) in table {
        assert_eq!(outcome(&machine, config), expected, "{case}");
    }
}

proptest::proptest! {
    /// Carrying a plan out leaves nothing to do, whatever the sizes.
    #[test]
    fn converges(below in 68u32..65536, tunnel in 68u32..65536, value in 576u16..=65535, raise in 0..3usize, ipv6 in proptest::bool::ANY) {
        let config = format!("[mtu]\nvalue = {value}\nunderlay = \"{}\"", ["raise", "lower-tunnel", "leave"][raise]);
        let settings = settings(&config);
        let mut machine = Machine::new().link("eth0", LinkKind::Other, below).address("eth0", "10.0.0.2/8").route("eth0", "10.0.0.1", 0).link("wg0", LinkKind::WireGuard, tunnel);
        if ipv6 {
            machine = machine.address("wg0", "fd00::1/64");
        }
        let mut seen = machine.seen();
        for _ in 0..2 {
            let actions = planned(&settings, &seen, plan).actions;
            for action in actions {
                if let Action::SetMtu(change) = action {
                    proptest::prop_assert!((LEAST..=65535).contains(&change.to));
                    seen.links.iter_mut().filter(|link| link.index == change.index).for_each(|link| link.mtu = change.to);
                }
            }
        }
        proptest::prop_assert!(planned(&settings, &seen, plan).actions.is_empty());
    }
}
