//! Runs over units of a systemd of ours.

use super::*;
use crate::{
    model::{ModeState, UnitAction, UnitName},
    units::tests::{self as testing, FakeUnit},
};

fn change() -> AddressChange {
    AddressChange {
        old: [172, 28, 16, 5].into(),
        new: testing::node("172.28.27.77/20", None),
        mode: ModeState::Pending,
    }
}

fn notify_run(units: &[&str]) -> NotifyRun {
    let dependent = |unit: &&str| Dependent {
        unit: UnitName::parse(unit).unwrap(),
        action: UnitAction::Restart,
    };
    NotifyRun {
        change: Some(change()),
        dependents: units.iter().map(dependent).collect(),
        below: "/nonexistent".into(),
        hook_timeout: Duration::from_secs(1),
        known: BTreeMap::new(),
        reads: SingleFlight::default(),
    }
}

fn unit(job: Option<&'static str>, load: &'static str, active: &'static str) -> FakeUnit {
    FakeUnit {
        job,
        load,
        active,
        ..FakeUnit::default()
    }
}

fn machine() -> Vec<(&'static str, FakeUnit)> {
    vec![
        ("a.service", unit(Some("done"), "loaded", "active")),
        ("b.service", unit(Some("failed"), "loaded", "active")),
        ("c.service", unit(Some("done"), "loaded", "inactive")),
        ("d.service", unit(Some("done"), "loaded", "failed")),
        ("e.service", unit(Some("done"), "not-found", "inactive")),
        ("f.service", unit(Some("done"), "loaded", "active")),
    ]
}

const ALL: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The report, what systemd was asked, and whose job was begun.
async fn made(
    run: NotifyRun,
    units: Vec<(&'static str, FakeUnit)>,
) -> (NotifyReport, Vec<String>, Vec<String>) {
    let (systemd, log, _bus) = testing::systemd(units, FakeUnit::default()).await;
    let mut begun = Vec::new();
    let report = run
        .run(async { Ok(systemd) }, |who| begun.push(who.to_owned()))
        .await;
    let log = log.lock().unwrap().clone();
    (report, log, begun)
}

fn words(report: &NotifyReport) -> Vec<String> {
    let word = |(subject, health): &(Subject, HealthChange)| match health {
        HealthChange::Cleared => format!("{subject} fine"),
        HealthChange::Unchanged => format!("{subject} as before"),
        HealthChange::Raised(finding) => {
            assert_eq!(finding.subject, *subject);
            format!("{subject} {}: {}", finding.code, finding.detail)
        }
    };
    report.health.iter().map(word).collect()
}

#[tokio::test]
async fn each_is_notified_whatever_becomes_of_the_others() {
    let (report, log, begun) = made(notify_run(&ALL), machine()).await;
    assert_eq!(
        words(&report),
        [
            "a.service fine",
            "b.service dependent-failed: restart ended as failed",
            "c.service fine",
            "d.service as before",
            "e.service dependent-missing: there is no such unit",
            "f.service fine",
        ]
    );
    assert_eq!(
        log,
        [
            "try-restart a.service",
            "try-restart b.service",
            "try-restart f.service"
        ]
    );
    assert_eq!(begun, ["a.service", "b.service", "f.service"], "the jobs");
    assert_eq!(report.interrupted, None);
}

#[tokio::test]
async fn run_without_a_change_only_reads() {
    let check = NotifyRun {
        change: None,
        ..notify_run(&ALL)
    };
    let (report, log, begun) = made(check, machine()).await;
    assert_eq!(
        words(&report),
        [
            "a.service fine",
            "b.service fine",
            "c.service fine",
            "d.service as before",
            "e.service dependent-missing: there is no such unit",
            "f.service fine",
        ]
    );
    assert_eq!((log.len(), begun.len()), (0, 0));
}

#[tokio::test]
async fn up_to_date_unit_is_not_notified_again() {
    let mut rest = notify_run(&["a", "f"]);
    let new = change().new.address();
    rest.known.insert("a.service".to_owned(), new);
    let (report, log, _) = made(rest, machine()).await;
    assert_eq!(words(&report), ["a.service as before", "f.service fine"]);
    assert_eq!(log, ["try-restart f.service"]);
}

#[tokio::test]
async fn restored_address_notifies_only_who_knows_another() {
    let mut back = notify_run(&["a", "f"]);
    let old = [172, 28, 27, 99].into();
    back.known.insert("f.service".to_owned(), old);
    let new = change().new.address();
    back.change.as_mut().unwrap().old = new;
    assert_eq!(back.old("f.service", back.change.as_ref().unwrap()), old);
    let (report, log, _) = made(back, machine()).await;
    assert_eq!(words(&report), ["a.service as before", "f.service fine"]);
    assert_eq!(log, ["try-restart f.service"]);
}

#[tokio::test]
async fn lost_bus_interrupts_the_run() {
    let mut units = machine();
    units.insert(0, ("x.service", unit(Some("lost"), "loaded", "active")));
    let (report, _, begun) = made(notify_run(&["a", "x", "f"]), units).await;
    assert_eq!(
        words(&report),
        [
            "a.service fine",
            "x.service as before",
            "f.service as before"
        ]
    );
    assert_eq!(begun, ["a.service", "x.service"]);
    let interrupted = report.interrupted.unwrap();
    assert_eq!(interrupted.rest, ["x.service", "f.service"]);
    let finding = interrupted.finding;
    assert_eq!(
        (finding.code, finding.subject.as_str()),
        (Code::DependentFailed, "systemd")
    );
    assert!(
        finding
            .detail
            .starts_with("systemd cannot be reached over D-Bus: ")
            && finding
                .detail
                .ends_with("; not notified: x.service, f.service"),
        "{}",
        finding.detail
    );
}

#[tokio::test]
async fn unread_hooks_leave_the_run_due_and_the_units_notified() {
    let run = notify_run(&["a"]);
    let hung = run.reads.begin().unwrap();
    let (report, log, _) = made(run, machine()).await;
    assert_eq!(words(&report), ["a.service fine"]);
    assert_eq!(log, ["try-restart a.service"]);
    let Interrupted { finding, rest } = report.interrupted.unwrap();
    assert_eq!(
        (finding.code, finding.subject.as_str(), rest.len()),
        (Code::HookRefused, "/nonexistent/hooks.d/address-changed", 0)
    );
    let why = "an earlier call still hangs: does a symlink";
    assert!(finding.detail.starts_with(why), "{}", finding.detail);
    drop(hung);
}

#[tokio::test]
async fn missing_bus_is_one_finding_and_none_without_dependents() {
    let no_bus = async || Err(UnitsError::Unreachable("no such file".to_owned()));
    let report = notify_run(&["a", "b"]).run(no_bus(), |_| {}).await;
    assert_eq!(
        report.interrupted.unwrap().finding.detail,
        "systemd cannot be reached over D-Bus: no such file; not notified: a.service, b.service"
    );
    let report = notify_run(&[]).run(no_bus(), |_| {}).await;
    assert_eq!(report, NotifyReport::default());
}
