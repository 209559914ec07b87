use std::{num::NonZeroU16, time::Duration};

use super::*;
use crate::model::{Admit, Code, RelayForward, RelayLocation};
use wslmesh_relay::protocol::{FailureKind, Protocol};

fn listen(port: u16) -> Listen {
    Listen {
        protocol: Protocol::Udp,
        listen_address: [0, 0, 0, 0].into(),
        listen_port: NonZeroU16::new(port).unwrap(),
    }
}

#[test]
fn unconfirmed_listeners_may_listen() {
    let mut listeners = Listeners::default();
    let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    assert!(!listeners.applied());
    listeners.sent(1, first, vec![listen(1), listen(2)]);
    listeners.sent(2, second, vec![listen(2), listen(3)]);
    assert_eq!(listeners.waits_since(), Some(first));
    assert_eq!(*listeners.listening(), [listen(1), listen(2), listen(3)]);
    let fine = |port| Listener {
        listen: listen(port),
        failure: None,
        ipv4_alone: port == 2,
    };
    assert!(!listeners.confirmed(1, &[fine(1), fine(2)]));
    assert_eq!(listeners.waits_since(), Some(second));
    assert!(!listeners.applied());
    assert_eq!(*listeners.listening(), [listen(1), listen(2), listen(3)]);
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 98,
    };
    let taken = Listener {
        listen: listen(3),
        failure: Some(failure),
        ipv4_alone: false,
    };
    assert!(listeners.confirmed(2, &[fine(2), taken]));
    assert_eq!(listeners.waits_since(), None);
    assert!(listeners.applied());
    assert_eq!(*listeners.listening(), [listen(2)]);
    assert_eq!(*listeners.failed(), [(listen(3), failure)].into());
    assert_eq!(*listeners.ipv4_alone(), [listen(2)].into());
    assert!(!listeners.confirmed(7, &[]), "no such command");
    assert_eq!(*listeners.listening(), [listen(2)]);
}

#[test]
fn transient_finding_expires_and_is_kept_once() {
    let (mut transient, now) = (TransientFindings::default(), Instant::now());
    let second = Duration::from_secs(1);
    let finding = |text: &str| Finding::new(Code::RelayLimit, "wg", text);
    assert!(transient.add(finding("a"), now + second));
    assert!(!transient.add(finding("b"), now + 2 * second));
    assert!(!transient.expire(now + second));
    assert_eq!(transient.findings().collect::<Vec<_>>(), [&finding("b")]);
    assert_eq!(transient.due(), Some(now + 2 * second));
    assert!(transient.expire(now + 2 * second));
    assert_eq!((transient.findings().count(), transient.due()), (0, None));
}

fn counters(port: u16, opened: u64) -> Counters {
    Counters {
        listen: listen(port),
        active: 2,
        opened,
        failed: 0,
        refused: 0,
        bytes_in: 1_000_000,
        bytes_out: 7,
    }
}

/// Of the forward wg, which has two ports, and what another one has between them.
fn wanted() -> RelaySet {
    let forward = |name: &str, port| {
        let forward = RelayForward {
            listen: listen(port),
            connect_address: [172, 20, 1, 5].into(),
            connect_port: port.try_into().unwrap(),
            admit: Admit::Any,
            proxy_protocol: None,
        };
        (name.to_owned(), forward)
    };
    RelaySet {
        location: RelayLocation::Guest,
        forwards: vec![forward("wg", 51820), forward("x", 9), forward("wg", 51821)],
    }
}

#[test]
fn one_question_has_one_answer() {
    let mut counting = Counting::default();
    assert!(!counting.answered(None, &[]));
    assert_eq!(counting.last, None);
    counting.asked = true;
    let wanted = wanted();
    let answer = [counters(7, 1), counters(51821, 3), counters(51820, 4)];
    assert!(counting.answered(Some(&wanted), &answer));
    let taken = counting.last.as_ref().unwrap().taken_unix_ms;
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
    assert!(taken > 1_700_000_000_000 && taken <= now);
    assert!(!counting.answered(None, &[]), "one question, one answer");
    let sum = CountedForward {
        name: "wg".to_owned(),
        counters: Counters {
            active: 4,
            bytes_in: 2_000_000,
            bytes_out: 14,
            ..counters(51820, 7)
        },
    };
    let counted = &counting.last.as_ref().unwrap().forwards;
    assert_eq!(*counted, [sum], "one of no forward has no name");
    counting.asked = true;
    assert!(counting.answered(None, &[]));
    assert!(counting.last.as_ref().unwrap().taken_unix_ms > taken);
}
