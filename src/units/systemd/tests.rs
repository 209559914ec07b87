//! Outcomes of a unit's job, with a systemd of ours.

use std::time::Instant;

use super::*;
use crate::units::tests::{self as testing, FakeUnit};

fn dependent(unit: &str, action: UnitAction) -> Dependent {
    Dependent {
        unit: UnitName::parse(unit).unwrap(),
        action,
        on: None,
    }
}

/// What comes of notifying `a.service`, and what systemd was asked.
async fn notified(unit: FakeUnit, action: UnitAction) -> (UnitState, Vec<String>) {
    let (mut systemd, log, _bus) =
        testing::systemd([("a.service", unit)], FakeUnit::default()).await;
    systemd.job_timeout = Duration::from_millis(200);
    let notified = systemd.notify(&dependent("a", action), || ()).await;
    let log = log.lock().unwrap().clone();
    (notified.unwrap(), log)
}

fn job(result: &str, detail: &str) -> UnitState {
    UnitState::Outcome(JobOutcome::new(result, detail))
}

#[tokio::test]
async fn each_action_is_one_call_of_systemd() {
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
                notified(unit, action).await,
                (job("done", "done"), vec![asked.to_owned()])
            );
        }
    }
}

#[tokio::test]
async fn unit_that_is_not_running_is_left_alone() {
    for action in [
        UnitAction::ReloadOrRestart,
        UnitAction::Reload,
        UnitAction::Restart,
    ] {
        for active in ["inactive", "deactivating", "failed"] {
            let unit = FakeUnit {
                active,
                ..FakeUnit::default()
            };
            let failed = active == "failed";
            assert_eq!(
                notified(unit, action).await,
                (UnitState::Inactive { failed }, Vec::new())
            );
        }
    }
}

#[tokio::test]
async fn missing_or_broken_unit_gets_no_job() {
    let table = [
        ("not-found", UnitState::Missing("there is no such unit")),
        ("masked", UnitState::Missing("it is masked")),
        (
            "bad-setting",
            UnitState::Outcome(JobOutcome::new(
                "broken",
                "systemd cannot load it (bad-setting)",
            )),
        ),
    ];
    for (load, expected) in table {
        let unit = FakeUnit {
            load,
            ..FakeUnit::default()
        };
        assert_eq!(
            notified(unit, UnitAction::Restart).await,
            (expected, Vec::new())
        );
    }
}

#[tokio::test]
async fn failed_job_has_its_reason() {
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
            job("failed", "restart ended as failed (exit-code)"),
        ),
        (
            UnitAction::Reload,
            unit(Some("failed"), "success", "exit-code"),
            job("failed", "reload ended as failed (exit-code)"),
        ),
        (
            UnitAction::Restart,
            unit(Some("timeout"), "success", "success"),
            job("timeout", "restart ended as timeout"),
        ),
        (
            UnitAction::ReloadOrRestart,
            unit(Some("dependency"), "success", "success"),
            job("dependency", "reload-or-restart ended as dependency"),
        ),
        (
            UnitAction::Reload,
            unit(Some("no-reload"), "success", "success"),
            job(
                "refused",
                "org.freedesktop.DBus.Error.Failed: Job type reload is not applicable for unit a.service.",
            ),
        ),
        (
            UnitAction::Restart,
            unit(None, "success", "success"),
            job(
                "no-end",
                "restart has not ended within 0 s; systemd goes on with it",
            ),
        ),
    ];
    for (action, unit, expected) in table {
        assert_eq!(notified(unit, action).await.0, expected);
    }
}

#[tokio::test]
async fn alias_is_notified_by_the_name_of_the_unit() {
    let unit = FakeUnit {
        id: "ssh.service",
        ..FakeUnit::default()
    };
    let (systemd, log, _bus) =
        testing::systemd([("sshd.service", unit)], FakeUnit::default()).await;
    let notified = systemd
        .notify(&dependent("sshd", UnitAction::Restart), || ())
        .await;
    assert_eq!(notified, Ok(job("done", "done")));
    assert_eq!(*log.lock().unwrap(), ["try-restart ssh.service"]);
}

#[tokio::test]
async fn lost_bus_ends_the_wait_for_a_job() {
    let unit = FakeUnit {
        job: Some("lost"),
        ..FakeUnit::default()
    };
    let (systemd, _log, _bus) = testing::systemd([("a.service", unit)], FakeUnit::default()).await;
    let begun = Instant::now();
    let notified = systemd
        .notify(&dependent("a", UnitAction::Restart), || ())
        .await;
    assert!(
        matches!(notified, Err(UnitsError::Unreachable(_))),
        "{notified:?}"
    );
    let again = systemd.state(&UnitName::parse("a").unwrap()).await;
    assert!(
        matches!(again, Err(UnitsError::Unreachable(_))),
        "{again:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
}
