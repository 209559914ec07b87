//! What a person sees of each forward.

use super::{super::*, *};

#[test]
fn each_forward_is_shown_with_its_server() {
    let shown = |machine: &Machine, config: &str| -> Vec<String> {
        planned(machine, config)
            .forwards
            .unwrap()
            .iter()
            .map(|served| {
                let by = served
                    .backend
                    .map_or("none".to_owned(), |by| by.to_string());
                let at = served.listen.listen_address;
                let instead = if at.is_unspecified() {
                    String::new()
                } else {
                    format!(" at {at}")
                };
                format!("{} by {by}{instead}: {}", served.name, served.state)
            })
            .collect()
    };
    let both = format!("{SSH}{WG}");
    let portproxy = format!("{SSH}backend = \"portproxy\"\n{WG}");
    let failure = |kind| Failure { kind, code: 10048 };
    let same = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 80\n";
    let up = nat(HostPrivilege::Installed)
        .rule_installed(ssh_at("0.0.0.0"))
        .relay_listens(&[wg_at("0.0.0.0")])
        .with(|seen| {
            seen.host.facts.rules[0].connect = "172.28.16.5:22".parse().unwrap();
            seen.host.relay.applied = true;
        });
    let table: Vec<(Machine, String, &[&str])> = vec![
        (
            Machine::nat(),
            both.clone(),
            &["ssh by relay: pending", "wg by relay: pending"],
        ),
        (
            up,
            portproxy.clone(),
            &["ssh by portproxy: up", "wg by relay: up"],
        ),
        (
            nat(HostPrivilege::Installed)
                .read_back(&[ssh_at("0.0.0.0"), wg_at("0.0.0.0")])
                .with(|seen| seen.host.relay.applied = true),
            both.clone(),
            &["ssh by relay: up", "wg by relay: up"],
        ),
        (
            nat(HostPrivilege::Installed).with(|seen| {
                seen.host.facts.blocked = [ssh_at("192.168.50.10")].into_iter().collect();
                seen.host.relay = relay_at(
                    RelayLocation::Guest,
                    vec![(wg_at("0.0.0.0"), failure(FailureKind::Forbidden))],
                );
            }),
            portproxy,
            &["ssh by portproxy: down", "wg by relay: down"],
        ),
        (
            nat(HostPrivilege::None)
                .relay_listens(&[ssh_at("127.0.0.1")])
                .with(|seen| seen.host.relay.applied = true),
            both.clone(),
            &[
                "ssh by relay at 127.0.0.1: up",
                "wg by relay at 127.0.0.1: pending",
            ],
        ),
        (
            nat(HostPrivilege::None).with(|seen| {
                let why = Finding::new(Code::RelayElevated, "", "x");
                seen.host.relay.findings = vec![why];
            }),
            both.clone(),
            &[
                "ssh by relay at 127.0.0.1: down",
                "wg by relay at 127.0.0.1: down",
            ],
        ),
        (
            // WSL's own forwarding of localhost has the port.
            nat(HostPrivilege::None).with(|seen| {
                let web = listen_at(Protocol::Tcp, "127.0.0.1", 80);
                seen.host.relay.failed = [(web, failure(FailureKind::InUse))].into();
            }),
            same.into(),
            &["web by guest at 127.0.0.1: up"],
        ),
        (
            Machine::nat().mode(Mode::Mirrored),
            both.clone(),
            &["ssh by relay: pending", "wg by guest: up"],
        ),
        (
            Machine::nat(),
            both + &backend("none"),
            &["ssh by none: down", "wg by none: down"],
        ),
    ];
    for (machine, config, expected) in table {
        assert_eq!(shown(&machine, &config), expected, "{config}");
    }
    for undecided in [
        Machine::new(),
        Machine::nat().with(|seen| seen.mode = ModeState::Pending),
    ] {
        let served = planned(&undecided, SSH).forwards;
        assert_eq!(served, None, "they are unchanged");
    }
}

#[test]
fn listeners_that_failed_say_why() {
    let table = [
        (
            FailureKind::InUse,
            Code::ForwardTaken,
            "udp 0.0.0.0:41820 is in use (error 10048)",
        ),
        (
            FailureKind::Forbidden,
            Code::ForwardExcluded,
            "udp 0.0.0.0:41820 cannot be bound (error 10048)",
        ),
        (
            FailureKind::NoAddress,
            Code::ForwardNoAddress,
            "no interface has 0.0.0.0 (error 10048)",
        ),
        (
            FailureKind::Other,
            Code::ForwardNotListening,
            "udp 0.0.0.0:41820 failed (error 10048)",
        ),
    ];
    for (kind, code, text) in table {
        let failure = Failure { kind, code: 10048 };
        let machine = nat(HostPrivilege::Installed)
            .with(|seen| seen.host.relay.failed = [(wg_at("0.0.0.0"), failure)].into());
        let findings = planned(&machine, WG).findings;
        assert_eq!(findings, [Finding::new(code, "wg", text)]);
    }
}
