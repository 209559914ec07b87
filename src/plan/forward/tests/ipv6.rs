//! A node with IPv6 alone.

use super::*;
use crate::model::LinkKind;

fn machine(mode: Mode) -> Machine {
    Machine::new()
        .link("eth0", LinkKind::Other, 1500)
        .address("eth0", "2001:db8::5/64")
        .route("eth0", "fe80::1", 1024)
        .mode(mode)
        .privilege(HostPrivilege::Installed)
}

/// Names and states of the forwards, and the findings about IPv6.
fn served(plan: &Plan) -> (Vec<String>, Vec<&str>) {
    let forwards = plan.forwards.iter().flatten();
    let forwards = forwards.map(|one| format!("{} {}", one.name, one.state));
    let findings = plan.findings.iter();
    let findings = findings.filter(|one| one.code == Code::ForwardIpv6);
    (
        forwards.collect(),
        findings.map(|one| one.detail.as_str()).collect(),
    )
}

#[test]
fn windows_does_not_lead_to_ipv6() {
    let both = format!("{SSH}{WG}");
    // What NAT serves of IPv4 times is left until there is IPv4 again.
    let plan = planned(&machine(Mode::Nat), &both);
    let (forwards, findings) = served(&plan);
    assert_eq!(forwards, ["ssh down", "wg down"]);
    let why = "Windows forwards by IPv4 in NAT mode, and eth0 has 2001:db8::5 alone";
    assert_eq!(findings, [why]);
    assert_eq!(plan.actions, []);
    let plan = planned(&machine(Mode::Nat), "");
    assert_eq!(served(&plan).1, [""; 0]);
}

#[test]
fn a_listener_that_lacks_ipv6_is_up_and_says_so() {
    let config = format!("{}listen-address = \"::\"\n", SSH.replace("none", "local"));
    let at = Listen {
        protocol: Protocol::Tcp,
        listen_address: "::".parse().unwrap(),
        listen_port: 2222.try_into().unwrap(),
    };
    let plan = |lacks: bool| {
        let machine = Machine::nat().mode(Mode::Mirrored).with(|seen| {
            seen.host.relay = relay_at(RelayLocation::Guest, vec![]);
            seen.host.relay.listening = std::iter::once(at).collect();
            seen.host.relay.ipv4_alone = lacks.then_some(at).into_iter().collect();
        });
        planned(&machine, &config)
    };
    for lacks in [false, true] {
        let plan = plan(lacks);
        let states: Vec<_> = plan
            .forwards
            .iter()
            .flatten()
            .map(|one| one.state)
            .collect();
        assert_eq!(states, [ForwardState::Up]);
        let found = (plan.findings.iter()).find(|one| one.code == Code::ForwardNoAddress);
        let found = found.map(|one| (one.subject.as_str(), one.detail.as_str()));
        let says = "tcp [::]:2222 takes IPv4 alone: the system has no IPv6";
        assert_eq!(found, lacks.then_some(("ssh", says)));
    }
}

#[test]
fn the_relay_in_the_guest_leads_to_ipv6() {
    for mode in [Mode::Mirrored, Mode::Consomme, Mode::Bridged] {
        let plan = planned(&machine(mode), SSH);
        let relay = plan.actions.iter().find_map(|action| match action {
            Action::SyncRelay(_, set) => set.as_ref(),
            _ => None,
        });
        let (_, ssh) = &relay.unwrap().forwards[0];
        assert_eq!(ssh.connect_address.to_string(), "2001:db8::5");
        // By IPv4 no client reaches this node.
        let why = "it listens on tcp 0.0.0.0:2222, and eth0 has 2001:db8::5 alone";
        assert_eq!(served(&plan).1, [why], "{mode}");
        let loopback = SSH.replace("listen-port", "listen-address = \"127.0.0.1\"\nlisten-port");
        assert_eq!(served(&planned(&machine(mode), &loopback)).1, [""; 0]);
    }
}

#[test]
fn the_guests_own_ports_are_those_of_ipv6_too() {
    let equal = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 80\n";
    for mode in [Mode::Mirrored, Mode::Consomme, Mode::Bridged] {
        let plan = planned(&machine(mode), equal);
        let (forwards, findings) = served(&plan);
        assert_eq!((forwards, findings), (vec!["web up".to_owned()], vec![]));
    }
    // Rules of the firewall have no address of ours.
    let rules = planned(&machine(Mode::Mirrored), equal).actions;
    let [Action::SyncForwards(rules)] = rules.as_slice() else {
        panic!("{rules:?}");
    };
    assert_eq!(rules.connect_address, RuleSet::NOWHERE);
    assert_eq!(rules.rules.len(), 1);
}

#[test]
fn services_on_loopback_have_a_listener_at_the_ipv6_address() {
    let config = "[[forward]]\nname = \"db\"\nprotocol = \"tcp\"\nlisten-port = 5432\nconnect-address = \"127.0.0.1\"\n";
    for mode in [Mode::Mirrored, Mode::Consomme, Mode::Bridged] {
        let plan = planned(&machine(mode), config);
        assert_eq!(served(&plan).1, [""; 0], "{mode}");
        let relay = plan.actions.into_iter().find_map(|action| match action {
            Action::SyncRelay(RelayRole::Entry, set) => set,
            _ => None,
        });
        let (_, db) = &relay.unwrap().forwards[0];
        assert_eq!(db.listen.to_string(), "tcp [2001:db8::5]:5432");
        assert_eq!(db.connect_address.to_string(), "127.0.0.1");
    }
    // Windows leads to IPv4 alone, and nothing listens for it in here.
    let plan = planned(&machine(Mode::Nat), config);
    assert_eq!(served(&plan).0, ["db down"]);
    assert_eq!(plan.actions, []);
}
