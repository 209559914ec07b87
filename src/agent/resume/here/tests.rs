//! What a view of the loop means for the steps that are decided by it.

use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;
use crate::{
    agent::resume::view::{Place, RelayView},
    model::{ForwardState, ForwardStatus, InterfaceName},
};

/// A node with the forward `web` up by the relay, which has given no sign of life yet.
fn view() -> View {
    let mut view = View::default();
    view.scene.mode = Some(Mode::Nat);
    view.scene.place = Some(Place {
        interface: InterfaceName::new("eth0").unwrap(),
        address: [172, 28, 16, 5].into(),
        gateway: None,
        connected: true,
    });
    view.scene.asks_windows = true;
    view.windows.settled = true;
    view.relay = serving(0, 0);
    view.forwards = forwards(ForwardState::Up);
    view
}

fn forwards(state: ForwardState) -> Vec<ForwardStatus> {
    let text = format!(
        r#"{{"name":"web","protocol":"tcp","listen-address":"0.0.0.0","listen-port":80,"connect-port":80,"backend":"relay","state":"{state}"}}"#
    );
    vec![serde_json::from_str(&text).unwrap()]
}

/// A relay that serves.
fn serving(alive: u64, lost: u64) -> RelayView {
    RelayView {
        wanted: true,
        applied: true,
        alive,
        lost,
    }
}

/// What has changed in a view.
type Change = fn(&mut View);

type Orders = UnboundedReceiver<Order>;

/// A recovery that begins at `before`.
fn here(sign: ResumeSign, before: View) -> (Here, watch::Sender<View>, Orders) {
    let (view, (ordered, orders)) = (
        watch::Sender::new(before.clone()),
        mpsc::unbounded_channel(),
    );
    let here = Here {
        resume: Resume {
            sign,
            away: Duration::from_secs(60),
            awake_unix: 0,
        },
        before,
        begun: Instant::now(),
        view: view.subscribe(),
        orders: ordered,
        netlink: None,
        clock: SingleFlight::default(),
        devices: Devices::default(),
        endpoints: Endpoints::default(),
        names: RefCell::default(),
        tunnels: RefCell::default(),
        asked: Cell::default(),
    };
    (here, view, orders)
}

fn shown(check: Check) -> String {
    match check {
        Check::Skip => "skip".to_owned(),
        Check::Well { note, is_news } => {
            format!("{}: {note}", if is_news { "news" } else { "well" })
        }
        Check::Broken(why) => why,
    }
}

#[tokio::test]
async fn forwards_that_were_up_must_be_up() {
    let cases: [(&str, Change, &str); 12] = [
        ("no sign of life", |_| {}, "the relay does not answer"),
        (
            "alive",
            |now| now.relay.alive = 1,
            "well: forward web leads here again",
        ),
        (
            "restarted",
            |now| now.relay.lost = 1,
            "news: forward web leads here again",
        ),
        (
            "starting",
            |now| now.relay.applied = false,
            "the relay does not serve yet",
        ),
        (
            "one to loopback, silent",
            |now| (now.relay.alive, now.loopback) = (1, serving(0, 0)),
            "the relay to loopback does not answer",
        ),
        (
            "one to loopback, alive",
            |now| (now.relay.alive, now.loopback) = (1, serving(1, 0)),
            "well: forward web leads here again",
        ),
        (
            "one to loopback, restarted",
            |now| (now.relay.alive, now.loopback) = (1, serving(0, 1)),
            "news: forward web leads here again",
        ),
        (
            "without a relay",
            |now| now.relay.wanted = false,
            "well: forward web leads here again",
        ),
        (
            "rules",
            |now| (now.relay.wanted, now.windows.changed) = (false, 1),
            "news: forward web leads here again",
        ),
        (
            "unconfirmed",
            |now| (now.relay.alive, now.windows.settled) = (1, false),
            "Windows has not confirmed its rules",
        ),
        (
            "down",
            |now| now.forwards = forwards(ForwardState::Down),
            "forward web is not up",
        ),
        ("configured no more", |now| now.forwards.clear(), "skip"),
    ];
    for (what, change, expected) in cases {
        let (here, view, _orders) = here(ResumeSign::Clock, view());
        view.send_modify(change);
        assert_eq!(shown(here.forwards()), expected, "{what}");
    }
    let mut down = view();
    down.forwards = forwards(ForwardState::Down);
    let (here, ..) = here(ResumeSign::Clock, down);
    assert_eq!(shown(here.forwards()), "skip", "it was down before");
    let mut pending = view();
    pending.forwards = forwards(ForwardState::Pending);
    let (here, ..) = self::here(ResumeSign::Clock, pending);
    assert_eq!(shown(here.forwards()), "forward web is not up");
}

#[tokio::test]
async fn the_link_must_be_as_before() {
    let cases: [(ResumeSign, Change, &str); 5] = [
        (
            ResumeSign::Clock,
            |_| {},
            "well: eth0 has its address 172.28.16.5 again",
        ),
        (
            ResumeSign::Link,
            |_| {},
            "news: eth0 has its address 172.28.16.5 again",
        ),
        (
            ResumeSign::Clock,
            |now| now.scene.mode = Some(Mode::None),
            "skip",
        ),
        (
            ResumeSign::Clock,
            |now| now.scene.place = None,
            "no interface has an address and a default route",
        ),
        (
            ResumeSign::Clock,
            |now| now.scene.place.as_mut().unwrap().connected = false,
            "eth0 has no carrier",
        ),
    ];
    for (sign, change, expected) in cases {
        let (here, view, _orders) = here(sign, view());
        view.send_modify(change);
        assert_eq!(shown(here.link()), expected);
    }
    let (here, ..) = here(ResumeSign::Clock, View::default());
    assert_eq!(shown(here.link()), "skip", "it had none before");
}

/// The answer that counts is one after the question, and a repair is another question.
#[tokio::test(start_paused = true)]
async fn windows_is_asked_and_waited_for() {
    let (here, view, mut orders) = here(ResumeSign::Clock, view());
    let wait = tokio::time::timeout(Duration::from_secs(1), here.interop()).await;
    assert!(wait.is_err(), "no answer yet");
    assert_eq!(orders.try_recv(), Ok(Order::AskWindows));
    assert!(orders.try_recv().is_err(), "one question");
    view.send_modify(|now| {
        (now.windows.ended, now.windows.failure) = (1, Some("it failed".to_owned()));
    });
    assert_eq!(shown(here.interop().await), "it failed");
    here.repair(RecoveryStep::Interop).await;
    assert_eq!(orders.try_recv(), Ok(Order::AskWindows));
    view.send_modify(|now| (now.windows.ended, now.windows.failure) = (2, None));
    assert_eq!(
        shown(here.interop().await),
        "well: Windows programs start again"
    );
}

#[tokio::test]
async fn windows_is_not_asked_for_nothing() {
    let mut unneeded = view();
    unneeded.scene.asks_windows = false;
    let mut dead = view();
    dead.windows.failure = Some("dead before the sleep".to_owned());
    for before in [unneeded, dead] {
        let (here, _view, mut orders) = here(ResumeSign::Clock, before);
        assert_eq!(here.interop().await, Check::Skip);
        assert!(orders.try_recv().is_err());
    }
}

/// Without Hyper-V's clock, which no test's machine has, a set clock is right.
#[tokio::test]
async fn a_clock_that_was_set_is_right() {
    for (sign, expected) in [
        (
            ResumeSign::Clock,
            "news: the clock was 60 s behind and is right",
        ),
        (ResumeSign::Link, "skip"),
    ] {
        let (here, ..) = here(sign, view());
        assert_eq!(shown(here.time().await), expected);
    }
}
