//! Counters that the relay is asked for.

use super::*;

#[tokio::test]
async fn counters_are_sent_on_request() {
    let mut bench = Bench::new(COUNTS);
    assert_eq!(bench.supervisor.ask_counters(), None, "no relay runs");
    bench.supervisor.set_forwards(set(5));
    let memory = bench.until(|memory| memory.applied).await;
    assert_eq!(memory.counted, None);
    for answer in [1, 2] {
        assert_eq!(bench.supervisor.ask_counters(), None);
        let opened =
            |memory: &RelayMemory| Some(memory.counted.as_ref()?.forwards[0].counters.opened);
        let memory = bench.until(|memory| opened(memory) == Some(answer)).await;
        let counted = memory.counted.unwrap();
        let crate::model::CountedForward { name, counters } = &counted.forwards[0];
        assert_eq!((counted.forwards.len(), name.as_str()), (1, "wg"));
        assert_eq!((counters.active, counters.bytes_out), (1, 9_000_000_000));
        assert!(memory.applied, "its forwards are unchanged");
        // The script answers twice; the second answer is ignored.
        let more = timeout(Duration::from_millis(50), bench.supervisor.next_change()).await;
        assert!(more.is_err(), "{more:?}");
    }
    // Another relay has counted nothing.
    bench.supervisor.set_forwards(set(9));
    let memory = bench.until(|memory| !memory.findings.is_empty()).await;
    assert_eq!(
        (codes(&memory), memory.counted),
        (vec![Code::RelayFailed], None)
    );
}

#[tokio::test]
async fn relay_that_does_not_read_counter_requests_is_replaced() {
    let mut bench = Bench::new("ready; receive; applied; sleep 600");
    bench.supervisor.set_forwards(set(5));
    bench.until(|memory| memory.applied).await;
    let begin = Instant::now();
    let memory = loop {
        if let Some(memory) = bench.supervisor.ask_counters() {
            break memory;
        }
        assert!(begin.elapsed() < LONG);
    };
    assert_eq!(codes(&memory), [Code::RelayFailed]);
    assert!(matches!(bench.supervisor.state, State::Waiting));
}
