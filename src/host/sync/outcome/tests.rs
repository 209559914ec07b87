//! The outcome of each answer.

use serde_json::{Value, json};

use super::*;
use crate::model::{DrivePath, DynamicPorts, Firewall, ForwardBackend, SyncMode};

/// Reads an answer from these bytes alone.
fn parse(stdout: &[u8]) -> Result<Answer, impl std::fmt::Debug> {
    Answer::parse(&crate::interop::Output {
        stdout: stdout.to_vec(),
        stderr: String::new(),
    })
}

fn rule(name: &str, protocol: Protocol, port: u16, backend: ForwardBackend) -> Rule {
    let port = std::num::NonZeroU16::new(port).unwrap();
    Rule {
        name: name.into(),
        listen: Listen {
            protocol,
            listen_address: "0.0.0.0".parse().unwrap(),
            listen_port: port,
        },
        connect_port: port,
        backend,
        firewall: Firewall::Local,
    }
}

fn wanted() -> RuleSet {
    RuleSet {
        mode: SyncMode::Nat,
        connect_address: "172.28.16.5".parse().unwrap(),
        rules: vec![
            rule("ssh", Protocol::Tcp, 2222, ForwardBackend::Portproxy),
            rule("wg", Protocol::Udp, 51820, ForwardBackend::Relay),
        ],
    }
}

/// The outcome of a plain answer with some fields replaced.
fn answered(state: &str, more: Value) -> HostOutcome {
    let mut answer = json!({
        "version": 1, "state": state, "detail": "Dienst", "elevated": false, "rules": [],
        "added": 0, "removed": 0, "kept": 0, "conflicts": [], "taken": [], "refused": [],
        "firewall": null, "installed": null, "local-app-data": "C:\\Users\\me\\AppData\\Local",
        "guest-address": null, "windows-address": "192.168.50.10",
        "lowest-mtu": {"name": "Tailscale", "mtu": 1280},
    });
    for (name, value) in more.as_object().unwrap() {
        answer[name] = value.clone();
    }
    let answer = parse(answer.to_string().as_bytes()).unwrap();
    of(wanted(), answer, Duration::from_millis(700))
}

fn installed() -> Value {
    json!({"version": "0.1.0", "contract": CONTRACT, "relay": "C:\\Program Files\\wslmesh\\wslmesh-relay.exe"})
}

fn firewall(state: &str, kept: u32, blocks: &[&str], covered: bool) -> Value {
    json!({"state": state, "detail": null, "added": 0, "removed": 0, "kept": kept,
        "blocks": blocks, "profiles": ["public"], "covered": covered})
}

fn said(outcome: &HostOutcome) -> Vec<(Code, &str, &str)> {
    outcome
        .findings
        .iter()
        .map(|finding| {
            (
                finding.code,
                finding.subject.as_str(),
                finding.detail.as_str(),
            )
        })
        .collect()
}

#[test]
fn each_state_has_its_code() {
    let table = [
        ("synced", true, None, Some(false)),
        (
            "not-elevated",
            true,
            Some(Code::ForwardNotElevated),
            Some(false),
        ),
        ("partial", false, Some(Code::ForwardIncomplete), Some(false)),
        (
            "service-stopped",
            false,
            Some(Code::ForwardService),
            Some(false),
        ),
        ("invalid-request", false, Some(Code::ForwardFailed), None),
        ("failed", false, Some(Code::ForwardFailed), Some(true)),
        ("task-failed", false, Some(Code::HostTaskFailed), Some(true)),
        (
            "task-timeout",
            false,
            Some(Code::HostTaskTimeout),
            Some(true),
        ),
        (
            "guest-address-unknown",
            false,
            Some(Code::GuestAddressUnknown),
            Some(false),
        ),
        ("other-version", true, Some(Code::HostVersion), Some(false)),
        ("superseded", false, Some(Code::ForwardFailed), Some(false)),
    ];
    for (state, settled, code, rules_remain) in table {
        let outcome = answered(state, json!({}));
        assert_eq!(
            (
                outcome.settled,
                outcome.findings.first().map(|finding| finding.code)
            ),
            (settled, code),
            "{state}"
        );
        let looked = !["invalid-request", "failed"].contains(&state);
        assert_eq!(outcome.facts.is_some(), looked, "{state}");
        assert_eq!(outcome.rules_remain, rules_remain, "{state}");
        let dynamic = outcome.facts.as_ref().map(|facts| facts.dynamic);
        assert_eq!(dynamic, looked.then(DynamicPorts::default), "{state}");
        let lowest = outcome.facts.and_then(|facts| facts.lowest_mtu);
        assert_eq!(
            lowest,
            looked.then(|| ("Tailscale".into(), 1280)),
            "{state}"
        );
    }
}

#[test]
fn privilege_follows_the_answer() {
    let facts = |more| answered("synced", more).facts.unwrap();
    let range = json!({"dynamic": {"tcp": null, "udp": [50000, 60000]}});
    let dynamic = facts(range).dynamic;
    assert_eq!(dynamic.of(Protocol::Udp), "50000-60000".parse().ok());
    assert_eq!(dynamic.of(Protocol::Tcp), None);
    let none = facts(json!({}));
    assert_eq!(
        (none.privilege, none.firewall),
        (HostPrivilege::None, false)
    );
    assert_eq!(
        none.local_app_data,
        DrivePath::new(r"C:\Users\me\AppData\Local").ok()
    );
    let elevated = facts(json!({"elevated": true, "firewall": firewall("done", 0, &[], true)}));
    assert_eq!(
        (elevated.privilege, elevated.firewall),
        (HostPrivilege::Elevated, true)
    );
    let both = facts(json!({"elevated": true, "installed": installed()}));
    assert_eq!(both.privilege, HostPrivilege::Elevated);
    let mut forbidden = installed();
    forbidden["relay-forbidden"] = json!(true);
    let may = facts(json!({"installed": installed()}));
    let may_not = facts(json!({"installed": forbidden}));
    assert_eq!(
        (may.privilege, may.relay_forbidden, may_not.relay_forbidden),
        (HostPrivilege::Installed, false, true)
    );
    assert_eq!(
        both.installed_relay.unwrap().as_str(),
        r"C:\Program Files\wslmesh\wslmesh-relay.exe"
    );
    let mut other = installed();
    other["contract"] = json!(CONTRACT - 1);
    let other = answered("other-version", json!({"installed": other}))
        .facts
        .unwrap();
    assert_eq!(
        (other.privilege, other.installed_relay),
        (HostPrivilege::Installed, None)
    );
}

#[test]
fn rules_and_firewall_possibly_installed() {
    let one = json!([{"listen-address": "0.0.0.0", "listen-port": 2222, "connect-address": "172.28.16.5", "connect-port": 22}]);
    let table = [
        (json!({}), Some(false)),
        (json!({"rules": one}), Some(true)),
        (
            // What an installation made stays.
            json!({"installed": installed(), "firewall": firewall("done", 1, &[], true)}),
            Some(false),
        ),
        (
            json!({"installed": installed(), "firewall": firewall("done", 0, &[], true)}),
            Some(false),
        ),
        (
            json!({"installed": installed(), "firewall": firewall("failed", 0, &[], true)}),
            Some(true),
        ),
        (
            json!({"firewall": firewall("failed", 0, &[], true)}),
            Some(true),
        ),
        (json!({"installed": installed()}), None),
    ];
    for (more, rules_remain) in table {
        assert_eq!(
            answered("synced", more.clone()).rules_remain,
            rules_remain,
            "{more}"
        );
    }
}

#[test]
fn overlapping_foreign_rules_are_one_conflict_of_a_forward() {
    let other = |address: &str, port: u16| json!({"listen-address": address, "listen-port": port, "connect-address": "10.0.0.1", "connect-port": 80});
    let outcome = answered(
        "synced",
        json!({"conflicts": [
            other("192.168.1.2", 2222), other("192.168.1.3", 2222), other("0.0.0.0", 99), other("0.0.0.0", 51820),
        ]}),
    );
    assert_eq!(
        said(&outcome),
        [
            (
                Code::ForwardConflict,
                "ssh",
                "Windows already forwards 192.168.1.2:2222 to 10.0.0.1:80; Windows already forwards 192.168.1.3:2222 to 10.0.0.1:80"
            ),
            (
                Code::ForwardConflict,
                "",
                "Windows already forwards 0.0.0.0:99 to 10.0.0.1:80; Windows already forwards 0.0.0.0:51820 to 10.0.0.1:80"
            ),
        ]
    );
    assert!(outcome.settled);
    let same = json!({"listen-address": "0.0.0.0", "listen-port": 2222, "connect-address": "172.28.16.5", "connect-port": 2222});
    let outcome = answered("synced", json!({"conflicts": [same]}));
    let (code, _, text) = said(&outcome)[0];
    assert_eq!(code, Code::ForwardConflict);
    assert!(text.contains("remove it once"), "{text}");
}

#[test]
fn a_firewall_that_failed_is_said_once_and_tried_again() {
    let mut failed = firewall("failed", 0, &[], true);
    failed["detail"] = json!("the firewall rule for TCP port 2222 is missing or different");
    let outcome = answered("partial", json!({"detail": null, "firewall": failed}));
    assert_eq!(said(&outcome).len(), 1, "{outcome:?}");
    assert_eq!(said(&outcome)[0].0, Code::FirewallFailed);
    assert!(!outcome.settled);
    let mut done = firewall("done", 1, &[], true);
    done["detail"] = json!("group policy rules the firewall of this machine");
    let outcome = answered("synced", json!({"firewall": done}));
    assert_eq!(
        said(&outcome),
        [(
            Code::FirewallFailed,
            "",
            "group policy rules the firewall of this machine"
        )]
    );
    assert!(outcome.settled);
}

#[test]
fn conflicts_are_named_with_their_forward() {
    let taken = |kind: &str, owner: Value| json!({"taken": [{"protocol": "tcp", "listen-address": "0.0.0.0", "listen-port": 2222, "kind": kind, "owner": owner}]});
    let refused = |reason: &str| json!({"refused": [{"protocol": "udp", "listen-port": 51820, "connect-port": 51820, "reason": reason}]});
    let table = [
        (
            taken("in-use", json!("nginx (1234)")),
            (
                Code::ForwardTaken,
                "ssh",
                "tcp 0.0.0.0:2222 is in use by nginx (1234)",
            ),
        ),
        (
            taken("forbidden", Value::Null),
            (Code::ForwardExcluded, "ssh", "tcp 0.0.0.0:2222 is reserved"),
        ),
        (
            refused("outside-policy"),
            (
                Code::ForwardOutsidePolicy,
                "wg",
                "udp port 51820 to 51820: the policy does not allow its ports",
            ),
        ),
        (
            refused("listen-address"),
            (
                Code::ForwardOutsidePolicy,
                "wg",
                "udp port 51820 to 51820: the policy allows its ports on another listen-address",
            ),
        ),
        (
            refused("firewall"),
            (
                Code::ForwardOutsidePolicy,
                "wg",
                "udp port 51820 to 51820: the policy allows its ports with another firewall",
            ),
        ),
        (
            json!({"firewall": firewall("done", 1, &["nginx", "wslmesh-relay.exe"], true)}),
            (
                Code::FirewallBlocked,
                "",
                r#"these rules block: "nginx", "wslmesh-relay.exe""#,
            ),
        ),
        (
            json!({"firewall": firewall("done", 1, &[], false)}),
            (Code::FirewallProfile, "", "the networks now are public"),
        ),
        (
            json!({"firewall": firewall("failed", 0, &[], true)}),
            (Code::FirewallFailed, "", "Windows gave no reason"),
        ),
        (
            refused("backend"),
            (
                Code::ForwardOutsidePolicy,
                "wg",
                "udp port 51820 to 51820: the policy allows its ports with another backend",
            ),
        ),
        (
            json!({"silent": [{"protocol": "udp", "listen-address": "0.0.0.0", "listen-port": 51820}]}),
            (
                Code::ForwardNotListening,
                "wg",
                "Windows has no listener on udp 0.0.0.0:51820, where the relay listens",
            ),
        ),
        (
            json!({"guest-address": "172.28.99.9"}),
            (
                Code::GuestAddressDiffers,
                "",
                "Windows found 172.28.99.9, and here it is 172.28.16.5",
            ),
        ),
    ];
    for (more, expected) in table {
        let outcome = answered("synced", more.clone());
        assert_eq!(said(&outcome), [expected], "{more}");
        let again = [Code::GuestAddressDiffers, Code::ForwardNotListening];
        let settled = !again.contains(&expected.0);
        assert_eq!(outcome.settled, settled, "{more}");
    }
    let fine = answered(
        "synced",
        json!({"guest-address": "172.28.16.5", "firewall": firewall("done", 0, &[], false)}),
    );
    assert_eq!(said(&fine), []);
}

#[test]
fn a_change_is_one_line() {
    let one = json!([{"listen-address": "0.0.0.0", "listen-port": 2222, "connect-address": "172.28.16.5", "connect-port": 22}]);
    let outcome = answered("synced", json!({"rules": one, "added": 1}));
    assert_eq!(
        outcome.changed.as_deref(),
        Some("Windows forward 0.0.0.0:2222 -> 172.28.16.5: 1 set, 0 removed, 0 kept, in 700 ms")
    );
    let outcome = answered("synced", json!({"removed": 1}));
    assert_eq!(
        outcome.changed.as_deref(),
        Some("Windows forwards (none): 0 set, 1 removed, 0 kept, in 700 ms")
    );
    assert_eq!(answered("synced", json!({"kept": 3})).changed, None);
}

#[test]
fn forwards_that_the_firewall_holds_are_known() {
    let wg = wanted().rules[1].listen;
    let held = json!([{"protocol": "udp", "listen-port": 51820, "connect-port": 51820}]);
    let as_granted = |more| answered("synced", more).facts.unwrap().as_granted.to_vec();
    assert_eq!(as_granted(json!({})), [wg]);
    assert_eq!(as_granted(json!({"narrower": held})), []);
}

#[test]
fn what_was_lost_is_named_beside_what_was_done() {
    let at = |port: u16| json!({"listen-address": "0.0.0.0", "listen-port": port});
    let ssh = json!({"listen-address": "0.0.0.0", "listen-port": 2222,
        "connect-address": "172.28.16.5", "connect-port": 2222});
    let mut done = firewall("done", 0, &[], true);
    done["added"] = 1.into();
    done["restored"] = json!(["the firewall rule for TCP port 2222"]);
    // Another port is no forward of ours, and the relay has no rules.
    let restored = json!([at(2222), at(9), at(51820)]);
    let outcome = answered(
        "synced",
        json!({"rules": [ssh], "added": 1, "restored": restored, "firewall": done}),
    );
    let lost = ["forward ssh", "the firewall rule for TCP port 2222"];
    assert_eq!(outcome.restored, lost);
    let line = outcome.changed.unwrap();
    assert!(
        line.starts_with(
            "rules were missing on Windows and are restored: forward ssh, the firewall rule for TCP port 2222; Windows forward 0.0.0.0:2222 -> 172.28.16.5: 1 set"
        ),
        "{line}"
    );
    let outcome = answered("synced", json!({"added": 1}));
    assert!(outcome.restored.is_empty() && !outcome.changed.unwrap().contains("lost"));
}
