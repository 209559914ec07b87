//! The Windows-side forwards.

use super::Node;
use crate::{
    config::{Backend, Firewall, Forward, Protocol, Settings},
    model::{Action, Finding, Mode, ModeState, Observation, Plan, Rule, RuleSet},
    report::Code,
};

pub(super) fn plan(settings: &Settings, seen: &Observation, node: Option<&Node>) -> Plan {
    let mut plan = Plan::default();
    let nat_mode = seen.mode == ModeState::Known(Mode::Nat);
    if seen.host.standing
        && seen.mode.known().is_some()
        && (settings.backend == Backend::None || !nat_mode)
    {
        plan.findings.push(Finding::new(
            Code::ForwardStanding,
            "",
            "rules made in an earlier run or mode are left as they are",
        ));
    }
    if settings.backend == Backend::None {
        return plan;
    }
    let any = !settings.forwards.is_empty();
    match &seen.mode {
        ModeState::Known(Mode::Nat) => nat(settings, seen, node, &mut plan),
        ModeState::Known(Mode::NotWsl) if any => {
            let detail = format!("{} configured", count(settings.forwards.len()));
            plan.findings
                .push(Finding::new(Code::ForwardNotWsl, "", detail));
        }
        ModeState::Known(mode) if any => {
            plan.findings
                .push(Finding::new(Code::ForwardMode, "", need(*mode)))
        }
        // Pending resolves by itself, and an unknown mode has its own finding.
        ModeState::Known(_) | ModeState::Pending | ModeState::Unknown(_) => {}
    }
    plan
}

fn nat(settings: &Settings, seen: &Observation, node: Option<&Node>, plan: &mut Plan) {
    let (served, unserved): (Vec<&Forward>, Vec<&Forward>) =
        settings.forwards.iter().partition(|forward| {
            forward.protocol == Protocol::Tcp && settings.backend != Backend::Relay
        });
    for forward in unserved {
        let detail = format!(
            "forward {:?} ({} port {}) is not served",
            forward.name, forward.protocol, forward.listen_port
        );
        plan.findings.push(Finding::new(
            Code::ForwardNeedsRelay,
            forward.name.as_str(),
            detail,
        ));
    }
    plan.findings.extend(seen.host.findings.iter().cloned());
    let Some(node) = node else { return };
    if served.is_empty() && !seen.host.standing {
        return;
    }
    let open: Vec<String> = served
        .iter()
        .filter(|forward| forward.firewall != Firewall::None)
        .map(|forward| forward.listen_port.to_string())
        .collect();
    if !open.is_empty() {
        plan.findings.push(Finding::new(
            Code::ForwardFirewall,
            "",
            format!("TCP {} must be allowed in by hand", open.join(", ")),
        ));
    }
    let rules = served
        .iter()
        .map(|forward| Rule {
            name: forward.name.clone(),
            listen_address: forward.listen_address,
            listen_port: forward.listen_port,
            connect_port: forward.connect_port,
        })
        .collect();
    let wanted = RuleSet {
        connect_address: node.address(),
        rules,
    };
    if seen.host.settled.as_ref() != Some(&wanted) {
        plan.actions.push(Action::SyncForwards(wanted));
    }
}

fn count(forwards: usize) -> String {
    if forwards == 1 {
        "1 forward".to_owned()
    } else {
        format!("{forwards} forwards")
    }
}

/// What a mode without portproxy would need on Windows.
fn need(mode: Mode) -> &'static str {
    match mode {
        Mode::Mirrored => {
            "in mirrored mode Windows' addresses are this machine's: allow the ports in the Hyper-V firewall (New-NetFirewallHyperVRule) and use equal ports"
        }
        Mode::Consomme => {
            "in consomme mode (virtioproxy) Windows listens for what is bound here: use equal ports and allow them in Windows' firewall"
        }
        Mode::Bridged => {
            "in bridged mode this machine has its own address in the LAN: reach it there directly"
        }
        Mode::None => "without a network nothing can be forwarded",
        Mode::Nat | Mode::NotWsl => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::settings, plan::testing::Machine};

    const SSH: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\nfirewall = \"none\"\n";

    fn outcome(machine: &Machine, config: &str) -> Vec<String> {
        let (settings, seen) = (settings(config), machine.seen());
        let node = super::super::node(&settings, &seen).ok();
        let plan = plan(&settings, &seen, node.as_ref());
        plan.actions
            .iter()
            .map(ToString::to_string)
            .chain(plan.findings.iter().map(|finding| finding.code.to_string()))
            .collect()
    }

    /// What the plan wants in this machine.
    fn wanted(machine: &Machine, config: &str) -> RuleSet {
        let (settings, seen) = (settings(config), machine.seen());
        let node = super::super::node(&settings, &seen).unwrap();
        match plan(&settings, &seen, Some(&node)).actions.pop() {
            Some(Action::SyncForwards(set)) => set,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_mode() {
        let settled = |set: RuleSet| Machine::nat().with(|seen| seen.host.settled = Some(set));
        let moved = wanted(
            &Machine::nat().with(|seen| seen.addresses[0].net = "172.28.30.1/20".parse().unwrap()),
            SSH,
        );
        let table: Vec<(&str, Machine, String, Vec<&str>)> = vec![
            (
                "no forwards, nothing ever made",
                Machine::nat(),
                String::new(),
                vec![],
            ),
            (
                "first sync",
                Machine::nat(),
                SSH.into(),
                vec!["ask Windows for 1 forward -> 172.28.16.5"],
            ),
            (
                "already so",
                settled(wanted(&Machine::nat(), SSH)),
                SSH.into(),
                vec![],
            ),
            (
                "the address moved",
                settled(moved),
                SSH.into(),
                vec!["ask Windows for 1 forward -> 172.28.16.5"],
            ),
            (
                "the last forward went: withdraw",
                Machine::nat().with(|seen| seen.host.standing = true),
                String::new(),
                vec!["ask Windows for 0 forwards -> 172.28.16.5"],
            ),
            (
                "rules of an earlier run in another mode",
                Machine::nat()
                    .mode(Mode::Mirrored)
                    .with(|seen| seen.host.standing = true),
                String::new(),
                vec!["forward-standing"],
            ),
            (
                "rules of an earlier run, Windows is not to be called",
                Machine::nat().with(|seen| seen.host.standing = true),
                "[host]
backend = \"none\""
                    .into(),
                vec!["forward-standing"],
            ),
            (
                "no address: nothing to point at",
                Machine::new(),
                SSH.into(),
                vec![],
            ),
            (
                "backend none",
                Machine::nat(),
                format!("{SSH}[host]\nbackend = \"none\""),
                vec![],
            ),
            (
                "the relay is not here",
                Machine::nat(),
                format!("{SSH}[host]\nbackend = \"relay\""),
                vec!["forward-needs-relay"],
            ),
            (
                "UDP",
                Machine::nat(),
                SSH.replace("tcp", "udp"),
                vec!["forward-needs-relay"],
            ),
            (
                "firewall asked for",
                Machine::nat(),
                SSH.replace("none", "full"),
                vec![
                    "ask Windows for 1 forward -> 172.28.16.5",
                    "forward-firewall",
                ],
            ),
            (
                "mirrored",
                Machine::nat().mode(Mode::Mirrored),
                SSH.into(),
                vec!["forward-mode"],
            ),
            (
                "consomme",
                Machine::nat().mode(Mode::Consomme),
                SSH.into(),
                vec!["forward-mode"],
            ),
            (
                "not WSL",
                Machine::nat().mode(Mode::NotWsl),
                SSH.into(),
                vec!["forward-not-wsl"],
            ),
            (
                "not WSL, no forwards",
                Machine::nat().mode(Mode::NotWsl),
                String::new(),
                vec![],
            ),
            (
                "pending",
                Machine::nat().with(|seen| seen.mode = ModeState::Pending),
                SSH.into(),
                vec![],
            ),
            (
                "unknown",
                Machine::nat().with(|seen| seen.mode = ModeState::Unknown("x".into())),
                SSH.into(),
                vec![],
            ),
        ];
        for (case, machine, config, expected) in table {
            assert_eq!(outcome(&machine, &config), expected, "{case}");
        }
    }

    #[test]
    fn what_windows_said_stays_visible() {
        let finding = Finding::new(Code::ForwardNotElevated, "", "x");
        let machine = Machine::nat().with(|seen| {
            seen.host.findings.push(finding.clone());
        });
        assert!(outcome(&machine, SSH).contains(&"forward-not-elevated".to_owned()));
    }
}
