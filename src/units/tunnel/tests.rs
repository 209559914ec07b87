use super::*;
use crate::units::tests::{FakeUnit, systemd};

async fn with(unit: FakeUnit) -> (Systemd, crate::units::tests::Log, zbus::Connection) {
    systemd([(TUNNEL_UNIT, unit)], FakeUnit::default()).await
}

#[tokio::test]
async fn states() {
    let cases = [
        ("loaded", "active", TunnelUnitState::Running),
        ("loaded", "activating", TunnelUnitState::Between),
        ("loaded", "inactive", TunnelUnitState::Inactive),
        ("loaded", "failed", TunnelUnitState::Failed),
        ("masked", "inactive", TunnelUnitState::Unusable),
        ("not-found", "inactive", TunnelUnitState::Missing),
    ];
    for (load, active, expected) in cases {
        let unit = FakeUnit {
            load,
            active,
            ..FakeUnit::default()
        };
        let (systemd, _, _server) = with(unit).await;
        let found = systemd.tunnel().await.unwrap();
        assert_eq!(found, expected, "{load} {active}");
    }
}

#[tokio::test]
async fn start_and_stop_wait_for_the_job_and_read_back() {
    let (systemd, log, _server) = with(FakeUnit::default()).await;
    assert_eq!(
        systemd.start_tunnel().await.unwrap(),
        TunnelUnitState::Running
    );
    systemd.stop_tunnel().await.unwrap();
    let log = log.lock().unwrap().join("; ");
    let expected = "reset-failed wslmesh-tunnel.service; start wslmesh-tunnel.service; stop wslmesh-tunnel.service";
    assert_eq!(log, expected);
}

#[tokio::test]
async fn failed_job_says_why() {
    let unit = FakeUnit {
        active: "failed",
        job: Some("failed"),
        result: "exit-code",
        ..FakeUnit::default()
    };
    let (systemd, _, _server) = with(unit).await;
    let error = systemd.start_tunnel().await.unwrap_err().to_string();
    assert!(error.ends_with("ended as failed (exit-code)"), "{error}");
}

#[test]
fn mark_is_set_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let mark = TunnelMark::new(folder.path());
    assert!(!mark.is_set() && mark.clear().is_ok());
    mark.set().unwrap();
    assert!(TunnelMark::new(folder.path()).is_set());
    mark.clear().unwrap();
    assert!(!mark.is_set());
    assert!(TunnelMark::new(&folder.path().join("none")).set().is_err());
}
