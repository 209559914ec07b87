use std::os::unix::net::UnixListener;

use super::*;
use crate::{config::Source, control::requests};

const LONG: Duration = Duration::from_secs(10);

fn shared() -> Shared {
    Shared::new(requests(Source::File("/nowhere".into())).0)
}

/// There may be no second change.
#[tokio::test]
async fn a_change_before_the_retry_is_not_lost() {
    let shared = shared();
    shared.changed.notify_one();
    let due = Instant::now() + Duration::from_millis(50);
    timeout(LONG, retry_due(&shared, &Retry::default(), due, false))
        .await
        .unwrap();
    assert!(Instant::now() >= due);
    // After a few attempts the next one is made with a change alone, not by a timer.
    let mut retry = Retry::default();
    retry.failures = 3;
    shared.changed.notify_one();
    let due = Instant::now() + Duration::from_millis(50);
    let short = Duration::from_millis(100);
    let early = timeout(short, retry_due(&shared, &retry, due, false)).await;
    assert!(early.is_err(), "the change was before its time");
    shared.changed.notify_one();
    timeout(LONG, retry_due(&shared, &retry, due, false))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_machine_without_a_bus_is_not_woken_up() {
    let shared = shared();
    let due = Instant::now();
    let short = Duration::from_millis(100);
    let woken = timeout(short, retry_due(&shared, &Retry::default(), due, false)).await;
    assert!(woken.is_err());
    timeout(LONG, retry_due(&shared, &Retry::default(), due, true))
        .await
        .unwrap();
}

#[tokio::test]
async fn only_a_bus_without_a_listener_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus");
    let address = format!("unix:path={}", path.display());
    let connect = async || {
        let built = Builder::address(address.as_str()).build().await;
        ConnectError::connecting(built.unwrap_err())
    };
    assert!(matches!(connect().await, ConnectError::Absent), "no socket");
    let listener = UnixListener::bind(&path).unwrap();
    // It takes the connection and ends it, as a bus that is full does.
    let taker = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let full = connect().await;
    assert!(matches!(full, ConnectError::Failed(_)), "ended");
    taker.join().unwrap();
    let refused = connect().await;
    assert!(matches!(refused, ConnectError::Absent), "no listener");
}
