use std::{future::pending, sync::mpsc};

use super::*;

const SOON: Duration = Duration::from_millis(10);

/// A call that hangs until the sender is dropped.
fn hanging() -> (mpsc::Sender<()>, impl FnOnce() -> bool + Send + 'static) {
    let (release, held) = mpsc::channel();
    (release, move || held.recv().is_err())
}

#[tokio::test]
async fn hanging_call_is_abandoned_and_gets_no_second() {
    let flight = SingleFlight::default();
    let (release, hangs) = hanging();
    let first = run_blocking(flight.begin().unwrap(), SOON, hangs).await;
    assert!(matches!(first, Err(BlockingError::TimedOut(SOON))));
    assert!(flight.busy());
    let second = flight.clone().begin();
    assert!(matches!(second, Err(BlockingError::Busy)));
    drop(release);
    while flight.busy() {
        tokio::task::yield_now().await;
    }
    let third = run_blocking(flight.begin().unwrap(), LIMIT, || 3).await;
    assert_eq!(third.unwrap(), 3);
    assert!(!flight.busy(), "free with the result");
}

#[tokio::test]
async fn dropping_an_async_call_ends_it_at_once() {
    let flight = SingleFlight::default();
    let call = run_async(flight.begin().unwrap(), LIMIT, pending::<()>);
    timeout(SOON, call).await.unwrap_err();
    while flight.busy() {
        tokio::task::yield_now().await;
    }
    let next = run_async(flight.begin().unwrap(), LIMIT, || async { 1 });
    assert_eq!(next.await.unwrap(), 1);
}

#[tokio::test]
async fn refused_thread_is_an_error_and_frees_the_flight() {
    let flight = SingleFlight::default();
    // No machine has room for such a stack, and the error is EAGAIN's.
    let builder = thread::Builder::new().stack_size(1 << 60);
    let refused = run_in(builder, flight.begin().unwrap(), LIMIT, || ()).await;
    assert!(
        matches!(&refused, Err(BlockingError::NoThread(error)) if error.kind() == io::ErrorKind::WouldBlock),
        "{refused:?}"
    );
    assert!(!flight.busy());
}

#[tokio::test]
async fn panic_in_a_call_is_an_error_and_frees_the_flight() {
    let flight = SingleFlight::default();
    let call = || -> () { panic!("a test's") };
    let result = run_blocking(flight.begin().unwrap(), LIMIT, call).await;
    assert!(matches!(result, Err(BlockingError::Interrupted)));
    while flight.busy() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_do_not_wait_for_each_other() {
    let flights = KeyedFlights::default();
    let (release, hangs) = hanging();
    let hung = run_blocking(flights.begin(&"wg0").unwrap(), SOON, hangs).await;
    assert!(hung.is_err());
    assert!(matches!(flights.begin(&"wg0"), Err(BlockingError::Busy)));
    let other = run_blocking(flights.begin(&"wg1").unwrap(), LIMIT, || 1).await;
    assert_eq!(other.unwrap(), 1);
    drop(release);
}
