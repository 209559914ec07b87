//! Runs over units of a systemd of ours.

use super::*;
use crate::{
    model::{UnitAction, UnitName},
    units::tests::{self as testing, FakeUnit},
};

const NEW: &str = "172.28.27.77";

fn change(key: FactKey, old: &str, new: &str) -> Change {
    Change {
        key,
        interface: "eth0".to_owned(),
        old: old.to_owned(),
        new: new.to_owned(),
        known: Default::default(),
    }
}

/// A change of the address.
fn notify_run(units: &[&str]) -> NotifyRun {
    let dependent = |unit: &&str| Dependent {
        unit: UnitName::parse(unit).unwrap(),
        action: UnitAction::Restart,
        on: None,
    };
    NotifyRun {
        changes: vec![change(FactKey::WslIp, "172.28.16.5", NEW)],
        check: false,
        dependents: units.iter().map(dependent).collect(),
        usual: Follows::ADDRESS,
        below: "/nonexistent".into(),
        hook_timeout: Duration::from_secs(1),
        mode: ModeState::Pending,
        gateway: None,
        reads: SingleFlight::default(),
    }
}

/// A run of these changes over a unit that follows the address, one that follows the tunnels
/// and one that follows both.
fn three(changes: Vec<Change>) -> NotifyRun {
    let mut run = NotifyRun {
        changes,
        ..notify_run(&["a", "b", "f"])
    };
    let on = |address, mesh| Some(Follows { address, mesh });
    run.dependents[1].on = on(false, true);
    run.dependents[2].on = on(true, true);
    run
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
        .run(async { Ok(systemd) }, |who, _| begun.push(who.to_owned()))
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
        changes: Vec::new(),
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
    let known = &mut rest.changes[0].known;
    known.insert("a.service".to_owned(), NEW.to_owned());
    let (report, log, _) = made(rest, machine()).await;
    assert_eq!(words(&report), ["a.service as before", "f.service fine"]);
    assert_eq!(log, ["try-restart f.service"]);
}

#[tokio::test]
async fn restored_address_notifies_only_who_knows_another() {
    let mut back = notify_run(&["a", "f"]);
    let change = &mut back.changes[0];
    let old = "172.28.27.99";
    change.known.insert("f.service".to_owned(), old.to_owned());
    change.old.clone_from(&change.new);
    assert_eq!(change.old_of("f.service"), old);
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
    let rest = |who: &str| (who.to_owned(), vec![FactKey::WslIp]);
    assert_eq!(interrupted.rest, [rest("x.service"), rest("f.service")]);
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
    let report = notify_run(&["a", "b"]).run(no_bus(), |_, _| {}).await;
    assert_eq!(
        report.interrupted.unwrap().finding.detail,
        "systemd cannot be reached over D-Bus: no such file; not notified: a.service, b.service"
    );
    let report = notify_run(&[]).run(no_bus(), |_, _| {}).await;
    assert_eq!(report, NotifyReport::default());
}

#[tokio::test]
async fn each_unit_is_notified_of_what_it_follows() {
    let address = || change(FactKey::WslIp, "172.28.16.5", NEW);
    let mesh = || change(FactKey::MeshIpWireguard, "10.9.0.1", "");
    for (changes, restarted) in [
        (vec![address()], vec!["a", "f"]),
        (vec![mesh()], vec!["b", "f"]),
        // Of several changes at once.
        (vec![address(), mesh()], vec!["a", "b", "f"]),
        (
            vec![mesh(), change(FactKey::MeshPortWireguard, "51820", "")],
            vec!["b", "f"],
        ),
    ] {
        let (report, log, _) = made(three(changes), machine()).await;
        let restarted = restarted
            .iter()
            .map(|name| format!("try-restart {name}.service"));
        assert_eq!(log, restarted.collect::<Vec<_>>());
        assert_eq!(report.health.len(), 3);
    }
}

#[tokio::test]
async fn a_check_beside_a_change_reads_who_does_not_follow_it() {
    let mut run = three(vec![change(FactKey::MeshIpWireguard, "", "10.9.0.1")]);
    run.dependents.push(Dependent {
        unit: UnitName::parse("e").unwrap(),
        action: UnitAction::Restart,
        on: None,
    });
    let without = made(run.clone(), machine()).await.0;
    assert_eq!(words(&without)[0], "a.service as before");
    run.check = true;
    let (report, log, begun) = made(run, machine()).await;
    assert_eq!(
        words(&report),
        [
            "a.service fine",
            "b.service dependent-failed: restart ended as failed",
            "f.service fine",
            "e.service dependent-missing: there is no such unit",
        ]
    );
    assert_eq!(
        (log.len(), begun),
        (2, vec!["b.service".to_owned(), "f.service".to_owned()])
    );
}

#[tokio::test]
async fn who_makes_tunnels_does_not_follow_them() {
    let mut run = notify_run(&["wg-quick@wg0", "tailscaled", "nginx"]);
    run.usual.mesh = true;
    run.changes = vec![change(FactKey::MeshIpWireguard, "", "10.9.0.1")];
    let running = || unit(Some("done"), "loaded", "active");
    let units = [
        "wg-quick@wg0.service",
        "tailscaled.service",
        "nginx.service",
    ];
    let (_, log, _) = made(run, units.map(|name| (name, running())).into()).await;
    assert_eq!(log, ["try-restart nginx.service"]);
}

#[test]
fn a_hook_runs_once_for_each_key() {
    let hook = |event: FollowedEvent| {
        let path = PathBuf::from(format!("/h/{}/10-dns", event.name()));
        let program = "/usr/local/sbin/dns".into();
        let name = "10-dns".to_owned();
        (
            event,
            Hook {
                name,
                path,
                program,
            },
        )
    };
    let hooks = FollowedEvent::ALL.map(hook);
    let mut port = change(FactKey::MeshPortWireguard, "51820", "51999");
    let subject = "/h/mesh-changed/10-dns".to_owned();
    let run = |port: &Change| NotifyRun {
        changes: vec![
            change(FactKey::MeshIpWireguard, "10.9.0.1", "10.9.0.2"),
            port.clone(),
        ],
        ..notify_run(&[])
    };
    let keys = |port: &Change| {
        let run = run(port);
        let turns = run.turns(&hooks);
        Vec::from_iter(turns.iter().map(|turn| (turn.who.subject(), turn.keys())))
    };
    let address = || ("/h/address-changed/10-dns".to_owned(), Vec::new());
    let of = |key| (subject.clone(), vec![key]);
    assert_eq!(
        keys(&port),
        [
            address(),
            of(FactKey::MeshIpWireguard),
            of(FactKey::MeshPortWireguard)
        ]
    );
    port.known.insert(subject.clone(), "51999".to_owned());
    assert_eq!(keys(&port), [address(), of(FactKey::MeshIpWireguard)]);
}
