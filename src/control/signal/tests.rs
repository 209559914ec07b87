use super::*;
use crate::model::{FactKey, Severity};

fn parsed<B: serde::Serialize + zbus::Type>(member: &str, body: &B) -> Option<Signal> {
    let message = Message::signal(PATH, NAME, member);
    Signal::parse(&message.build(body).unwrap())
}

#[test]
fn each_signal_is_parsed() {
    let text = str::to_owned;
    assert_eq!(
        parsed("AddressChanged", &("eth0", "10.0.0.1", "10.0.0.2")),
        Some(Signal::AddressChanged {
            interface: text("eth0"),
            old: text("10.0.0.1"),
            new: text("10.0.0.2")
        })
    );
    assert_eq!(
        parsed("MeshChanged", &("wg0", "MESH_IP_WIREGUARD", "", "10.9.0.1")),
        Some(Signal::MeshChanged(MeshChange {
            interface: text("wg0"),
            key: FactKey::MeshIpWireguard,
            old: text(""),
            new: text("10.9.0.1")
        }))
    );
    assert_eq!(
        parsed(
            "HealthRaised",
            &("code", "warning", "wg0", "why", "What to do")
        ),
        Some(Signal::HealthRaised(HealthEntry {
            code: text("code"),
            severity: Severity::Warning,
            subject: text("wg0"),
            detail: text("why"),
            remediation: text("What to do")
        }))
    );
    assert_eq!(
        parsed("HealthCleared", &("code", "wg0")),
        Some(Signal::HealthCleared {
            code: text("code"),
            subject: text("wg0")
        })
    );
    assert_eq!(
        parsed("Changed", &(["a", "b"].as_slice(), 1250_u64)),
        Some(Signal::Changed {
            changes: vec![text("a"), text("b")],
            duration_us: 1250
        })
    );
}

#[test]
fn unknown_signals_and_signatures_are_ignored() {
    assert_eq!(parsed("Later", &("x",)), None);
    assert_eq!(parsed("HealthCleared", &("x",)), None, "another signature");
    let later = parsed("MeshChanged", &("nb0", "MESH_IP_NETBIRD", "", "100.64.0.1"));
    assert_eq!(later, None, "another key");
}
