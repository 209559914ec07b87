use super::*;

fn after(failures: u32, retry: Retry) -> Retry {
    Retry { failures, ..retry }
}

#[test]
fn doubles_up_to_the_longest_delay() {
    let longest = || Retry::up_to(Duration::from_secs(60));
    let later = || Retry::starting_at(Duration::from_secs(5));
    let tables = [
        (
            Retry::default as fn() -> Retry,
            [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300],
        ),
        (longest, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]),
        (later, [5, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300]),
    ];
    for (retry, expected) in tables {
        let seconds = (0..12).map(|failures| after(failures, retry()).delay(0).as_secs());
        assert_eq!(seconds.collect::<Vec<_>>(), expected);
    }
    let most = after(u32::MAX, Retry::default()).delay(u64::MAX);
    assert_eq!(most.as_secs() / 60, 5);
    assert_eq!(after(u32::MAX, longest()).delay(7).as_secs(), 60);
}

#[test]
fn jitter_is_at_most_a_quarter() {
    for random in [0, 1, 250, 251, u64::MAX] {
        let delay = after(3, Retry::default()).delay(random);
        assert!(
            delay >= Duration::from_secs(4) && delay <= Duration::from_secs(5),
            "{delay:?}"
        );
        let steady = after(3, Retry::up_to(LONGEST)).delay(random);
        assert_eq!(steady, Duration::from_secs(4));
    }
}

#[test]
fn a_retry_is_due_once_and_reset_forgets_failures() {
    let (mut retry, now) = (Retry::default(), Instant::now());
    assert!(!retry.take_due(now), "nothing has failed");
    let due = retry.failed(now);
    assert!(!retry.take_due(now) && retry.due == Some(due));
    assert!(retry.take_due(due) && !retry.take_due(due));
    assert!(retry.failed(due) >= due + Duration::from_secs(2));
    assert!(retry.postpone(due) <= due + Duration::from_millis(2500));
    assert_eq!(retry.failures, 2);
    retry.reset();
    assert_eq!(retry, Retry::default());
}
