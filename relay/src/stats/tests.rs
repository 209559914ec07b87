use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use super::*;
use crate::protocol::Protocol;

#[test]
fn refusals_are_reported_once_a_second_with_their_count() {
    let stats = ForwardStats::new(Listen {
        protocol: Protocol::Udp,
        listen_address: Ipv4Addr::LOCALHOST,
        listen_port: NonZeroU16::MIN,
    });
    let count = |stats: &ForwardStats| match stats.refusal() {
        Event::Refused {
            count, limit: 7, ..
        } => count,
        other => panic!("{other:?}"),
    };
    let start = Instant::now();
    assert_eq!(stats.refusal_due(start), None);

    assert!(stats.refuse(7, 2), "the event loop must be woken");
    assert!(!stats.refuse(7, 1), "the event loop is awake");
    assert_eq!(stats.refusal_due(start), Some(start), "the first at once");
    assert_eq!(count(&stats), 3);
    stats.refusal_sent(start);
    assert_eq!(stats.refusal_due(start), None);

    assert!(stats.refuse(7, 4));
    let next = start + REFUSAL_INTERVAL;
    assert_eq!(stats.refusal_due(start), Some(next));
    assert_eq!(count(&stats), 4);
    assert_eq!(stats.counters().refused, 7);
}
