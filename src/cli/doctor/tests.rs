//! The text and the JSON document.

use serde_json::Value;

use super::*;
use crate::doctor::tests::check;

/// A finding of a check; without a remediation the check's applies.
fn finding(
    severity: Severity,
    detail: impl Into<String>,
    remediation: impl Into<String>,
) -> HealthEntry {
    HealthEntry {
        code: String::new(),
        severity,
        subject: String::new(),
        detail: detail.into(),
        remediation: remediation.into(),
    }
}

/// An agent with two warnings and an error.
fn verdict() -> (&'static Check, Verdict) {
    let mut findings = vec![
        finding(Severity::Warning, "the fan is loud", "Oil it"),
        finding(Severity::Error, "the roof is missing", ""),
        finding(Severity::Warning, "the door is loud", "Oil it"),
        finding(Severity::Warning, "the lamp is dark", "Change the bulb"),
    ];
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    (check("agent-health"), Verdict::Found(findings))
}

#[test]
fn each_finding_is_printed_with_its_fix() {
    let page = page(&[verdict()], false).join("\n");
    let mut from = 0;
    for text in [
        "  error   agent-health        the roof is missing",
        "why: ",
        "fix: Run `wslmesh status`",
        "  warning agent-health        the fan is loud; the door is loud",
        "fix: Oil it",
        "the lamp is dark",
        "fix: Change the bulb",
    ] {
        let place = page.get(from..).unwrap().find(text);
        assert!(place.is_some(), "{text} in order in:\n{page}");
        from += place.unwrap();
    }
    assert_eq!(page.matches("why: ").count(), 1, "{page}");
    assert_eq!(page.matches("Oil it").count(), 1, "{page}");
}

#[test]
fn json_has_each_finding_with_its_fix() {
    let found = [verdict(), (check("disk"), Verdict::Ok("fine".into()))];
    let text = serde_json::to_string_pretty(&report(&found, None, &Fixed::default())).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let health = document.pointer("/checks/0").unwrap();
    assert_eq!(health["verdict"], "error");
    assert_eq!(health["remediation"], check("agent-health").remediation);
    let findings = health["findings"].as_array().unwrap();
    let remediations: Vec<&str> = findings
        .iter()
        .map(|finding| finding["remediation"].as_str().unwrap())
        .collect();
    let own = check("agent-health").remediation;
    assert_eq!(remediations, [own, "Oil it", "Oil it", "Change the bulb"]);
    assert_eq!(findings[3]["code"], "agent-health");
    assert_eq!(findings[3]["severity"], "warning");
    assert_eq!(findings[3]["detail"], "the lamp is dark");
    assert_eq!(
        document.pointer("/checks/1/findings").unwrap(),
        &Value::Array(vec![])
    );
}

#[test]
fn passed_and_skipped_checks_are_counted_and_shown_on_request() {
    let results = [
        (check("swap"), Verdict::Ok("fine".into())),
        (check("disk"), Verdict::Ok("long ".repeat(40))),
        (
            check("wsl-mode"),
            Verdict::Skipped("this is not WSL".into()),
        ),
    ];
    assert_eq!(
        page(&results, false),
        ["2 checks passed, 1 skipped (--all shows them)"]
    );
    let all = page(&results, true);
    for line in [
        "  ok      swap                fine",
        "  skipped wsl-mode            this is not WSL",
        "2 checks passed, 1 skipped",
    ] {
        assert!(all.iter().any(|has| has == line), "{line}: {all:#?}");
    }
    assert!(
        all.iter().all(|line| line.chars().count() <= WIDTH),
        "{all:#?}"
    );
}

#[test]
fn many_findings_of_one_kind_are_counted() {
    let warning =
        |number: usize, fix: String| finding(Severity::Warning, format!("peer {number}"), fix);
    let peers = (0..500).map(|number| warning(number, String::new()));
    let keys = (0..500).map(|number| warning(number, format!("Fix {number}")));
    let results = [
        (
            check("wireguard-handshake"),
            Verdict::Found(peers.collect()),
        ),
        (check("files-keys"), Verdict::Found(keys.collect())),
    ];
    let text = page(&results, false);
    let joined = text.join("\n");
    assert!(text.len() < 30, "{joined}");
    for part in [
        "peer 0; peer 1; peer 2; and 497 more",
        "fix: Fix 4\n",
        "and: 495 more (--all shows them)",
    ] {
        assert!(joined.contains(part), "{part}: {joined}");
    }
    let all = page(&results, true).join("\n");
    assert!(all.contains("peer 499") && all.contains("Fix 499"));
    let document: Value = serde_json::to_value(report(&results, None, &Fixed::default())).unwrap();
    for check in 0..2 {
        let findings = &document["checks"][check]["findings"];
        assert_eq!(findings.as_array().unwrap().len(), 500);
    }
}

#[test]
fn requests_and_failures_are_not_listed_as_fixed() {
    let fixed = Fixed {
        done: vec!["wg0 mtu 1420 -> 1280".into()],
        asked: vec!["the agent reconciles".into()],
        failed: vec!["/etc/x: EPERM".into()],
    };
    assert_eq!(
        fixed_lines(true, &fixed),
        [
            "fixed: wg0 mtu 1420 -> 1280",
            "asked: the agent reconciles",
            "not fixed: /etc/x: EPERM",
            ""
        ]
    );
    assert_eq!(fixed_lines(true, &Fixed::default()).len(), 2);
    assert_eq!(fixed_lines(false, &Fixed::default()), [""; 0]);
    let document: Value = serde_json::to_value(report(&[], None, &fixed)).unwrap();
    for (key, text) in [
        ("fixed", "wg0 mtu 1420 -> 1280"),
        ("asked", "the agent reconciles"),
        ("not-fixed", "/etc/x: EPERM"),
    ] {
        assert_eq!(document[key], serde_json::json!([text]), "{key}");
    }
}

#[test]
fn mtu_and_a_peer_are_no_groups() {
    let asked_of = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        format!("{:?}", asked(&words))
    };
    for (words, expected) in [
        (&[][..], "Groups"),
        (&["mtu"], "Groups"),
        (&["mtu", "dns"], "Groups"),
        (&["mtu", "10.0.0.2"], "Path(\"10.0.0.2\")"),
        (&["mtu", "10.0.0.2", "dns"], "Wrong(\"10.0.0.2\")"),
        (&["dns", "10.0.0.2"], "Wrong(\"10.0.0.2\")"),
        (&["mtus"], "Wrong(\"mtus\")"),
    ] {
        assert_eq!(asked_of(words), expected, "{words:?}");
    }
}
