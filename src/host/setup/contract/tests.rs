//! The golden requests and answers of `host.ps1`.

use super::*;
use crate::{
    host::setup::{Distribution, Profiles, policy},
    model::DrivePath,
};

/// Reads an answer from these bytes alone.
fn parse(stdout: &[u8]) -> Result<Answer, AnswerError> {
    Answer::parse(&crate::interop::Output {
        stdout: stdout.to_vec(),
        stderr: String::new(),
    })
}

fn golden(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/host-setup");
    let path = format!("{folder}/{name}.json");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn debian() -> Policy {
    let grant = |text: &str| text.parse().unwrap();
    Policy {
        version: policy::VERSION,
        package: "0.1.0".into(),
        distribution: Distribution::try_from("Debian".to_owned()).unwrap(),
        logon: true,
        mode: crate::model::SyncMode::Nat,
        profiles: Profiles::default(),
        grants: vec![grant("tcp:2222:22"), grant("udp:51820")],
    }
}

fn files() -> Vec<Shipped> {
    let file = |name: &str, digit: char| Shipped {
        name: name.into(),
        sha256: digit.to_string().repeat(64),
        content: Vec::new(),
    };
    vec![
        file("forward.ps1", 'a'),
        file("setup.ps1", 'b'),
        file("wslmesh-relay.exe", 'c'),
    ]
}

#[test]
fn requests_are_the_golden_ones() {
    let (policy, files) = (debian(), files());
    let setup = files.get(1..2).unwrap();
    let install = Order::Install {
        policy: &policy,
        package: "0.1.0",
        files: &files,
        agreed: false,
    };
    let table = [
        ("request-look", Order::Look),
        ("request-install", install),
        (
            "request-uninstall",
            Order::Uninstall {
                files: setup,
                agreed: false,
            },
        ),
        (
            "request-uninstall-agreed",
            Order::Uninstall {
                files: setup,
                agreed: true,
            },
        ),
        ("request-check", Order::Check { probe: false }),
        ("request-check-probe", Order::Check { probe: true }),
    ];
    for (name, order) in table {
        let line = line(&order).unwrap();
        assert!(line.is_ascii() && line.ends_with('\n') && line.lines().count() == 1);
        assert_eq!(line, String::from_utf8(golden(name)).unwrap(), "{name}");
    }
}

#[test]
fn every_state_has_a_golden_answer() {
    let table = [
        ("answer-installed", State::Installed),
        ("answer-removed", State::Removed),
        ("answer-looked", State::Looked),
        ("answer-looked-nothing", State::Looked),
        ("answer-checked", State::Checked),
        ("answer-nothing-to-do", State::NothingToDo),
        ("answer-declined", State::Declined),
        ("answer-refused", State::Refused),
        ("answer-forbidden", State::Forbidden),
        ("answer-constrained", State::Constrained),
        ("answer-no-desktop", State::NoDesktop),
        ("answer-unfinished", State::Unfinished),
        ("answer-busy", State::Busy),
        ("answer-verification-failed", State::VerificationFailed),
        ("answer-other-user-version", State::OtherUserVersion),
        ("answer-invalid-request", State::InvalidRequest),
        ("answer-failed", State::Failed),
    ];
    for (name, state) in table {
        let answer = parse(&golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer.state, state, "{name}");
    }
}

#[test]
fn an_installation_is_read_whole() {
    let answer = parse(&golden("answer-installed")).unwrap();
    let installed = Installed {
        version: "0.1.0".into(),
        contract: crate::host::contract::CONTRACT,
        relay_forbidden: false,
        relay: DrivePath::new(r"C:\Program Files\wslmesh\wslmesh-relay.exe").ok(),
    };
    assert_eq!(answer.installed, Some(installed));
    assert_eq!(answer.policy, Agreed::Policy(Box::new(debian())));
    assert_eq!(
        answer.user.as_deref(),
        Some("S-1-5-21-1004336348-1177238915-682003330-1001")
    );
    assert!(answer.over_the_shoulder && !answer.elevated);
    assert_eq!(answer.other_users, ["S-1-5-21-1-2-3-1002".into()]);
    assert_eq!(answer.done.len(), 3);
}

#[test]
fn checks_are_read_with_their_results() {
    let checks = parse(&golden("answer-checked")).unwrap().checks;
    let seen: Vec<(&str, CheckResult, &str)> = checks
        .iter()
        .map(|check| (&*check.id, check.result, &*check.detail))
        .collect();
    assert_eq!(
        seen,
        [
            ("T1", CheckResult::Ok, "172.28.16.5 in 172.28.16.0/20"),
            ("T2", CheckResult::Differs, "the task is disabled"),
            (
                "T3",
                CheckResult::NotRun,
                "run \"wslmesh host check\" again"
            ),
        ]
    );
}

#[test]
fn the_last_request_is_read_if_it_is_one() {
    let answer = String::from_utf8(golden("answer-checked")).unwrap();
    let (before, _) = answer.split_once("\"selection\":").unwrap();
    let found = |text: &str| {
        let answer = format!("{before}\"selection\":{text}}}");
        parse(answer.as_bytes()).unwrap().selection
    };
    let asked = Selection {
        mode: 1,
        forwards: vec![[6, 2222, 22, 1], [17, 51820, 51820, 2]],
    };
    assert_eq!(parse(answer.as_bytes()).unwrap().selection, Some(asked));
    assert_eq!(found("\"\""), Some(Selection::default()));
    for strange in [
        "null",
        "\"{}\"",
        "\"x\"",
        r#""{\"mode\":1,\"forwards\":[[6,70000,22,1]]}""#,
    ] {
        assert_eq!(found(strange), None, "{strange}");
    }
}

/// The golden answer with one part replaced.
fn changed(from: &str, to: &str) -> Result<Answer, AnswerError> {
    let text = String::from_utf8(golden("answer-installed")).unwrap();
    assert!(text.contains(from), "{from}");
    parse(text.replacen(from, to, 1).as_bytes())
}

#[test]
fn unreadable_policy_is_not_no_policy() {
    let none = parse(&golden("answer-looked-nothing")).unwrap();
    assert_eq!((none.policy, none.installed), (Agreed::Nothing, None));
    let broken = [
        (
            r#""listen-ports":[2222,2222]"#,
            r#""listen-ports":[2223,2222]"#,
        ),
        (
            r#""listen-ports":[2222,2222]"#,
            r#""listen-ports":[0,2222]"#,
        ),
        (r#""profiles":["domain","private"]"#, r#""profiles":[]"#),
        (
            r#""profiles":["domain","private"]"#,
            r#""profiles":["guest"]"#,
        ),
        (r#""distribution":"Debian""#, r#""distribution":"-x; rm""#),
        (r#""firewall":"local""#, r#""firewall":"all""#),
        (r#""logon":true"#, r#""logon":true,"more":1"#),
    ];
    for (from, to) in broken {
        assert_eq!(
            changed(from, to).unwrap().policy,
            Agreed::Unreadable,
            "{to}"
        );
    }
}

#[test]
fn other_answers_are_refused() {
    let table = [
        (r#""version":1,"state""#, r#""version":2,"state""#),
        (r#""state":"installed""#, r#""state":"fine""#),
        (r#""state":"installed","#, ""),
        (r#""done":["#, r#""done":[1,"#),
    ];
    for (from, to) in table {
        assert!(changed(from, to).is_err(), "{to}");
    }
    for bytes in [&b""[..], b"\xff\xfe{\0", b"Windows PowerShell\r\n{}"] {
        assert!(parse(bytes).is_err());
    }
}

#[test]
fn foreign_text_cannot_disturb_a_terminal() {
    let answer = changed("the rules of the firewall", "\\u001b[2J\\nthe rules").unwrap();
    let all: String = answer.done.iter().map(|line| &**line).collect();
    assert!(!all.contains(['\u{1b}', '\n']), "{all:?}");
    let answer = changed(r#""0.1.0","contract""#, r#""\u001b]0;x","contract""#).unwrap();
    assert!(!answer.installed.unwrap().version.contains('\u{1b}'));
}

#[test]
fn files_follow_their_order() {
    let look = Order::Look.input().unwrap();
    assert_eq!(look, b"{\"version\":1,\"action\":\"look\"}\n");
    let files = [
        Shipped::new("a", b"\x00\n\xff".to_vec()),
        Shipped::new("b", Vec::new()),
    ];
    let order = Order::Uninstall {
        files: &files,
        agreed: false,
    };
    let input = order.input().unwrap();
    let end = input.iter().position(|byte| *byte == b'\n').unwrap();
    let (request, follows) = input.split_at(end);
    let request: serde_json::Value = serde_json::from_slice(request).unwrap();
    assert_eq!(request["files"][1]["name"], "b");
    assert_eq!(follows, b"\n3\n\x00\n\xff0\n");
}
