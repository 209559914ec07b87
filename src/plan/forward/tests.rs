//! Who serves what, in tables.

use std::net::SocketAddrV4;

use super::*;
use crate::{
    config::{Protocol, settings},
    model::{DrivePath, Failure, FailureKind, RelayMemory, RelayPlace, StandingRule},
    plan::testing::Machine,
};

const SSH: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\nfirewall = \"none\"\n";
const WG: &str =
    "[[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 41820\nfirewall = \"local\"\n";

fn backend(name: &str) -> String {
    format!("[host]\nbackend = \"{name}\"\n")
}

fn listen_at(protocol: Protocol, address: &str, port: u16) -> Listen {
    Listen {
        protocol,
        listen_address: address.parse().unwrap(),
        listen_port: std::num::NonZeroU16::new(port).unwrap(),
    }
}

fn ssh_at(address: &str) -> Listen {
    listen_at(Protocol::Tcp, address, 2222)
}

fn wg_at(address: &str) -> Listen {
    listen_at(Protocol::Udp, address, 41820)
}

trait Windows {
    fn power(self, power: Power) -> Self;
    fn rule_stands(self, listen: Listen) -> Self;
    fn relay_listens(self, listens: &[Listen]) -> Self;
}

impl Windows for Machine {
    /// Windows has answered, and may do so much.
    fn power(self, power: Power) -> Self {
        self.with(|seen| {
            let facts = &mut seen.host.facts;
            facts.power = power;
            facts.local_app_data = DrivePath::new(r"C:\Users\me\AppData\Local").ok();
            facts.firewall = matches!(power, Power::Installed | Power::Elevated);
            facts.installed_relay = (power == Power::Installed)
                .then(|| DrivePath::new(r"C:\Program Files\wslmesh\wslmesh-relay.exe").unwrap());
            seen.host.may_stand = Some(Vec::new());
        })
    }

    fn rule_stands(self, listen: Listen) -> Self {
        self.with(|seen| {
            seen.host.standing = true;
            seen.host.may_stand.get_or_insert_default().push(listen);
            seen.host.facts.rules.push(StandingRule {
                listen,
                connect: SocketAddrV4::new([172, 28, 16, 4].into(), 22),
            });
        })
    }

    fn relay_listens(self, listens: &[Listen]) -> Self {
        self.with(|seen| seen.host.relay.listening.extend(listens))
    }
}

fn planned(machine: &Machine, config: &str) -> Plan {
    let (settings, seen) = (settings(config), machine.seen());
    let node = super::super::node(&settings, &seen).ok();
    plan(&settings, &seen, node.as_ref())
}

/// What is asked of whom, in short, and the codes.
fn outcome(machine: &Machine, config: &str) -> Vec<String> {
    let plan = planned(machine, config);
    let action = |action: &Action| match action {
        Action::SyncForwards(set) => {
            let mode = if set.mode == SyncMode::Mirrored && !set.rules.is_empty() {
                "mirrored "
            } else {
                ""
            };
            let rules: Vec<String> = set
                .rules
                .iter()
                .map(|rule| format!("{} {}", rule.name, rule.served_by))
                .collect();
            format!("windows: {mode}[{}]", rules.join(", "))
        }
        Action::SyncRelay(None) => "relay: end".to_owned(),
        Action::SyncRelay(Some(set)) => {
            let place = match &set.place {
                RelayPlace::Installed(_) => "installed",
                RelayPlace::Unpacked(_) => "unpacked",
                RelayPlace::Guest => "guest",
            };
            let forwards: Vec<String> = set
                .forwards
                .iter()
                .map(|(name, forward)| format!("{name} {}", forward.listen.listen_address))
                .collect();
            format!("relay: {place} [{}]", forwards.join(", "))
        }
        other => panic!("{other:?}"),
    };
    plan.actions
        .iter()
        .map(action)
        .chain(plan.findings.iter().map(|finding| finding.code.to_string()))
        .collect()
}

fn check(table: Vec<(&str, Machine, String, &[&str])>) {
    for (case, machine, config, expected) in table {
        assert_eq!(outcome(&machine, &config), expected, "{case}");
    }
}

fn nat(power: Power) -> Machine {
    Machine::nat().power(power)
}

#[test]
fn nat_before_windows_has_answered() {
    let ssh_relayed = || Machine::nat().relay_listens(&[ssh_at("127.0.0.1")]);
    check(vec![
        ("nothing configured", Machine::nat(), String::new(), &[]),
        (
            "auto, TCP: the answer tells",
            Machine::nat(),
            SSH.into(),
            &["windows: [ssh portproxy]"],
        ),
        (
            "auto, UDP: where the relay may be, Windows must say",
            Machine::nat(),
            WG.into(),
            &["windows: []"],
        ),
        (
            "backend relay: the same",
            Machine::nat(),
            SSH.to_owned() + &backend("relay"),
            &["windows: []"],
        ),
        (
            "after a reload: what the relay serves stays with it",
            nat(Power::Nobody)
                .with(|seen| seen.host.facts.power = Power::Unknown)
                .relay_listens(&[ssh_at("127.0.0.1")]),
            SSH.into(),
            &[
                "windows: []",
                "relay: unpacked [ssh 127.0.0.1]",
                "relay-loopback",
            ],
        ),
        (
            "portproxy alone: not before the relay lets go",
            ssh_relayed(),
            SSH.to_owned() + &backend("portproxy"),
            &["windows: []"],
        ),
        (
            "rules of an earlier run may stand: withdraw",
            Machine::nat().with(|seen| seen.host.standing = true),
            String::new(),
            &["windows: []"],
        ),
        (
            "backend none: Windows is never called",
            Machine::nat().with(|seen| seen.host.standing = true),
            SSH.to_owned() + &backend("none"),
            &["forward-standing"],
        ),
        (
            "no address: nothing to point at, and the relay stays as it is",
            Machine::new().with(|seen| seen.host.relay = told(RelayPlace::Guest, vec![])),
            SSH.into(),
            &[],
        ),
    ]);
}

#[test]
fn nat_with_each_power_and_backend() {
    let both = format!("{SSH}{WG}");
    let with = |name: &str| both.clone() + &backend(name);
    check(vec![
        (
            "installed, auto",
            nat(Power::Installed),
            both.clone(),
            &[
                "windows: [ssh portproxy, wg relay]",
                "relay: installed [wg 0.0.0.0]",
            ],
        ),
        (
            "installed, relay",
            nat(Power::Installed),
            with("relay"),
            &[
                "windows: [wg relay]",
                "relay: installed [ssh 0.0.0.0, wg 0.0.0.0]",
            ],
        ),
        (
            "installed, its relay is missing",
            nat(Power::Installed).with(|seen| seen.host.facts.installed_relay = None),
            both.clone(),
            &[
                "windows: [ssh portproxy]",
                "relay: unpacked [wg 127.0.0.1]",
                "relay-loopback",
            ],
        ),
        (
            "installed, nobody cared for the firewall",
            nat(Power::Installed).with(|seen| seen.host.facts.firewall = false),
            WG.into(),
            &[
                "windows: [wg relay]",
                "relay: installed [wg 0.0.0.0]",
                "forward-firewall",
            ],
        ),
        (
            "elevated, auto: the relay will refuse, but says so itself",
            nat(Power::Elevated),
            both.clone(),
            &[
                "windows: [ssh portproxy]",
                "relay: unpacked [wg 127.0.0.1]",
                "relay-loopback",
            ],
        ),
        (
            "nobody, auto",
            nat(Power::Nobody),
            both.clone(),
            &[
                "relay: unpacked [ssh 127.0.0.1, wg 127.0.0.1]",
                "relay-loopback",
            ],
        ),
        (
            "nobody, a forward to loopback asks for no more",
            nat(Power::Nobody),
            SSH.to_owned() + "listen-address = \"127.0.0.1\"\n",
            &["relay: unpacked [ssh 127.0.0.1]"],
        ),
        (
            "nobody, portproxy: Windows answers that it may not",
            nat(Power::Nobody),
            SSH.replace("none", "full") + &backend("portproxy"),
            &["windows: [ssh portproxy]", "forward-firewall"],
        ),
        (
            "no place for the relay",
            nat(Power::Nobody).with(|seen| seen.host.facts.local_app_data = None),
            SSH.into(),
            &["relay-failed"],
        ),
        (
            "none: the relay ends",
            nat(Power::Nobody).with(|seen| seen.host.relay = told(RelayPlace::Guest, vec![])),
            with("none"),
            &["relay: end"],
        ),
        (
            "in the range that Windows hands out",
            nat(Power::Installed),
            WG.replace("41820", "51820"),
            &[
                "windows: [wg relay]",
                "relay: installed [wg 0.0.0.0]",
                "forward-dynamic-range",
            ],
        ),
        (
            "just below it",
            nat(Power::Installed),
            WG.replace("41820", "49151"),
            &["windows: [wg relay]", "relay: installed [wg 0.0.0.0]"],
        ),
    ]);
    // The configuration refuses this; the plan says it all the same.
    let mut settings = settings(WG);
    settings.backend = Backend::Portproxy;
    let seen = nat(Power::Installed).seen();
    let node = super::super::node(&settings, &seen).unwrap();
    let plan = plan(&settings, &seen, Some(&node));
    assert_eq!(plan.actions, []);
    assert_eq!(plan.findings[0].code, Code::ForwardNeedsRelay);
}

#[test]
fn a_port_has_one_owner() {
    let relay = SSH.to_owned() + &backend("relay");
    check(vec![
        (
            "to the relay: first the rule goes",
            nat(Power::Installed).rule_stands(ssh_at("0.0.0.0")),
            relay.clone(),
            &["windows: []"],
        ),
        (
            "a rule on one address is in the way of all",
            nat(Power::Installed).rule_stands(ssh_at("192.168.50.10")),
            relay.clone(),
            &["windows: []"],
        ),
        (
            "then the relay comes",
            nat(Power::Installed),
            relay.clone(),
            &["relay: installed [ssh 0.0.0.0]"],
        ),
        (
            "rules of an earlier run that nobody has listed",
            nat(Power::Installed).with(|seen| {
                (seen.host.standing, seen.host.may_stand) = (true, None);
            }),
            relay,
            &["windows: []"],
        ),
        (
            "UDP has no rules",
            nat(Power::Installed)
                .rule_stands(listen_at(Protocol::Tcp, "0.0.0.0", 41820))
                .with(|seen| seen.host.standing = false),
            WG.into(),
            &["windows: [wg relay]", "relay: installed [wg 0.0.0.0]"],
        ),
        (
            "to the port proxy: first the relay lets go",
            nat(Power::Installed)
                .relay_listens(&[ssh_at("127.0.0.1")])
                .with(|seen| seen.host.relay.wanted = told(RelayPlace::Guest, vec![]).wanted),
            SSH.into(),
            &["relay: end"],
        ),
        (
            "then the rule comes",
            nat(Power::Installed),
            SSH.into(),
            &["windows: [ssh portproxy]"],
        ),
        (
            "a rule that nobody may take away keeps its port",
            nat(Power::Nobody).rule_stands(ssh_at("0.0.0.0")),
            SSH.into(),
            &["windows: [ssh portproxy]"],
        ),
        (
            "and the relay does not get it",
            nat(Power::Nobody).rule_stands(ssh_at("0.0.0.0")),
            SSH.to_owned() + &backend("relay"),
            &["windows: []", "relay-loopback"],
        ),
    ]);
}

fn told(place: RelayPlace, failed: Vec<(Listen, Failure)>) -> RelayMemory {
    let wanted = RelaySet {
        place,
        forwards: Vec::new(),
    };
    RelayMemory {
        wanted: Some(wanted),
        applied: true,
        failed,
        ..RelayMemory::default()
    }
}

#[test]
fn what_is_so_already_is_not_asked_for() {
    let asked = |machine: &Machine, config: &str| {
        let (mut rules, mut relay) = (None, None);
        for action in planned(machine, config).actions {
            match action {
                Action::SyncForwards(set) => rules = Some(set),
                Action::SyncRelay(set) => relay = Some(set),
                other => panic!("{other:?}"),
            }
        }
        (rules, relay)
    };
    let both = format!("{SSH}{WG}");
    let fresh = nat(Power::Installed);
    let (rules, relay) = asked(&fresh, &both);
    let settled = |machine: &Machine| {
        machine.clone().with(|seen| {
            seen.host.settled.clone_from(&rules);
            seen.host.relay.wanted = relay.clone().flatten();
        })
    };
    let done = settled(&fresh);
    assert_eq!(asked(&done, &both), (None, None));
    let moved = |machine: Machine| {
        machine.with(|seen| seen.addresses[0].net = "172.28.30.1/20".parse().unwrap())
    };
    let (rules_then, relay_then) = asked(&moved(done.clone()), &both);
    let address: std::net::Ipv4Addr = "172.28.30.1".parse().unwrap();
    assert_eq!(rules_then.map(|set| set.connect_address), Some(address));
    let connects = relay_then
        .flatten()
        .map(|set| set.forwards[0].1.connect_address);
    assert_eq!(connects, Some(address));
    // The firewall's rules have no address in them: Windows is not called.
    let (rules, relay) = asked(&fresh, WG);
    let done = fresh.clone().with(|seen| {
        seen.host.settled = rules;
        seen.host.relay.wanted = relay.flatten();
    });
    assert!(matches!(asked(&moved(done), WG), (None, Some(Some(_)))));
    // A listener that failed is tried again, as often as the ledger lets it.
    let (_, relay) = asked(&fresh, WG);
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 10048,
    };
    let failing = fresh.with(|seen| {
        seen.host.relay.wanted = relay.flatten();
        seen.host.relay.failed = vec![(wg_at("0.0.0.0"), failure)];
    });
    assert!(matches!(asked(&failing, WG), (Some(_), Some(Some(_)))));
}

#[test]
fn mirrored_and_consomme_serve_in_the_guest() {
    let mirrored = || Machine::nat().mode(Mode::Mirrored);
    let consomme = || Machine::nat().mode(Mode::Consomme);
    let open_ssh = SSH.replace("none", "full");
    let equal = SSH.replace("connect-port = 22\n", "");
    check(vec![
        (
            "mirrored, unequal ports",
            mirrored(),
            SSH.into(),
            &["relay: guest [ssh 0.0.0.0]"],
        ),
        ("mirrored, equal ports", mirrored(), equal.clone(), &[]),
        (
            "mirrored, firewall, not asked yet",
            mirrored(),
            WG.into(),
            &["windows: mirrored [wg guest]"],
        ),
        (
            "mirrored, firewall, installed",
            mirrored().power(Power::Installed),
            open_ssh.clone() + WG,
            &[
                "windows: mirrored [ssh guest, wg guest]",
                "relay: guest [ssh 0.0.0.0]",
            ],
        ),
        (
            "mirrored, firewall, nobody may",
            mirrored().power(Power::Nobody),
            WG.into(),
            &["forward-firewall"],
        ),
        (
            "mirrored, rules of NAT go",
            mirrored().with(|seen| seen.host.standing = true),
            SSH.into(),
            &["windows: []", "relay: guest [ssh 0.0.0.0]"],
        ),
        (
            "mirrored, portproxy alone",
            mirrored(),
            SSH.to_owned() + &backend("portproxy"),
            &["forward-needs-relay"],
        ),
        (
            "consomme, unequal ports",
            consomme(),
            SSH.into(),
            &["relay: guest [ssh 0.0.0.0]"],
        ),
        ("consomme, equal ports", consomme(), equal, &[]),
        (
            "consomme, firewall",
            consomme(),
            WG.into(),
            &["forward-firewall"],
        ),
        (
            "consomme, rules of NAT go",
            consomme().with(|seen| seen.host.standing = true),
            String::new(),
            &["windows: []"],
        ),
    ]);
}

#[test]
fn the_other_modes() {
    let mode = |mode| Machine::nat().mode(mode);
    let standing = |machine: Machine| machine.with(|seen| seen.host.standing = true);
    check(vec![
        (
            "bridged",
            mode(Mode::Bridged),
            SSH.into(),
            &["forward-mode"],
        ),
        (
            "bridged, rules of NAT go, and so does the relay",
            standing(mode(Mode::Bridged))
                .with(|seen| seen.host.relay = told(RelayPlace::Guest, vec![])),
            SSH.into(),
            &["windows: []", "relay: end", "forward-mode"],
        ),
        ("none", mode(Mode::None), SSH.into(), &["forward-mode"]),
        (
            "none, rules of NAT go without an address",
            standing(Machine::new().mode(Mode::None)),
            String::new(),
            &["windows: []"],
        ),
        (
            "not WSL",
            mode(Mode::NotWsl),
            SSH.into(),
            &["forward-not-wsl"],
        ),
        (
            "not WSL, no forwards",
            mode(Mode::NotWsl),
            String::new(),
            &[],
        ),
        (
            "pending",
            standing(Machine::nat().with(|seen| seen.mode = ModeState::Pending)),
            SSH.into(),
            &[],
        ),
        (
            "unknown: the relay stays as it is",
            Machine::nat().with(|seen| {
                seen.mode = ModeState::Unknown("x".into());
                seen.host.relay = told(RelayPlace::Guest, vec![]);
            }),
            SSH.into(),
            &[],
        ),
    ]);
}

#[test]
fn what_windows_said_stays_visible_until_it_is_over() {
    let said = |code| {
        move |seen: &mut Observation| {
            seen.host.findings.push(Finding::new(code, "", "x"));
        }
    };
    let refused = Machine::nat().with(said(Code::ForwardNotElevated));
    assert!(outcome(&refused, SSH).contains(&"forward-not-elevated".to_owned()));
    check(vec![
        (
            "the relay serves: nobody asks for rules any more",
            nat(Power::Nobody).with(said(Code::ForwardNotElevated)),
            SSH.into(),
            &["relay: unpacked [ssh 127.0.0.1]", "relay-loopback"],
        ),
        (
            "a rule that should go and cannot",
            nat(Power::Nobody)
                .rule_stands(listen_at(Protocol::Tcp, "0.0.0.0", 99))
                .with(said(Code::ForwardNotElevated)),
            String::new(),
            &["windows: []", "forward-not-elevated"],
        ),
        (
            "other troubles stay",
            Machine::nat().with(said(Code::InteropTimeout)),
            SSH.into(),
            &["windows: [ssh portproxy]", "interop-timeout"],
        ),
    ]);
}

#[test]
fn each_forward_is_shown_with_its_server() {
    let shown = |machine: &Machine, config: &str| -> Vec<String> {
        let (settings, seen) = (settings(config), machine.seen());
        crate::plan::served(&settings, &seen)
            .iter()
            .map(|served| {
                let by = served.by.map_or("nobody".to_owned(), |by| by.to_string());
                let instead = served
                    .instead
                    .map_or(String::new(), |at| format!(" at {at}"));
                format!("{} by {by}{instead}: {}", served.name, served.state)
            })
            .collect()
    };
    let both = format!("{SSH}{WG}");
    let failure = |kind| Failure { kind, code: 10048 };
    let same = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 80\n";
    let up = nat(Power::Installed)
        .rule_stands(ssh_at("0.0.0.0"))
        .relay_listens(&[wg_at("0.0.0.0")])
        .with(|seen| {
            seen.host.facts.rules[0].connect = "172.28.16.5:22".parse().unwrap();
            seen.host.relay.applied = true;
        });
    let table: Vec<(Machine, String, &[&str])> = vec![
        (
            Machine::nat(),
            both.clone(),
            &["ssh by portproxy: pending", "wg by relay: pending"],
        ),
        (
            up,
            both.clone(),
            &["ssh by portproxy: up", "wg by relay: up"],
        ),
        (
            nat(Power::Installed).with(|seen| {
                seen.host.facts.blocked = vec![ssh_at("192.168.50.10")];
                seen.host.relay = told(
                    RelayPlace::Guest,
                    vec![(wg_at("0.0.0.0"), failure(FailureKind::Forbidden))],
                );
            }),
            both.clone(),
            &["ssh by portproxy: down", "wg by relay: down"],
        ),
        (
            nat(Power::Nobody)
                .relay_listens(&[ssh_at("127.0.0.1")])
                .with(|seen| seen.host.relay.applied = true),
            both.clone(),
            &[
                "ssh by relay at 127.0.0.1: up",
                "wg by relay at 127.0.0.1: pending",
            ],
        ),
        (
            // WSL's own forwarding of localhost has the port.
            nat(Power::Nobody).with(|seen| {
                let web = listen_at(Protocol::Tcp, "127.0.0.1", 80);
                seen.host.relay.failed = vec![(web, failure(FailureKind::InUse))];
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
            &["ssh by nobody: down", "wg by nobody: down"],
        ),
    ];
    for (machine, config, expected) in table {
        assert_eq!(shown(&machine, &config), expected, "{config}");
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
            "udp 0.0.0.0:41820 may not be had (error 10048)",
        ),
        (
            FailureKind::NoAddress,
            Code::ForwardNoAddress,
            "0.0.0.0 is not there (error 10048)",
        ),
        (
            FailureKind::Other,
            Code::ForwardNotListening,
            "udp 0.0.0.0:41820 failed (error 10048)",
        ),
    ];
    for (kind, code, text) in table {
        let failure = Failure { kind, code: 10048 };
        let machine = nat(Power::Installed)
            .with(|seen| seen.host.relay.failed = vec![(wg_at("0.0.0.0"), failure)]);
        let findings = planned(&machine, WG).findings;
        assert_eq!(findings, [Finding::new(code, "wg", text)]);
    }
}
