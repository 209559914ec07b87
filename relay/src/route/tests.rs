use std::future::ready;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use super::*;
use crate::protocol::{Limits, Protocol};

#[tokio::test]
async fn refusals_are_reported_once_a_second_with_their_count() {
    let context = Rc::new(RelayContext::new());
    context.limits.set(Limits {
        udp_sessions: 1,
        ..Limits::default()
    });
    let listen = Listen {
        protocol: Protocol::Udp,
        listen_address: Ipv4Addr::LOCALHOST.into(),
        listen_port: NonZeroU16::MIN,
    };
    let forward = Forward {
        listen,
        connect_address: Ipv4Addr::LOCALHOST.into(),
        connect_port: NonZeroU16::MIN,
        admit: Admit::Any,
        proxy_protocol: None,
    };
    let route = Rc::new(Route::new(&forward, Rc::clone(&context)));
    let _open = Permit::new(&route);
    let is_woken = async || {
        tokio::select! {
            biased;
            () = context.changed.notified() => true,
            () = ready(()) => false,
        }
    };
    let unsent = |event: &Event| panic!("{event:?}");
    let sent = Cell::new(None);
    let send = |event: &Event| {
        sent.set(Some(event.clone()));
        true
    };
    let refused = |count| {
        Some(Event::Refused {
            listen,
            limit: 1,
            source: None,
            count,
        })
    };
    let start = Instant::now();
    assert_eq!(route.send_refusals(start, unsent), None);

    assert!(!route.has_room());
    assert!(!is_woken().await, "nothing was refused");
    route.refuse(2, None);
    assert!(is_woken().await, "the event loop must be woken");
    route.refuse(1, None);
    assert!(!is_woken().await, "the event loop is awake");
    assert_eq!(route.send_refusals(start, |_| false), None, "a full queue");
    assert_eq!(route.send_refusals(start, send), None, "the first at once");
    assert_eq!(sent.take(), refused(3));
    assert_eq!(route.send_refusals(start, unsent), None);

    route.refuse(4, None);
    let next = start + REFUSAL_INTERVAL;
    assert_eq!(route.send_refusals(start, unsent), Some(next));
    assert_eq!(route.send_refusals(next, send), None);
    assert_eq!(sent.take(), refused(4));
    assert_eq!(route.counters().refused, 7);

    // A hundred forwards together send no more than 20 a second.
    let counters = Rc::clone(&route.counters);
    context.counters.replace(vec![counters; 100]);
    route.refuse(1, None);
    let later = next + 5 * REFUSAL_INTERVAL;
    assert_eq!(route.send_refusals(next, unsent), Some(later));
}
