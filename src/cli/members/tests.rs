use serde_json::{Value, json};

use super::*;

/// What a document says of other distributions.
fn of(document: Value) -> Members {
    let mut whole = json!({
        "version": 1, "pid": 1, "role": "active", "mode": "nat", "interface": null,
        "address": null, "gateway": null, "network-file": "/x", "forwards": null,
        "windows-address": null, "passes": 1, "last-pass-us": 1, "health": [],
    });
    let (Value::Object(whole_), Value::Object(more)) = (&mut whole, document) else {
        panic!("no object");
    };
    whole_.extend(more);
    Members::of(
        Some(serde_json::from_value(whole).unwrap()),
        "sudo wslmesh plan",
    )
}

#[test]
fn members_of_a_leader() {
    let web = json!({
        "name": "web", "protocol": "tcp", "listen-address": "0.0.0.0", "listen-port": 8080,
        "connect-port": 22, "firewall": "local", "backend": "auto",
    });
    let mut found = web.clone();
    found["name"] = "auto-tcp-8080".into();
    let debian = json!({"distribution": "Debian", "forwards": 1, "registered": [web], "discovered": [found]});
    let members = of(json!({"distribution": "Ubuntu", "members": [debian]}));
    assert_eq!(members.unknown, None);
    assert_eq!(members.group.own, "Ubuntu");
    let [debian] = members.group.members.as_slice() else {
        panic!("{members:?}");
    };
    assert_eq!(debian.distribution, "Debian");
    assert_eq!(debian.forwards[0].name, "web");
    assert_eq!(debian.discovered[0].name, "auto-tcp-8080");
    assert_eq!(of(json!({})).unknown, None);
}

#[test]
fn what_is_not_known_is_said() {
    let document_of_010 = json!({"members": [{"distribution": "Debian", "forwards": 1}]});
    for (members, text) in [
        (Members::of(None, ""), "the agent is not running here"),
        (
            of(json!({"role": "standby", "leader": "Ubuntu"})),
            "the agent of Ubuntu leads; run `sudo wslmesh plan` there",
        ),
        (
            of(json!({"role": "standby"})),
            "the agent of another distribution leads",
        ),
        (of(document_of_010), "what Debian forwards is not known"),
    ] {
        let said = members.unknown.unwrap();
        assert!(said.contains(text), "{said}");
        assert!(
            members
                .group
                .members
                .iter()
                .all(|one| one.forwards.is_empty())
        );
    }
}

#[test]
fn a_line_for_each_distribution_that_is_served() {
    let one = |name: &str, distribution: Option<&str>, backend: Option<&str>| {
        let status = json!({
            "name": name, "protocol": "tcp", "listen-address": "0.0.0.0", "listen-port": 80,
            "connect-port": 8080, "backend": backend, "state": "up", "distribution": distribution,
        });
        serde_json::from_value::<ForwardStatus>(status).unwrap()
    };
    let mut range = one("Fedora/a", Some("Fedora"), Some("relay"));
    range.ports = 3;
    let lines = served(&[
        one("ssh", None, Some("relay")),
        one("Debian/web", Some("Debian"), Some("relay")),
        one("Debian/dns", Some("Debian"), Some("guest")),
        range,
        one("Fedora/taken", Some("Fedora"), None),
    ]);
    let at = "(tcp 0.0.0.0:80 -> 8080)";
    let expected = [
        format!("for Debian: web {at}, dns {at}"),
        "for Fedora: a (tcp 0.0.0.0:80-82 -> 8080-8082)".to_owned(),
    ];
    assert_eq!(lines, expected);
}
