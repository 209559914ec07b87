use super::*;
use crate::model::HealthEntry;

fn document(more: &str) -> Document {
    let text = format!(
        r#"{{"version":1,"pid":7,"role":"active","gateway":null,"network-file":"/x","forwards":null,
            "windows-address":null,"passes":1,"last-pass-us":3250{more}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

const CALM: &str = r#","mode":"nat","interface":"eth0","address":"172.28.16.5","health":[]"#;

#[test]
fn how_things_are() {
    let words = |more: &str| Event::state(&document(more)).words();
    assert_eq!(words(CALM), "agent 7: eth0 172.28.16.5 (nat), healthy");
    assert_eq!(
        words(
            r#","mode":"pending","interface":null,"address":null,"health":[{"code":"no-address","severity":"error","subject":"","detail":"","remediation":""},
                {"code":"note","severity":"info","subject":"","detail":"","remediation":""}],
                "served":[{"name":"x","protocol":"udp","listen-address":"0.0.0.0","listen-port":1,"connect-port":1,"backend":"relay","state":"pending"}]"#
        ),
        "agent 7: no address (pending), 0 of 1 forwards up, degraded: no-address"
    );
    let mut standby = document(CALM);
    standby.role = "standby".to_owned();
    assert_eq!(
        Event::state(&standby).words(),
        "agent 7: standby (nat), healthy"
    );
}

#[test]
fn signals_in_words() {
    let text = str::to_owned;
    let address = |old: &str, new: &str| Signal::AddressChanged {
        interface: text("eth0"),
        old: text(old),
        new: text(new),
    };
    let health = |detail: &str| {
        Signal::HealthRaised(HealthEntry {
            code: text("relay-failed"),
            severity: Severity::Warning,
            subject: text("wg"),
            detail: text(detail),
            remediation: text("Wait"),
        })
    };
    let cleared = |subject: &str| Signal::HealthCleared {
        code: text("standby"),
        subject: text(subject),
    };
    let changed = Signal::Changed {
        changes: vec![text("mode pending -> nat"), text("b")],
        duration_us: 3250,
    };
    for (signal, expected) in [
        (
            address("10.0.0.1", "10.0.0.2"),
            "eth0 address 10.0.0.1 -> 10.0.0.2",
        ),
        (address("10.0.0.1", ""), "eth0 address 10.0.0.1 is lost"),
        (address("", "10.0.0.1"), "eth0 address 10.0.0.1"),
        (
            health("it ended"),
            "warning: relay-failed (wg): it ended. Wait",
        ),
        (cleared("eth0"), "standby (eth0) cleared"),
        (cleared(""), "standby cleared"),
        (changed, "mode pending -> nat; b (3.2 ms)"),
    ] {
        assert_eq!(Event::Signal(signal).words(), expected);
    }
}

#[test]
fn json_names_each_kind() {
    let json = |event: &Event| serde_json::to_string(event).unwrap();
    assert_eq!(json(&Event::NoAgent), r#"{"event":"no-agent"}"#);
    assert_eq!(
        json(&Event::Signal(Signal::Changed {
            changes: vec!["x".to_owned()],
            duration_us: 5
        })),
        r#"{"event":"changed","changes":["x"],"duration-us":5}"#
    );
    let raised = Event::Signal(Signal::HealthRaised(HealthEntry {
        code: "c".to_owned(),
        severity: Severity::Info,
        subject: String::new(),
        detail: "d".to_owned(),
        remediation: "e".to_owned(),
    }));
    assert_eq!(
        json(&raised),
        r#"{"event":"health-raised","code":"c","severity":"info","subject":"","detail":"d","remediation":"e"}"#
    );
}
