//! Forwards whose listeners in this distribution lead into each other.

use super::*;

/// Name, protocol, and both ports.
type Way = (&'static str, &'static str, &'static str, &'static str);
/// Forwards, the names of those that are served and that are not, and what findings begin with.
type Row<'a> = (&'a [Way], &'a [&'a str], &'a [&'a str], &'a [&'a str]);

/// The configuration of these forwards.
fn config(forwards: &[Way]) -> String {
    let text = forwards.iter().map(|(name, protocol, listen, connect)| {
        let (address, listen) = listen.rsplit_once(' ').unwrap_or(("0.0.0.0", listen));
        format!("[[forward]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nlisten-address = \"{address}\"\nlisten-port = \"{listen}\"\nconnect-port = \"{connect}\"\n")
    });
    text.collect()
}

/// The names of those that the relay gets, of those that are down, and the findings.
fn entangled(machine: &Machine, text: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let plan = crate::plan::plan(&settings(text), &machine.seen());
    let relayed = plan.actions.iter().find_map(|action| match action {
        Action::SyncRelay(_, wanted) => wanted.clone(),
        _ => None,
    });
    let relayed = relayed.map_or_else(Vec::new, |wanted| wanted.forwards);
    let mut relayed: Vec<String> = relayed.into_iter().map(|(name, _)| name).collect();
    relayed.dedup();
    let down = plan.forwards.iter().flatten();
    let down = down.filter(|one| one.state == ForwardState::Down && one.backend.is_none());
    let found = plan
        .findings
        .iter()
        .filter(|finding| matches!(finding.code, Code::ForwardLoop | Code::ForwardChain));
    let found = found.map(|one| format!("{} {}: {}", one.code, one.subject, one.detail));
    (
        relayed,
        down.map(|one| one.name.clone()).collect(),
        found.collect(),
    )
}

#[test]
fn forwards_that_lead_into_each_other() {
    let tcp = |name, listen, connect| (name, "tcp", listen, connect);
    let (a, b, c) = (
        tcp("a", "8000", "8001"),
        tcp("b", "8001", "8002"),
        tcp("c", "8002", "8000"),
    );
    let back = tcp("b", "8001", "8000");
    let node = "172.28.16.5";
    let chain = "forward-chain a: tcp 0.0.0.0:8000 leads into the listener of forward \"b\" (tcp 0.0.0.0:8001), and by it to port 8002";
    let circle = "forward-loop b: tcp 0.0.0.0:8001 leads into the listener of forward \"a\" (tcp 0.0.0.0:8000), and by it back to itself: it is not served";
    let table: &[Row] = &[
        (&[a, b], &["a", "b"], &[], &[chain]),
        // The last one is left out, so that the others come to a service.
        (&[a, back], &["a"], &["b"], &[circle]),
        (&[back, a], &["b"], &["a"], &["forward-loop a"]),
        (&[a, b, c], &["a", "b"], &["c"], &[chain, "forward-loop c"]),
        (
            &[
                tcp("in", "7000", "8000"),
                tcp("to", "7001", "8001"),
                a,
                back,
            ],
            &["in", "to", "a"],
            &["b"],
            &["forward-chain in: tcp 0.0.0.0:7000", circle],
        ),
        // Each of two loops.
        (
            &[a, tcp("x", "9000", "9001"), back, tcp("y", "9001", "9000")],
            &["a", "x"],
            &["b", "y"],
            &[circle, "forward-loop y"],
        ),
        (&[a, ("b", "udp", "8001", "8000")], &["a", "b"], &[], &[]),
        // A service has that port.
        (&[a, tcp("b", "8001", "8001")], &["a"], &[], &[]),
        // Only a listener at this address takes what is sent to it.
        (
            &[a, tcp("b", "127.0.0.1 8001", "8000")],
            &["a", "b"],
            &[],
            &["forward-chain b: tcp 127.0.0.1:8001"],
        ),
        (
            &[a, tcp("b", "172.28.16.5 8001", "8000")],
            &["a"],
            &["b"],
            &["forward-loop b"],
        ),
        // A range that leads into itself.
        (
            &[tcp("r", "8000-8002", "8001-8003")],
            &["r"],
            &[],
            &[
                "forward-chain r: tcp 0.0.0.0:8000 leads into the listener of forward \"r\" (tcp 0.0.0.0:8001)",
            ],
        ),
    ];
    let machine = Machine::nat().mode(Mode::Mirrored);
    assert_eq!(machine.seen().addresses[0].net.addr().to_string(), node);
    for (forwards, served, down, findings) in table {
        let (relayed, lost, found) = entangled(&machine, &config(forwards));
        assert_eq!(
            (&relayed[..], &lost[..]),
            (&own(served)[..], &own(down)[..]),
            "{forwards:?}"
        );
        assert_eq!(found.len(), findings.len(), "{found:#?}");
        for (one, expected) in found.iter().zip(*findings) {
            assert!(one.starts_with(expected), "{one}\n{expected}");
        }
    }
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn on_windows_nothing_leads_into_another() {
    let text = config(&[("a", "tcp", "8000", "8001"), ("b", "tcp", "8001", "8000")]);
    let machine = Machine::nat().privilege(HostPrivilege::Installed);
    let (relayed, _, found) = entangled(&machine, &text);
    assert_eq!((relayed.len(), found), (2, Vec::new()));
}

/// The firewall opens what is served and nothing else, and a loop is all that is said of one
/// that is not.
#[test]
fn what_is_not_served_is_not_opened() {
    let forward = |name, listen, more| {
        format!(
            "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-port = {listen}\nfirewall = \"local\"\n{more}"
        )
    };
    let text = [
        forward("a", 8000, "connect-port = 8001\n"),
        forward("loop", 8001, "connect-port = 8000\n"),
        forward("kept", 5357, ""),
        forward("no-header", 8002, "proxy-protocol = \"v2\"\n"),
        forward(
            "no-relay",
            8003,
            "connect-port = 22\nbackend = \"portproxy\"\n",
        ),
        forward("same", 8004, ""),
    ];
    let machine = Machine::nat()
        .mode(Mode::Mirrored)
        .privilege(HostPrivilege::Installed)
        .with(|seen| {
            let at = listen_at(Protocol::Tcp, "0.0.0.0", 8001);
            let failure = Failure {
                kind: FailureKind::InUse,
                code: 98,
            };
            seen.host.relay.failed.insert(at, failure);
        });
    let plan = planned(&machine, &text.concat());
    let opened = plan.actions.iter().find_map(|action| match action {
        Action::SyncForwards(set) => Some(set.rules.iter().map(|rule| rule.name.as_str())),
        _ => None,
    });
    let opened: Vec<&str> = opened.unwrap().collect();
    assert_eq!(opened, ["a", "same"]);
    let of_loop = plan.findings.iter().filter(|one| one.subject == "loop");
    let of_loop: Vec<Code> = of_loop.map(|one| one.code).collect();
    assert_eq!(of_loop, [Code::ForwardLoop]);
}

#[test]
fn a_listener_that_failed_takes_nothing() {
    let text = config(&[("a", "tcp", "8000", "8001"), ("b", "tcp", "8001", "8002")]);
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 98,
    };
    let machine = Machine::nat().mode(Mode::Mirrored).with(|seen| {
        let at = listen_at(Protocol::Tcp, "0.0.0.0", 8001);
        seen.host.relay.failed.insert(at, failure);
    });
    assert_eq!(entangled(&machine, &text).2, Vec::<String>::new());
}
