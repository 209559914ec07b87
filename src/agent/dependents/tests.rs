//! When which round is made, and what is remembered of it.

use std::{future::pending, time::Duration};

use super::*;
use crate::{
    config::settings,
    model::{Code, InterfaceName, ModeState},
    units::Interrupted,
};

const UNITS: &str = "[dependents]\nunits = [\"a\", \"b\"]\n";

struct Bench {
    folder: tempfile::TempDir,
    dependents: Dependents,
    settings: Settings,
}

/// A round that somebody asked for and that the test ends.
struct Begun {
    round: NotifyRun,
    notes: Notes,
}

impl Begun {
    /// What the round notes of those whose jobs were asked for.
    fn note(&mut self, turns: &[&str]) {
        for who in turns {
            let last = Last {
                address: self.round.change.as_ref().unwrap().new.address,
                instead_of: None,
            };
            self.notes.others.insert((*who).to_owned(), last);
        }
    }

    /// What those are taken to know who are not as everybody.
    fn known(&self) -> Vec<(&str, u8)> {
        let known = self.round.known.iter();
        known
            .map(|(who, address)| (who.as_str(), address.octets()[3]))
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
        bench.dependents.look = false;
        bench
    }

    /// Another run of the agent, in the same boot.
    fn start_again(&mut self) {
        let folder = self.folder.path();
        self.dependents = Dependents::new(folder, folder.to_owned());
        self.dependents.look = false;
    }

    /// The round that an address brings.
    fn at(&mut self, last: u8) -> Option<Begun> {
        let place = Place {
            interface: InterfaceName::new("eth0").unwrap(),
            address: address(last),
            gateway: None,
            mode: ModeState::Pending,
        };
        let round = self.dependents.next(&self.settings, Some(&place))?;
        let notes = self.dependents.notes.clone();
        // One that never ends, so that it is known to be in flight.
        self.dependents.round.spawn(pending());
        Some(Begun { round, notes })
    }

    /// Ends it after the turn of some.
    fn end(&mut self, mut begun: Begun, turns: &[&str], report: NotifyReport) {
        begun.note(turns);
        self.dependents.round = JoinSet::new();
        let change = begun.round.change.as_ref();
        self.dependents.take(Ended {
            address: change.map(|change| change.new.address),
            report,
            notes: begun.notes,
        });
    }
}

fn address(last: u8) -> Ipv4Addr {
    [172, 28, 16, last].into()
}

/// From which address to which.
fn way(begun: &Begun) -> (u8, u8) {
    let change = begun.round.change.as_ref().unwrap();
    (change.old.octets()[3], change.new.address.octets()[3])
}

fn gap(untold: &[&str]) -> NotifyReport {
    NotifyReport {
        health: Vec::new(),
        interrupted: Some(Interrupted {
            finding: Finding::new(Code::DependentFailed, "systemd", "no bus"),
            rest: untold.iter().map(|who| (*who).to_owned()).collect(),
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
        .round
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
async fn a_burst_is_one_round_more_and_for_the_last_address() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let first = bench.at(2).unwrap();
    for last in [3, 4, 5] {
        assert!(bench.at(last).is_none(), "one round at a time");
    }
    bench.end(first, &[], NotifyReport::default());
    let second = bench.at(5).unwrap();
    assert_eq!(way(&second), (2, 5));
    bench.end(second, &[], NotifyReport::default());
    assert!(bench.at(5).is_none());
}

#[tokio::test]
async fn an_address_that_comes_back_is_told_only_where_the_other_was() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    assert!(
        bench.at(1).is_none(),
        "it came back before anybody was told"
    );
    let first = bench.at(2).unwrap();
    assert!(bench.at(1).is_none());
    bench.end(first, &[], NotifyReport::default());
    assert_eq!(way(&bench.at(1).unwrap()), (2, 1), "they were told 2");
}

#[tokio::test]
async fn an_agent_that_was_ended_goes_on_where_it_was() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let mut begun = bench.at(2).unwrap();
    begun.note(&["a.service"]);
    save(&bench.dependents.path, &begun.notes);
    bench.start_again();
    let rest = bench.at(2).unwrap();
    assert_eq!(
        (way(&rest), rest.known()),
        ((1, 2), [("a.service", 2)].into())
    );
    // And where it has the first address again, the one that was told is told.
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
async fn a_bus_that_is_away_is_waited_for_and_the_rest_is_told() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let begun = bench.at(2).unwrap();
    bench.end(begun, &["a.service", "b.service"], gap(&["b.service"]));
    assert_eq!(bench.dependents.findings()[0].detail, "no bus");
    assert!(bench.at(2).is_none(), "not at once");
    let due = bench.dependents.again.due.unwrap() - Instant::now();
    assert!(due <= Duration::from_secs(2), "{due:?}");
    tokio::time::timeout(Duration::from_secs(60), bench.dependents.changed())
        .await
        .unwrap();
    let rest = bench.at(2).unwrap();
    // Perhaps b was told, perhaps not: it is told again, and from the first.
    assert_eq!(
        (way(&rest), rest.known()),
        ((1, 2), [("a.service", 2), ("b.service", 1)].into())
    );
    bench.end(rest, &[], gap(&["b.service"]));
    assert_eq!(bench.dependents.again.failures, 2);
    let moved = bench.at(3).expect("another address does not wait");
    assert_eq!(
        moved.known(),
        [("a.service", 2), ("b.service", 2)],
        "each from what it was told last"
    );
    bench.end(moved, &[], NotifyReport::default());
    assert_eq!(bench.dependents.findings(), []);
    assert!(bench.dependents.again.due.is_none());
}

#[tokio::test]
async fn an_address_that_nobody_was_told_is_not_an_old_one() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let all = ["a.service", "b.service"];
    let begun = bench.at(2).unwrap();
    bench.end(begun, &[], gap(&all));
    let begun = bench.at(3).unwrap();
    assert_eq!((way(&begun), begun.known()), ((1, 3), Vec::new()));
    bench.end(begun, &[], gap(&all));
    // It is as it was: there is nothing to tell, only the trouble to be over.
    assert!(bench.at(1).is_none());
    bench.dependents.retry();
    let look = bench.at(1).unwrap();
    assert_eq!(look.round.change, None);
    bench.end(look, &[], NotifyReport::default());
    assert_eq!(bench.dependents.findings(), []);
    assert!(bench.at(1).is_none());
}

#[tokio::test]
async fn who_may_have_been_told_is_told_again() {
    let mut bench = Bench::new(UNITS);
    bench.at(1);
    let begun = bench.at(2).unwrap();
    bench.end(begun, &["a.service"], gap(&["a.service", "b.service"]));
    for _ in 0..2 {
        bench.dependents.retry();
        bench.start_again();
        let again = bench.at(2).unwrap();
        assert_eq!(again.known(), [("a.service", 1)], "again, from the first");
        bench.end(again, &["a.service"], gap(&["a.service", "b.service"]));
    }
    let back = bench.at(1).unwrap();
    assert_eq!(
        (way(&back), back.known()),
        ((1, 1), [("a.service", 2)].into())
    );
}

#[tokio::test]
async fn a_look_is_made_at_the_start_and_when_asked() {
    let mut bench = Bench::new(UNITS);
    bench.dependents.look_again();
    let look = bench.at(1).unwrap();
    assert_eq!(look.round.change, None);
    bench.end(look, &[], gap(&["a.service"]));
    bench.dependents.retry();
    let look = bench.at(1).unwrap();
    let missing = Finding::new(Code::DependentMissing, "a.service", "there is no such unit");
    let report = |change| NotifyReport {
        health: vec![("a.service".to_owned(), change)],
        interrupted: None,
    };
    bench.end(look, &[], report(HealthChange::Raised(missing.clone())));
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
async fn with_nobody_to_tell_the_address_is_kept() {
    let mut bench = Bench::new("");
    assert!(bench.at(1).is_none());
    let begun = bench.at(2).unwrap();
    let report = begun.round.clone().run(pending(), |_| ()).await;
    assert_eq!(report, NotifyReport::default());
    bench.end(begun, &[], report);
    assert_eq!(bench.dependents.notes.told, Some(address(2)));
    bench.settings = settings(UNITS);
    bench.start_again();
    assert!(bench.at(2).is_none(), "they found that address themselves");
}

#[test]
fn rubbish_and_a_folder_that_cannot_be_written_are_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("dependents.json"), "{\"told\": 5").unwrap();
    let dependents = Dependents::new(folder.path(), PathBuf::new());
    assert_eq!(dependents.notes, Notes::default());
    save(Path::new("/proc/none/dependents.json"), &Notes::default());
}
