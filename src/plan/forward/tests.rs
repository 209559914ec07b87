//! The backend of each forward, in tables.

mod circle;
mod ipv6;
mod loopback;
mod nat;
mod served;
mod tunnel;

use std::net::SocketAddrV4;

use super::*;
use crate::{
    config::{Protocol, settings},
    model::{
        Admit, DrivePath, Failure, FailureKind, InstalledRule, Listens, RelayLocation, RelayMemory,
    },
    plan::tests::machine::{self, Machine},
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
    fn privilege(self, privilege: HostPrivilege) -> Self;
    fn rule_installed(self, listen: Listen) -> Self;
    fn relay_listens(self, listens: &[Listen]) -> Self;
    fn read_back(self, listens: &[Listen]) -> Self;
}

impl Windows for Machine {
    /// Windows has answered, and may do so much.
    fn privilege(self, privilege: HostPrivilege) -> Self {
        self.with(|seen| {
            let facts = &mut seen.host.facts;
            facts.privilege = privilege;
            facts.local_app_data = DrivePath::new(r"C:\Users\me\AppData\Local").ok();
            facts.firewall = matches!(
                privilege,
                HostPrivilege::Installed | HostPrivilege::Elevated
            );
            facts.installed_relay = (privilege == HostPrivilege::Installed)
                .then(|| DrivePath::new(r"C:\Program Files\wslmesh\wslmesh-relay.exe").unwrap());
            seen.host.possibly_installed = Some(Listens::default());
        })
    }

    fn rule_installed(self, listen: Listen) -> Self {
        self.with(|seen| {
            seen.host.rules_remain = true;
            seen.host
                .possibly_installed
                .get_or_insert_default()
                .extend([listen]);
            seen.host.facts.rules.push(InstalledRule {
                listen,
                connect: SocketAddrV4::new([172, 28, 16, 4].into(), 22),
            });
        })
    }

    fn relay_listens(self, listens: &[Listen]) -> Self {
        self.with(|seen| {
            seen.host.relay.listening.extend(listens.iter().copied());
            seen.host.relay.applied = true;
        })
    }

    /// The relay listens, and Windows has said that the firewall lets in no more.
    fn read_back(self, listens: &[Listen]) -> Self {
        let machine = self.relay_listens(listens);
        machine.with(|seen| seen.host.facts.as_granted.extend(listens.iter().copied()))
    }
}

fn planned(machine: &Machine, config: &str) -> Plan {
    machine::planned(&settings(config), &machine.seen(), plan)
}

/// The actions, in short, and the codes.
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
                .map(|rule| format!("{} {}", rule.name, rule.backend))
                .collect();
            format!("windows: {mode}[{}]", rules.join(", "))
        }
        Action::SyncRelay(RelayRole::Entry, None) => "relay: end".to_owned(),
        Action::SyncRelay(RelayRole::Loopback, None) => "inside: end".to_owned(),
        Action::SyncRelay(role, Some(set)) => {
            let location = match &set.location {
                RelayLocation::Installed { .. } => "installed",
                RelayLocation::Unpacked(_) => "unpacked",
                RelayLocation::Guest => "guest",
            };
            let forwards: Vec<String> = set
                .forwards
                .iter()
                .map(|(name, forward)| {
                    let held = match forward.admit {
                        Admit::Any => "",
                        Admit::Local => " local",
                        Admit::Host => " host",
                        Admit::Behind(_) => " behind",
                    };
                    format!("{name} {}{held}", forward.listen.listen_address)
                })
                .collect();
            let relay = match role {
                RelayRole::Entry => "relay",
                RelayRole::Loopback => "inside",
            };
            format!("{relay}: {location} [{}]", forwards.join(", "))
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

fn nat(privilege: HostPrivilege) -> Machine {
    Machine::nat().privilege(privilege)
}

fn relay_at(place: RelayLocation, failed: Vec<(Listen, Failure)>) -> RelayMemory {
    let wanted = RelaySet {
        location: place,
        forwards: Vec::new(),
    };
    RelayMemory {
        wanted: Some(wanted),
        applied: true,
        failed: failed.into_iter().collect(),
        ..RelayMemory::default()
    }
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
            "mirrored, ports that Windows keeps",
            mirrored(),
            SSH.replace("2222", "5357") + &WG.replace("41820", "68"),
            &["forward-kept", "forward-kept"],
        ),
        (
            "consomme, a port that mirrored mode keeps",
            consomme(),
            SSH.replace("2222", "5357"),
            &["relay: guest [ssh 0.0.0.0]"],
        ),
        (
            "mirrored, firewall, not asked yet",
            mirrored(),
            WG.into(),
            &["windows: mirrored [wg guest]"],
        ),
        (
            "mirrored, firewall, installed",
            mirrored().privilege(HostPrivilege::Installed),
            open_ssh.clone() + WG,
            &[
                "relay: guest [ssh 0.0.0.0]",
                "windows: mirrored [ssh guest, wg guest]",
            ],
        ),
        (
            "mirrored, firewall, no privilege",
            mirrored().privilege(HostPrivilege::None),
            WG.into(),
            &["forward-firewall"],
        ),
        (
            "mirrored, rules of NAT go",
            mirrored().with(|seen| seen.host.rules_remain = true),
            SSH.into(),
            &["relay: guest [ssh 0.0.0.0]", "windows: []"],
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
            consomme().with(|seen| seen.host.rules_remain = true),
            String::new(),
            &["windows: []"],
        ),
    ]);
}

#[test]
fn the_other_modes() {
    let mode = |mode| Machine::nat().mode(mode);
    let rules_remain = |machine: Machine| machine.with(|seen| seen.host.rules_remain = true);
    check(vec![
        (
            "bridged, unequal ports",
            mode(Mode::Bridged),
            SSH.into(),
            &["relay: guest [ssh 0.0.0.0]"],
        ),
        (
            "bridged, equal ports: Windows' firewall has no part in it",
            mode(Mode::Bridged),
            WG.into(),
            &[],
        ),
        (
            "bridged, rules of NAT go",
            rules_remain(mode(Mode::Bridged)),
            SSH.into(),
            &["relay: guest [ssh 0.0.0.0]", "windows: []"],
        ),
        (
            "bridged, rules of NAT go without an address",
            rules_remain(Machine::new().mode(Mode::Bridged)),
            SSH.into(),
            &["windows: []"],
        ),
        (
            "none, rules of NAT go, and so does the relay",
            rules_remain(mode(Mode::None))
                .with(|seen| seen.host.relay = relay_at(RelayLocation::Guest, vec![])),
            SSH.into(),
            &["relay: end", "windows: []", "forward-mode"],
        ),
        ("none", mode(Mode::None), SSH.into(), &["forward-mode"]),
        (
            "none, rules of NAT go without an address",
            rules_remain(Machine::new().mode(Mode::None)),
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
            rules_remain(Machine::nat().with(|seen| seen.mode = ModeState::Pending)),
            SSH.into(),
            &[],
        ),
        (
            "unknown: the relay stays as it is",
            Machine::nat().with(|seen| {
                seen.mode = ModeState::Unknown("x".into());
                seen.host.relay = relay_at(RelayLocation::Guest, vec![]);
            }),
            SSH.into(),
            &[],
        ),
    ]);
}

#[test]
fn findings_of_windows_stay_until_they_clear() {
    let said = |code| {
        move |seen: &mut Observation| {
            seen.host.findings.push(Finding::new(code, "", "x"));
        }
    };
    let refused = Machine::nat().with(said(Code::ForwardNotElevated));
    let portproxy = || SSH.to_owned() + &backend("portproxy");
    assert!(outcome(&refused, &portproxy()).contains(&"forward-not-elevated".to_owned()));
    check(vec![
        (
            "the relay serves: no rules are requested",
            nat(HostPrivilege::None).with(said(Code::ForwardNotElevated)),
            SSH.into(),
            &["relay: unpacked [ssh 127.0.0.1]", "relay-loopback"],
        ),
        (
            "a rule that should go and cannot",
            nat(HostPrivilege::None)
                .rule_installed(listen_at(Protocol::Tcp, "0.0.0.0", 99))
                .with(said(Code::ForwardNotElevated)),
            String::new(),
            &["windows: []", "forward-not-elevated"],
        ),
        (
            "other findings stay",
            Machine::nat().with(said(Code::InteropTimeout)),
            portproxy(),
            &["windows: [ssh portproxy]", "interop-timeout"],
        ),
    ]);
}

#[test]
fn the_relay_alone_writes_the_header_that_names_the_client() {
    let ssh = SSH.to_owned() + "proxy-protocol = \"v2\"\n";
    let same = ssh.replace("connect-port = 22\n", "");
    let mirrored = || Machine::nat().mode(Mode::Mirrored);
    let by_portproxy = "windows: [ssh portproxy]".to_owned();
    let elevated = nat(HostPrivilege::Elevated);
    assert!(outcome(&elevated, SSH).contains(&by_portproxy));
    assert!(!outcome(&elevated, &ssh).contains(&by_portproxy));
    for (machine, config) in [(elevated, &ssh), (nat(HostPrivilege::Installed), &same)] {
        let actions = planned(&machine, config).actions;
        let relayed = actions.iter().find_map(|action| match action {
            Action::SyncRelay(_, Some(wanted)) => wanted.forwards.first(),
            _ => None,
        });
        let header = relayed.and_then(|(_, forward)| forward.proxy_protocol);
        assert_eq!(header, Some(crate::model::ProxyProtocol::V2), "{actions:?}");
    }
    check(vec![
        (
            "two ports: the relay in the guest serves it",
            mirrored(),
            ssh,
            &["relay: guest [ssh 0.0.0.0]"],
        ),
        (
            "one port: clients reach the service itself",
            mirrored(),
            same,
            &["forward-no-header"],
        ),
    ]);
}
