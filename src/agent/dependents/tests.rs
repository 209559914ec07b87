//! When which run is made, and what is remembered of it.

use std::{future::pending, time::Duration};

use super::*;
use crate::{
    config::settings,
    model::{Code, InterfaceName, Link, LinkKind},
    units::Interrupted,
};

mod mesh;

const UNITS: &str = "[dependents]\nunits = [\"a\", \"b\"]\n";

struct Bench {
    folder: tempfile::TempDir,
    dependents: Dependents,
    settings: Settings,
}

/// A run that was begun and that the test ends.
struct Begun {
    run: NotifyRun,
    notes: Notes,
}

impl Begun {
    /// What the run notes of those whose jobs were asked for.
    fn note(&mut self, turns: &[&str]) {
        for who in turns {
            self.notes.begun(who, self.run.changes.iter());
        }
    }

    /// What those know that are not as all the others.
    fn known(&self) -> Vec<(&str, u8)> {
        let known = self.run.changes[0].known.iter();
        known
            .map(|(who, address)| (who.as_str(), last(address)))
            .collect()
    }
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Self {
            dependents: Dependents::new(folder.path(), folder.path().to_owned()),
            settings: settings(text),
            folder,
        };
        bench.dependents.check = false;
        bench
    }

    /// Another run of the agent, in the same boot.
    fn start_again(&mut self) {
        let folder = self.folder.path();
        self.dependents = Dependents::new(folder, folder.to_owned());
        self.dependents.check = false;
    }

    /// The run that an address brings.
    fn at(&mut self, last: u8) -> Option<Begun> {
        let node = Node {
            link: Link {
                index: 2,
                name: InterfaceName::new("eth0").unwrap(),
                kind: LinkKind::Other,
                up: true,
                carrier: true,
                mtu: 1500,
                guid: None,
            },
            net: format!("172.28.16.{last}/20").parse().unwrap(),
            gateway: None,
            reason: None,
        };
        self.seen(Some(&node), &Mesh::new())
    }

    /// The run that this brings.
    fn seen(&mut self, node: Option<&Node>, mesh: &Mesh) -> Option<Begun> {
        let followed = Followed {
            node,
            mode: &ModeState::Pending,
            mesh,
        };
        let run = self.dependents.next(&self.settings, &followed)?;
        let notes = self.dependents.notes.clone();
        // One that never ends, so that it is known to be in flight.
        self.dependents.run.spawn(pending());
        Some(Begun { run, notes })
    }

    /// Ends it after the turn of some.
    fn end(&mut self, mut begun: Begun, turns: &[&str], report: NotifyReport) {
        begun.note(turns);
        self.dependents.run = JoinSet::new();
        self.dependents.record(Ended {
            changes: begun.run.changes,
            report,
            notes: begun.notes,
        });
    }
}

fn last(address: &str) -> u8 {
    address.rsplit('.').next().unwrap().parse().unwrap()
}

/// From which address to which.
fn way(begun: &Begun) -> (u8, u8) {
    let change = &begun.run.changes[0];
    (last(&change.old), last(&change.new))
}

fn interrupted(rest: &[&str]) -> NotifyReport {
    NotifyReport {
        health: Vec::new(),
        interrupted: Some(Interrupted {
            finding: Finding::new(Code::DependentFailed, "systemd", "no bus"),
            rest: rest
                .iter()
                .map(|who| ((*who).to_owned(), vec![FactKey::WslIp]))
                .collect(),
        }),
    }
}

#[tokio::test]
async fn the_first_address_is_no_change() {
    let mut bench = Bench::new(UNITS);
    assert!(bench.at(1).is_none());
    assert!(bench.at(1).is_none());
    let begun = bench.at(2).unwrap();
    assert_eq!(way(&begun), (1, 2));
    let units: Vec<&str> = begun
        .run
        .dependents
        .iter()
        .map(|d| d.unit.as_str())
        .collect();
    assert_eq!(units, ["a.service", "b.service"]);
    bench.end(begun, &[], NotifyReport::default());
    assert!(bench.at(2).is_none());
}

#[tokio::test]
async fn an_address_that_changed_between_two_runs_is_a_change() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    bench.start_again();
    assert!(bench.at(1).is_none());
    bench.start_again();
    assert_eq!(way(&bench.at(2).unwrap()), (1, 2));
}

#[tokio::test]
async fn a_burst_is_one_more_run_and_for_the_last_address() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let first = bench.at(2).unwrap();
    for last in [3, 4, 5] {
        assert!(bench.at(last).is_none(), "one run at a time");
    }
    bench.end(first, &[], NotifyReport::default());
    let second = bench.at(5).unwrap();
    assert_eq!(way(&second), (2, 5));
    bench.end(second, &[], NotifyReport::default());
    assert!(bench.at(5).is_none());
}

#[tokio::test]
async fn a_returning_address_is_a_change_only_after_the_other_was_notified() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    assert!(
        bench.at(1).is_none(),
        "it came back before any notification"
    );
    let first = bench.at(2).unwrap();
    assert!(bench.at(1).is_none());
    bench.end(first, &[], NotifyReport::default());
    assert_eq!(
        way(&bench.at(1).unwrap()),
        (2, 1),
        "they were notified of 2"
    );
}

#[tokio::test]
async fn a_restarted_agent_continues_an_interrupted_run() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let mut begun = bench.at(2).unwrap();
    begun.note(&["a.service"]);
    begun.notes.save(&bench.dependents.path);
    bench.start_again();
    let rest = bench.at(2).unwrap();
    assert_eq!(
        (way(&rest), rest.known()),
        ((1, 2), [("a.service", 2)].into())
    );
    // And where it has the first address again, the one that was notified is again.
    bench.start_again();
    let back = bench.at(1).unwrap();
    assert_eq!(
        (way(&back), back.known()),
        ((1, 1), [("a.service", 2)].into())
    );
    bench.end(back, &["a.service"], NotifyReport::default());
    assert!(bench.at(1).is_none());
}

#[tokio::test]
async fn a_lost_bus_is_retried_and_the_rest_notified() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let begun = bench.at(2).unwrap();
    bench.end(
        begun,
        &["a.service", "b.service"],
        interrupted(&["b.service"]),
    );
    assert_eq!(bench.dependents.findings()[0].detail, "no bus");
    assert!(bench.at(2).is_none(), "not at once");
    let due = bench.dependents.retry.due.unwrap() - Instant::now();
    assert!(due <= Duration::from_secs(2), "{due:?}");
    tokio::time::timeout(Duration::from_secs(60), bench.dependents.changed())
        .await
        .unwrap();
    let rest = bench.at(2).unwrap();
    // It is not certain that b was notified: it is again, and from the first.
    assert_eq!(
        (way(&rest), rest.known()),
        ((1, 2), [("a.service", 2), ("b.service", 1)].into())
    );
    bench.end(rest, &[], interrupted(&["b.service"]));
    assert_eq!(bench.dependents.retry.failures, 2);
    let moved = bench.at(3).expect("another address does not wait");
    assert_eq!(
        moved.known(),
        [("a.service", 2), ("b.service", 2)],
        "each from what it was notified of last"
    );
    bench.end(moved, &[], NotifyReport::default());
    assert_eq!(bench.dependents.findings(), []);
    assert!(bench.dependents.retry.due.is_none());
}

#[tokio::test]
async fn an_address_never_notified_is_not_the_old_one() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let all = ["a.service", "b.service"];
    let begun = bench.at(2).unwrap();
    bench.end(begun, &[], interrupted(&all));
    let begun = bench.at(3).unwrap();
    assert_eq!((way(&begun), begun.known()), ((1, 3), Vec::new()));
    bench.end(begun, &[], interrupted(&all));
    // The address is unchanged, only the finding to be cleared.
    assert!(bench.at(1).is_none());
    bench.dependents.retry_now();
    let check = bench.at(1).unwrap();
    assert_eq!(check.run.changes, []);
    bench.end(check, &[], NotifyReport::default());
    assert_eq!(bench.dependents.findings(), []);
    assert!(bench.at(1).is_none());
}

#[tokio::test]
async fn a_doubtful_notification_is_repeated() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let begun = bench.at(2).unwrap();
    bench.end(
        begun,
        &["a.service"],
        interrupted(&["a.service", "b.service"]),
    );
    for _ in 0..2 {
        bench.dependents.retry_now();
        bench.start_again();
        let again = bench.at(2).unwrap();
        assert_eq!(again.known(), [("a.service", 1)], "again, from the first");
        bench.end(
            again,
            &["a.service"],
            interrupted(&["a.service", "b.service"]),
        );
    }
    let back = bench.at(1).unwrap();
    assert_eq!(
        (way(&back), back.known()),
        ((1, 1), [("a.service", 2)].into())
    );
}

#[tokio::test]
async fn a_check_is_made_at_the_start_and_on_request() {
    let mut bench = Bench::new(UNITS);
    bench.dependents.check_again();
    let check = bench.at(1).unwrap();
    assert_eq!(check.run.changes, []);
    bench.end(check, &[], interrupted(&["a.service"]));
    bench.dependents.retry_now();
    let check = bench.at(1).unwrap();
    let missing = Finding::new(Code::DependentMissing, "a.service", "there is no such unit");
    let report = |change| NotifyReport {
        health: vec![("a.service".to_owned(), change)],
        interrupted: None,
    };
    bench.end(check, &[], report(HealthChange::Raised(missing.clone())));
    assert!(bench.at(1).is_none());
    assert_eq!(bench.dependents.findings(), std::slice::from_ref(&missing));
    let begun = bench.at(2).unwrap();
    bench.end(begun, &[], report(HealthChange::Unchanged));
    assert_eq!(bench.dependents.findings(), [missing]);
    let begun = bench.at(3).unwrap();
    bench.end(begun, &[], report(HealthChange::Cleared));
    assert_eq!(bench.dependents.findings(), []);
}

#[tokio::test]
async fn without_dependents_the_address_is_kept() {
    let mut bench = Bench::new("");
    assert!(bench.at(1).is_none());
    let begun = bench.at(2).unwrap();
    let report = begun.run.clone().run(pending(), |_, _| ()).await;
    assert_eq!(report, NotifyReport::default());
    bench.end(begun, &[], report);
    let record = bench.dependents.notes.record(FactKey::WslIp);
    assert_eq!(record.notified.as_deref(), Some("172.28.16.2"));
    bench.settings = settings(UNITS);
    bench.start_again();
    assert!(bench.at(2).is_none(), "they found that address themselves");
}
