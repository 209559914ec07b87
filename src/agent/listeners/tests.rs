use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::config::settings;

/// `[discovery]` of these ports.
fn on(ports: &[u16]) -> Settings {
    settings(&format!("[discovery]\ntcp = {ports:?}\ndeny = []"))
}

/// A listener, and its port: one that the kernel hands to no one else, and that another
/// process of these tests does not use either.
fn open() -> (TcpListener, u16) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() * 8;
    let mut ports = std::iter::repeat_with(|| {
        let number = first + NEXT.fetch_add(1, Ordering::Relaxed);
        u16::try_from(10_000 + number % 20_000).unwrap()
    });
    let open = |port| Some((TcpListener::bind(("0.0.0.0", port)).ok()?, port));
    ports.find_map(open).unwrap()
}

fn ports(listeners: &Listeners) -> Vec<u16> {
    listeners
        .found()
        .iter()
        .map(|one| one.at.port.get())
        .collect()
}

/// Follows these settings with a list at each look: other tests open and close sockets.
fn following(settings: &Settings) -> Listeners {
    let mut listeners = Listeners::default();
    listeners.follow(settings, None);
    listeners.watch = SocketWatch::default();
    listeners
}

#[tokio::test]
async fn what_is_there_counts_at_once_and_what_comes_at_the_second_look() {
    let ((first, a), (second, b)) = (open(), open());
    drop(second);
    let mut listeners = following(&on(&[a, b]));
    assert_eq!(ports(&listeners), [a]);
    let start = Instant::now();
    assert!(!listeners.look_again(false, start), "nothing changed");
    let second = TcpListener::bind(("0.0.0.0", b)).unwrap();
    assert!(!listeners.look_again(false, start));
    assert_eq!(listeners.confirm, Some(start + CONFIRM));
    assert!(listeners.look_again(true, start));
    assert_eq!(ports(&listeners), [a, b]);
    // What ended is gone at the next look.
    drop(first);
    assert!(listeners.look_again(false, start));
    assert_eq!(ports(&listeners), [b]);
    listeners.follow(&settings(""), None);
    assert_eq!(ports(&listeners), [0; 0]);
    drop(second);
}

#[tokio::test]
async fn what_lives_for_one_look_never_counts() {
    let (socket, port) = open();
    drop(socket);
    let mut listeners = following(&on(&[port]));
    for _ in 0..20 {
        let socket = TcpListener::bind(("0.0.0.0", port)).unwrap();
        assert!(!listeners.look_again(false, Instant::now()));
        drop(socket);
        assert!(!listeners.look_again(true, Instant::now()));
        assert_eq!(listeners.confirm, None, "no third look");
    }
    assert_eq!(ports(&listeners), [0; 0]);
}

#[tokio::test]
async fn changes_without_end_are_followed_slowly() {
    let (socket, port) = open();
    let mut kept = Some(socket);
    let mut listeners = following(&on(&[port]));
    let start = Instant::now();
    let mut change = |listeners: &mut Listeners, at| {
        kept = match kept.take() {
            Some(_) => None,
            None => Some(TcpListener::bind(("0.0.0.0", port)).unwrap()),
        };
        let first = listeners.look_again(false, at);
        first | listeners.look_again(true, at)
    };
    for _ in 0..CHANGES {
        assert!(change(&mut listeners, start));
        assert_eq!(listeners.findings().count(), 0);
    }
    let before = ports(&listeners);
    assert!(change(&mut listeners, start), "this is said");
    assert_eq!(ports(&listeners), before);
    let codes: Vec<Code> = listeners.findings().map(|one| one.code).collect();
    assert_eq!(codes, [Code::DiscoveryBusy]);
    assert!(!listeners.look_again(false, start), "and once");
    assert!(listeners.look_again(false, start + EACH));
    assert_ne!(ports(&listeners), before);
    assert_eq!(listeners.findings().count(), 0);
}

#[tokio::test]
async fn rules_that_change_all_the_time_are_read_at_intervals() {
    let read = Instant::now();
    let ms = |ms| read + Duration::from_millis(ms);
    let table = [
        ("right after a reading", 1, None, READINGS),
        (
            "an engine makes several",
            450,
            None,
            Duration::from_millis(550),
        ),
        (
            "after a quiet time",
            60_000,
            None,
            Duration::from_millis(60_100),
        ),
        (
            "one is due already",
            10,
            Some(ms(700)),
            Duration::from_millis(700),
        ),
    ];
    for (case, change, stale, due) in table {
        let mut listeners = Listeners {
            read: Some(read),
            stale,
            ..Listeners::default()
        };
        listeners.rules_changed(ms(change));
        assert_eq!(listeners.stale, Some(read + due), "{case}");
    }
    let mut never_read = Listeners::default();
    never_read.rules_changed(read);
    assert_eq!(never_read.stale, Some(read + CONFIRM));
}

#[tokio::test]
async fn rules_that_cannot_be_read_are_said_once_and_read_ever_later() {
    let mut listeners = following(&on(&[8080]));
    let codes = |listeners: &Listeners| Vec::from_iter(listeners.findings().map(|one| one.code));
    let refused = || Err(io::ErrorKind::PermissionDenied.into());
    let mut at = Instant::now();
    listeners.take_rules(Ok(BTreeMap::new()), at);
    assert_eq!((codes(&listeners), listeners.stale), (Vec::new(), None));
    for seconds in [1, 2, 4, 8] {
        listeners.take_rules(refused(), at);
        let due = listeners.stale.unwrap();
        let delay = Duration::from_secs(seconds);
        assert!((delay..=delay * 5 / 4).contains(&(due - at)), "{seconds}");
        // Looks before that change nothing, nor do announcements.
        while at + INTERVAL < due {
            at += INTERVAL;
            listeners.rules_changed(at);
            assert!(!listeners.look_again(false, at));
            assert_eq!(listeners.stale, Some(due));
            assert_eq!(codes(&listeners), [Code::DiscoveryFailed]);
        }
        at = due;
    }
    listeners.take_rules(Ok(BTreeMap::new()), at);
    assert_eq!((codes(&listeners), listeners.stale), (Vec::new(), None));
}

#[tokio::test]
async fn off_where_nothing_would_be_forwarded() {
    let on = "[discovery]\ntcp = [8080]\n";
    let without = settings(&format!("{on}[host]\nbackend = \"none\"\n"));
    let table = [
        (settings(on), None, true),
        (settings(on), Some(Mode::Nat), true),
        (settings(on), Some(Mode::NotWsl), false),
        (without, Some(Mode::Nat), false),
        (settings(""), Some(Mode::Nat), false),
    ];
    for (settings, mode, expected) in table {
        let mut listeners = Listeners::default();
        listeners.follow(&settings, mode);
        assert_eq!(listeners.wanted.is_some(), expected, "{mode:?}");
    }
}
