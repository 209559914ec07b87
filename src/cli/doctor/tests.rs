//! The page and the document.

use serde_json::Value;

use super::*;

/// An agent with two warnings and an error.
fn verdict() -> (Check, Verdict) {
    let part = |grade, detail: &str, remediation: Option<&str>| Part {
        grade,
        detail: detail.into(),
        remediation: remediation.map(Into::into),
    };
    let parts = vec![
        part(Grade::Warning, "the fan is loud", Some("Oil it")),
        part(Grade::Failed, "the roof is gone", None),
        part(Grade::Warning, "the door is loud", Some("Oil it")),
        part(Grade::Warning, "the lamp is dark", Some("Change the bulb")),
    ];
    (Check::AgentHealth, Verdict::of(parts))
}

#[test]
fn each_part_has_its_fix_on_the_page() {
    let (check, verdict) = verdict();
    let page = one(check, &verdict).join("\n");
    let mut from = 0;
    for text in [
        "  failed  agent-health        the roof is gone",
        "why: ",
        "fix: `wslmesh status`",
        "  warning                     the fan is loud; the door is loud",
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
fn each_part_has_its_fix_in_the_document() {
    let found = [verdict(), (Check::Disk, Verdict::of(vec![]))];
    let text = json(&found, &Fixed::default()).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let health = document.pointer("/checks/0").unwrap();
    assert_eq!(health["verdict"], "failed");
    assert_eq!(health["remediation"], Check::AgentHealth.remediation());
    let parts = health["parts"].as_array().unwrap();
    let remediations: Vec<&str> = parts
        .iter()
        .map(|part| part["remediation"].as_str().unwrap())
        .collect();
    let own = Check::AgentHealth.remediation();
    assert_eq!(remediations, [own, "Oil it", "Oil it", "Change the bulb"]);
    assert_eq!(parts[3]["verdict"], "warning");
    assert_eq!(parts[3]["detail"], "the lamp is dark");
    assert_eq!(
        document.pointer("/checks/1/parts").unwrap(),
        &Value::Array(vec![])
    );
}

#[test]
fn requests_and_failures_are_not_called_fixed() {
    let fixed = Fixed {
        done: vec!["wg0 mtu 1420 -> 1280".into()],
        asked: vec!["the agent was told".into()],
        failed: vec!["/etc/x was left as it is".into()],
    };
    assert_eq!(
        fixed_lines(true, &fixed),
        [
            "fixed: wg0 mtu 1420 -> 1280",
            "asked: the agent was told",
            "not fixed: /etc/x was left as it is",
            ""
        ]
    );
    assert_eq!(fixed_lines(true, &Fixed::default()).len(), 2);
    assert_eq!(fixed_lines(false, &Fixed::default()), [""; 0]);
    let document: Value = serde_json::from_str(&json(&[], &fixed).unwrap()).unwrap();
    for (key, text) in [
        ("fixed", "wg0 mtu 1420 -> 1280"),
        ("asked", "the agent was told"),
        ("not-fixed", "/etc/x was left as it is"),
    ] {
        assert_eq!(document[key], serde_json::json!([text]), "{key}");
    }
}
