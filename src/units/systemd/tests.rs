//! What becomes of a unit, with a systemd of ours.

use std::time::Instant;

use super::{super::testing, *};
use crate::units::testing::FakeUnit;

fn dependent(unit: &str, action: UnitAction) -> Dependent {
    Dependent {
        unit: UnitName::parse(unit).unwrap(),
        action,
    }
}

/// What comes of telling `a.service`, and what systemd was asked.
async fn told(unit: FakeUnit, action: UnitAction) -> (Told, Vec<String>) {
    let (systemd, log, _bus) = testing::systemd([("a.service", unit)], FakeUnit::default()).await;
    let systemd = systemd.patience(Duration::from_millis(200));
    let told = systemd.tell(&dependent("a", action), || ()).await.unwrap();
    let log = log.lock().unwrap().clone();
    (told, log)
}

fn failed(result: &str, detail: &str) -> Told {
    Told::Failed {
        result: result.to_owned(),
        detail: detail.to_owned(),
    }
}

#[tokio::test]
async fn each_action_is_systemds() {
    let table = [
        (
            UnitAction::ReloadOrRestart,
            "reload-or-try-restart a.service",
        ),
        (UnitAction::Reload, "reload a.service"),
        (UnitAction::Restart, "try-restart a.service"),
    ];
    for (action, asked) in table {
        for active in ["active", "activating", "reloading"] {
            let unit = FakeUnit {
                active,
                ..FakeUnit::default()
            };
            assert_eq!(
                told(unit, action).await,
                (Told::Done, vec![asked.to_owned()])
            );
        }
    }
}

#[tokio::test]
async fn what_does_not_run_is_left_alone() {
    for action in UnitAction::ALL {
        for active in ["inactive", "deactivating", "failed"] {
            let unit = FakeUnit {
                active,
                ..FakeUnit::default()
            };
            let failed = active == "failed";
            assert_eq!(
                told(unit, action).await,
                (Told::Rests { failed }, Vec::new())
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for() {
    let table = [
        ("not-found", Told::Missing("there is no such unit")),
        ("masked", Told::Missing("it is masked")),
        (
            "bad-setting",
            failed("broken", "systemd cannot load it (bad-setting)"),
        ),
    ];
    for (load, expected) in table {
        let unit = FakeUnit {
            load,
            ..FakeUnit::default()
        };
        assert_eq!(
            told(unit, UnitAction::Restart).await,
            (expected, Vec::new())
        );
    }
}

#[tokio::test]
async fn a_job_that_fails_says_why() {
    let unit = |job, result, reload_result| FakeUnit {
        job,
        result,
        reload_result,
        ..FakeUnit::default()
    };
    let table = [
        (
            UnitAction::Restart,
            unit(Some("failed"), "exit-code", "success"),
            failed("failed", "restart ended as failed (exit-code)"),
        ),
        (
            UnitAction::Reload,
            unit(Some("failed"), "success", "exit-code"),
            failed("failed", "reload ended as failed (exit-code)"),
        ),
        (
            UnitAction::Restart,
            unit(Some("timeout"), "success", "success"),
            failed("timeout", "restart ended as timeout"),
        ),
        (
            UnitAction::ReloadOrRestart,
            unit(Some("dependency"), "success", "success"),
            failed("dependency", "reload-or-restart ended as dependency"),
        ),
        (
            UnitAction::Reload,
            unit(Some("no-reload"), "success", "success"),
            failed(
                "refused",
                "org.freedesktop.DBus.Error.Failed: Job type reload is not applicable for unit a.service.",
            ),
        ),
        (
            UnitAction::Restart,
            unit(None, "success", "success"),
            failed(
                "no-end",
                "restart has not ended within 0 s; systemd goes on with it",
            ),
        ),
    ];
    for (action, unit, expected) in table {
        assert_eq!(told(unit, action).await.0, expected);
    }
}

#[tokio::test]
async fn a_unit_is_known_by_its_own_name() {
    let unit = FakeUnit {
        id: "ssh.service",
        ..FakeUnit::default()
    };
    let (systemd, log, _bus) =
        testing::systemd([("sshd.service", unit)], FakeUnit::default()).await;
    let told = systemd
        .tell(&dependent("sshd", UnitAction::Restart), || ())
        .await;
    assert_eq!(told, Ok(Told::Done));
    assert_eq!(*log.lock().unwrap(), ["try-restart ssh.service"]);
}

#[tokio::test]
async fn a_bus_that_ends_in_the_middle_is_not_waited_for() {
    let unit = FakeUnit {
        job: Some("gone"),
        ..FakeUnit::default()
    };
    let (systemd, _log, _bus) = testing::systemd([("a.service", unit)], FakeUnit::default()).await;
    let begun = Instant::now();
    let told = systemd
        .tell(&dependent("a", UnitAction::Restart), || ())
        .await;
    assert!(matches!(told, Err(UnitsError::Unreachable(_))), "{told:?}");
    let again = systemd.standing(&UnitName::parse("a").unwrap()).await;
    assert!(
        matches!(again, Err(UnitsError::Unreachable(_))),
        "{again:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
}
