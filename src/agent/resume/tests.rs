//! When a recovery begins, begins again and ends; the machine and the time are made up.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    steps::{
        recover,
        tests::{Fake, State},
    },
    *,
};
use crate::model::{InterfaceName, LinkKind, WireguardLink};

const NOW: u64 = 1_790_000_000;

fn resume(sign: ResumeSign, hours: u64) -> Resume {
    Resume {
        sign,
        away: Duration::from_secs(hours * 3_600),
        awake_unix: NOW - hours * 3_600,
    }
}

/// Recoveries in which these steps are like that, and the tasks that there were.
fn resumption(states: &[(RecoveryStep, State)]) -> (Resumption, Rc<RefCell<Vec<Task>>>) {
    let (states, tasks) = (states.to_vec(), Rc::<RefCell<Vec<Task>>>::default());
    let begun = Rc::clone(&tasks);
    let recover = move |task: Task| -> Ending {
        let (world, steps) = (Fake::with(&states), task.steps.clone());
        begun.borrow_mut().push(task);
        Box::pin(async move { recover(&world, &steps).await })
    };
    (Resumption::with(Box::new(recover)), tasks)
}

/// Serves its orders until it has ended, and gives back how it did.
async fn ended(resumption: &mut Resumption) -> RecoveryEntry {
    while resumption.order().await != Order::Publish {}
    resumption.last.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_sleep_is_recovered_from_once() {
    let soon = Duration::from_millis(300);
    let (mut resumption, tasks) = resumption(&[(RecoveryStep::Dns, State::After(soon))]);
    resumption.begin(resume(ResumeSign::Clock, 8));
    assert_eq!(
        resumption.order().await,
        Order::Begin,
        "passes begin at once"
    );
    let entry = ended(&mut resumption).await;
    assert_eq!(
        entry.summary,
        "back after 8 h asleep in 0.3 s: dns is right"
    );
    assert_eq!(
        (entry.repaired, entry.failed),
        (vec![RecoveryStep::Dns], vec![])
    );
    assert_eq!((resumption.findings.len(), tasks.borrow().len()), (0, 1));
    let later = timeout(Duration::from_secs(3_600), resumption.order()).await;
    assert!(later.is_err(), "and then nothing is due");
}

/// In whichever step the second sleep comes, all steps are gone through once more, and
/// the story is one.
#[tokio::test(start_paused = true)]
async fn a_second_sleep_in_each_step_begins_again() {
    for step in RecoveryStep::ALL {
        let (mut resumption, tasks) = resumption(&[(step, State::After(Duration::from_secs(2)))]);
        resumption.begin(resume(ResumeSign::Clock, 8));
        assert_eq!(resumption.order().await, Order::Begin);
        let middle = timeout(Duration::from_secs(1), resumption.order()).await;
        assert!(middle.is_err(), "it waits in {step}");
        resumption.begin(resume(ResumeSign::Clock, 2));
        assert_eq!(resumption.order().await, Order::Begin);
        let entry = ended(&mut resumption).await;
        let begins = "back after 10 h asleep, 2 times in a row, in 3.";
        assert!(
            entry.summary.starts_with(begins),
            "{step}: {}",
            entry.summary
        );
        assert_eq!(entry.repaired, [step]);
        let tasks = tasks.borrow();
        assert_eq!(tasks.len(), 2, "{step}");
        assert!(tasks.iter().all(|task| task.steps == RecoveryStep::ALL));
        assert_eq!(tasks[1].resume.awake_unix, NOW - 8 * 3_600);
    }
}

/// The link comes before the clock is set, or after: that is one sleep.
#[tokio::test(start_paused = true)]
async fn other_signs_are_of_the_same_sleep() {
    let (mut resumption, _) = resumption(&[(RecoveryStep::Time, State::After(SECOND))]);
    let link = resume(ResumeSign::Link, 0);
    for sign in [link, resume(ResumeSign::Clock, 8), link] {
        resumption.begin(sign);
    }
    let entry = ended(&mut resumption).await;
    assert!(
        entry.summary.starts_with("back after 8 h asleep in 1."),
        "{}",
        entry.summary
    );
    assert_eq!(entry.sign, ResumeSign::Clock);
}

const SECOND: Duration = Duration::from_secs(1);

/// What failed is looked at again, seldom, and its finding goes once it is well. The
/// story stays.
#[tokio::test(start_paused = true)]
async fn what_failed_is_looked_at_again() {
    let (mut resumption, tasks) = resumption(&[
        (RecoveryStep::Link, State::Never),
        (RecoveryStep::Interop, State::Hangs),
    ]);
    resumption.begin(resume(ResumeSign::Clock, 8));
    let entry = ended(&mut resumption).await;
    use RecoveryStep::{Forwards, Interop, Link, Route, Wireguard};
    let bad = [Link, Route, Wireguard, Interop, Forwards];
    assert_eq!(entry.failed, bad);
    let codes = |resumption: &Resumption| {
        let findings = resumption.findings.iter();
        Vec::from_iter(findings.map(|one| format!("{} {}", one.code, one.subject)))
    };
    let expected = ["resume-incomplete link", "resume-incomplete interop"];
    assert_eq!(codes(&resumption), expected);
    for _ in 0..3 {
        let again = ended(&mut resumption).await;
        assert_eq!(again, entry, "there is one story");
        assert_eq!(codes(&resumption), expected);
    }
    assert!(tasks.borrow()[1..].iter().all(|task| task.steps == bad));
    resumption.recover = Box::new(|task| {
        let steps = task.steps;
        Box::pin(async move { recover(&Fake::with(&[]), &steps).await })
    });
    ended(&mut resumption).await;
    assert_eq!(codes(&resumption), [""; 0]);
    assert_eq!(resumption.retry.due, None);
}

/// Peers that went silent without a sleep are no finding; what looks after peers looks their
/// names up.
#[tokio::test(start_paused = true)]
async fn silent_peers_are_left_to_others() {
    let (mut resumption, tasks) = resumption(&[(RecoveryStep::Wireguard, State::Never)]);
    resumption.begin(resume(ResumeSign::Handshakes, 0));
    assert!(resumption.is_running());
    ended(&mut resumption).await;
    assert_eq!((resumption.findings.len(), tasks.borrow().len()), (0, 1));
    assert!(!resumption.is_running());
    let later = timeout(Duration::from_secs(3_600), resumption.order()).await;
    assert!(later.is_err(), "nothing is due any more");
}

/// A look at what has failed gives way to a new sleep.
#[tokio::test(start_paused = true)]
async fn a_sleep_ends_another_look() {
    let (mut resumption, tasks) = resumption(&[(RecoveryStep::Interop, State::Hangs)]);
    resumption.begin(resume(ResumeSign::Clock, 8));
    ended(&mut resumption).await;
    while tasks.borrow().len() < 2 {
        drop(timeout(SECOND, resumption.order()).await);
    }
    resumption.begin(resume(ResumeSign::Clock, 1));
    let entry = ended(&mut resumption).await;
    assert!(
        entry.summary.starts_with("back after 60 min asleep in "),
        "{}",
        entry.summary
    );
}

fn view(connected: bool) -> View {
    let mut view = View::default();
    view.scene.place = Some(view::Place {
        interface: InterfaceName::new("eth0").unwrap(),
        address: [172, 28, 16, 5].into(),
        gateway: None,
        connected,
    });
    view
}

/// Flaps of mirrored mode begin nothing, nor does the first address.
#[tokio::test(start_paused = true)]
async fn a_link_that_flaps_is_no_sleep() {
    let (mut resumption, tasks) = resumption(&[]);
    for connected in [false, true, false, true, true, false, true] {
        resumption.see(view(connected));
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(tasks.borrow().len(), 0);
    assert!(resumption.connected.is_some());
}

/// Without WireGuard nothing is read, and no thread is started.
#[tokio::test]
async fn handshakes_cost_nothing_without_a_device() {
    let (mut resumption, _) = resumption(&[]);
    resumption.see(view(true));
    resumption.read_handshakes(false);
    assert!(!resumption.signs.is_reading());
    let mut seen = view(true);
    let name = InterfaceName::new("wg-absent").unwrap();
    seen.scene.devices = vec![WireguardLink {
        index: 9,
        name,
        kind: LinkKind::WireGuardUserspace,
    }];
    resumption.see(seen);
    resumption.read_handshakes(false);
    assert!(resumption.signs.is_reading());
    // What was read is for others too; the next time is later, but for those who need it.
    assert_eq!(resumption.order().await, Order::TakeReading);
    assert!(resumption.take_reading().is_empty());
    resumption.read_handshakes(false);
    assert!(!resumption.signs.is_reading());
    resumption.read_handshakes(true);
    assert!(resumption.signs.is_reading());
}
