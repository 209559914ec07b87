//! Forwards by the tunnel's switch.

use wslmesh_relay::protocol::Listener;

use super::{super::*, *};

const WEB: &str = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8000\nconnect-port = 80\nbackend = \"tunnel\"\n";

fn web_at() -> Listen {
    listen_at(Protocol::Tcp, "0.0.0.0", 8000)
}

fn listener(failure: Option<FailureKind>) -> Listener {
    Listener {
        listen: web_at(),
        failure: failure.map(|kind| Failure { kind, code: 10048 }),
        ipv4_alone: false,
    }
}

#[test]
fn switch_alone_serves_them_whatever_the_mode() {
    let config = format!("{SSH}{WEB}{WG}");
    for mode in [Mode::Nat, Mode::Mirrored, Mode::Consomme, Mode::Bridged] {
        let machine = Machine::nat()
            .mode(mode)
            .with(|seen| seen.host.tunnel = Some(vec![listener(None)]));
        let plan = planned(&machine, &config);
        let [web] = &plan.tunnel[..] else {
            panic!("{:?}", plan.tunnel);
        };
        assert_eq!((web.listen, web.guest), (web_at(), None));
        assert_eq!(web.guest_port.get(), 80);
        let forwards = plan.forwards.unwrap();
        let names: Vec<_> = forwards.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["ssh", "web", "wg"]);
        assert_eq!(forwards[1].backend, Some(ForwardBackend::Tunnel));
        assert_eq!(forwards[1].state, ForwardState::Up);
        // Neither Windows nor a relay is asked for it.
        for action in &plan.actions {
            let text = format!("{action:?}");
            assert!(!text.contains("8000"), "{mode}: {text}");
        }
    }
}

#[test]
fn state_is_what_the_switch_answers() {
    for (tunnel, state, code) in [
        (None, ForwardState::Down, Some(Code::ForwardTunnelDown)),
        (Some(vec![]), ForwardState::Pending, None),
        (Some(vec![listener(None)]), ForwardState::Up, None),
        (
            Some(vec![listener(Some(FailureKind::InUse))]),
            ForwardState::Down,
            Some(Code::ForwardTaken),
        ),
        (
            Some(vec![listener(Some(FailureKind::Forbidden))]),
            ForwardState::Down,
            Some(Code::ForwardExcluded),
        ),
    ] {
        let machine = nat(HostPrivilege::Installed).with(|seen| seen.host.tunnel = tunnel.clone());
        let plan = planned(&machine, WEB);
        let forwards = plan.forwards.unwrap();
        assert_eq!(forwards[0].state, state, "{tunnel:?}");
        assert_eq!(forwards[0].backend, Some(ForwardBackend::Tunnel));
        let codes = plan.findings.iter().map(|finding| finding.code);
        let found: Vec<_> = codes
            .filter(|code| code.as_str().starts_with("forward"))
            .collect();
        assert_eq!(found, Vec::from_iter(code), "{tunnel:?}");
    }
}

#[test]
fn none_is_wanted_without_windows() {
    let machine = Machine::nat();
    let none = format!("{}{WEB}", backend("none"));
    assert!(planned(&machine, &none).tunnel.is_empty());
    let elsewhere = machine.mode(Mode::NotWsl);
    let plan = planned(&elsewhere, WEB);
    assert!(plan.tunnel.is_empty());
    assert_eq!(plan.forwards.unwrap()[0].backend, None);
}
