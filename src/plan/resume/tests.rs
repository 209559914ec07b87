use std::iter;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{Peer, PublicKey},
    plan::tests::machine::name,
};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const YEAR: i64 = 365 * 24 * HOUR;
const NOW: u64 = 1_790_000_000;

fn before() -> Clocks {
    Clocks {
        real_ms: i64::try_from(NOW).unwrap() * SECOND,
        boot_ms: HOUR,
        monotonic_ms: HOUR,
    }
}

/// After a minute in which the wall clock was set by `step` and the kernel suspended.
fn after(step: i64, suspended: i64) -> Clocks {
    let Clocks {
        real_ms,
        boot_ms,
        monotonic_ms,
    } = before();
    Clocks {
        real_ms: real_ms + 60 * SECOND + suspended + step,
        boot_ms: boot_ms + 60 * SECOND + suspended,
        monotonic_ms: monotonic_ms + 60 * SECOND,
    }
}

#[test]
fn a_sleep_is_a_step_forward_and_a_set_clock_is_not() {
    let slept = |ms| Ok(Duration::from_millis(ms));
    for (what, step, suspended, last, expected) in [
        ("nothing", 0, 0, 0, Err(0)),
        ("chronyd", 12, 0, 0, Err(12)),
        ("a second forward", SECOND, 0, 0, Err(SECOND)),
        ("a second back", -SECOND, 0, 0, Err(-SECOND)),
        ("below the threshold", 4_999, 0, 0, Err(4_999)),
        ("at the threshold", 5_000, 0, 0, slept(5_000)),
        ("an hour", HOUR, 0, 0, slept(3_600_000)),
        ("a night", 8 * HOUR, 0, 0, slept(28_800_000)),
        ("an hour back", -HOUR, 0, 0, Err(-HOUR)),
        ("ten years", 10 * YEAR, 0, 0, Err(10 * YEAR)),
        ("ten years back", -10 * YEAR, 0, 0, Err(-10 * YEAR)),
        ("an hour back and forth", HOUR, 0, -HOUR, Err(HOUR)),
        (
            "back by an hour, then a night",
            8 * HOUR,
            0,
            -HOUR,
            slept(28_800_000),
        ),
        ("suspended", 0, HOUR, 0, slept(3_600_000)),
        ("suspended for a second", 0, SECOND, 0, Err(0)),
        ("both", HOUR, HOUR, 0, slept(7_200_000)),
        (
            "suspended, and the clock was wrong",
            -HOUR,
            HOUR,
            0,
            slept(3_600_000),
        ),
    ] {
        let now = after(step, suspended);
        let found = clock_change(&before(), &now, last);
        match (found, expected) {
            (ClockChange::Back(resume), Ok(away)) => {
                assert_eq!(
                    (resume.away, resume.sign),
                    (away, ResumeSign::Clock),
                    "{what}"
                );
                let awake = now.real_ms - i64::try_from(away.as_millis()).unwrap();
                assert_eq!(resume.awake_unix, unix(awake), "{what}");
            }
            (ClockChange::Set(ms), Err(step)) => assert_eq!(ms, step, "{what}"),
            (ClockChange::None, Err(0)) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_clock_is_compared(real in any::<[i64; 2]>(), boot in any::<[i64; 2]>(), monotonic in any::<[i64; 2]>(), last: i64) {
        let at = |index: usize| Clocks { real_ms: real[index], boot_ms: boot[index], monotonic_ms: monotonic[index] };
        if let ClockChange::Back(resume) = clock_change(&at(0), &at(1), last) {
            prop_assert!(resume.away >= Duration::from_secs(5));
        }
    }
}

#[test]
fn a_link_counts_once_a_minute_and_after_a_while() {
    let seconds = Duration::from_secs;
    for (away, last, counts) in [
        (0, None, false),
        (4, None, false),
        (5, None, true),
        (3_600, None, true),
        (10, Some(59), false),
        (10, Some(60), true),
    ] {
        let back = link_back(seconds(away), last.map(seconds), NOW);
        assert_eq!(back.is_some(), counts, "{away} {last:?}");
        let awake = back.map_or(NOW - away, |back| back.awake_unix);
        assert_eq!(awake, NOW - away);
    }
}

/// A device whose peers have these keepalives and handshakes, so many seconds ago.
fn device(peers: &[(u16, Option<u64>)]) -> BTreeMap<InterfaceName, Device> {
    let peers = (1..).zip(peers).map(|(index, (keepalive, ago))| {
        let peer = Peer {
            keepalive: *keepalive,
            endpoint: "192.0.2.1:51820".parse().ok(),
            handshake: ago.map(|ago| NOW - ago),
            ..Peer::default()
        };
        (PublicKey::new([index; 32]), peer)
    });
    let device = Device {
        peers: peers.collect(),
        ..Device::default()
    };
    iter::once((name("wg0"), device)).collect()
}

#[test]
fn handshakes_are_a_sign_when_all_go_stale() {
    let fresh = |ago| (25, Some(ago));
    for (what, first, then, sign) in [
        (
            "all",
            vec![fresh(10), fresh(100)],
            vec![fresh(200), fresh(290)],
            true,
        ),
        (
            "one of two",
            vec![fresh(10), fresh(100)],
            vec![fresh(10), fresh(290)],
            false,
        ),
        ("the only one", vec![fresh(10)], vec![fresh(180)], true),
        ("not yet", vec![fresh(10)], vec![fresh(179)], false),
        ("never fresh", vec![fresh(500)], vec![fresh(690)], false),
        (
            "without a keepalive",
            vec![(0, Some(10))],
            vec![(0, Some(200))],
            false,
        ),
        ("removed", vec![fresh(10)], vec![], false),
        (
            "another one came",
            vec![fresh(10)],
            vec![fresh(200), fresh(1)],
            false,
        ),
    ] {
        let mut handshakes = Handshakes::default();
        assert_eq!(handshakes.update(&device(&first), NOW), None, "{what}");
        let now = device(&then);
        assert_eq!(handshakes.update(&now, NOW).is_some(), sign, "{what}");
        assert_eq!(handshakes.update(&now, NOW), None, "{what}: once");
    }
}

#[test]
fn a_clock_that_was_set_makes_no_handshake_fresh_or_stale() {
    let mut handshakes = Handshakes::default();
    let devices = device(&[(25, Some(10))]);
    assert_eq!(
        handshakes.update(&devices, NOW - 3_600),
        None,
        "in the future"
    );
    assert_eq!(handshakes.update(&devices, NOW + 1_000_000), None);
    assert!(!is_fresh(NOW, NOW - 1) && is_fresh(NOW, NOW) && is_fresh(NOW, NOW + 179));
    assert!(!is_fresh(0, u64::MAX) && !is_fresh(u64::MAX, 0));
    assert_eq!(handshakes.due_unix(u64::MAX), u64::MAX);
}

/// Without anything fresh there is nothing to lose for a while.
#[test]
fn devices_are_read_seldom() {
    let mut handshakes = Handshakes::default();
    assert_eq!(handshakes.due_unix(NOW), NOW + 180);
    handshakes.update(&device(&[(25, Some(100)), (25, Some(50))]), NOW);
    assert_eq!(handshakes.due_unix(NOW), NOW + 130);
}

#[test]
fn only_who_answered_before_the_sleep_is_expected() {
    let devices = device(&[
        (25, Some(28_810)),
        (0, Some(28_979)),
        (25, Some(29_000)),
        (25, None),
    ]);
    let expected = expected_peers(&devices, NOW - 28_800);
    assert_eq!(expected.len(), 2, "{expected:?}");
}

fn recovery(sign: ResumeSign, steps: &[(RecoveryStep, StepOutcome)]) -> Recovery {
    Recovery {
        resume: Resume {
            sign,
            away: Duration::from_secs(300),
            awake_unix: NOW,
        },
        times: 1,
        steps: steps.to_vec(),
        took: Duration::from_secs(1),
    }
}

#[test]
fn what_failed_is_a_finding_with_what_helps() {
    use RecoveryStep::{Dns, Forwards, Interop, Link, Route, Time, Wireguard};
    let failed = |why: &str| StepOutcome::Failed(why.to_owned());
    for (step, helps) in [
        (Time, "hwclock"),
        (Link, "wsl.exe --shutdown"),
        (Route, "wsl.exe --shutdown"),
        (Wireguard, "wg show"),
        (Interop, "--terminate"),
        (Forwards, "wslmesh status"),
    ] {
        let steps = [(Time, StepOutcome::Well), (step, failed("it is so"))];
        let findings = unrecovered(&recovery(ResumeSign::Clock, &steps));
        let [finding] = findings.as_slice() else {
            panic!("{step}: {findings:?}");
        };
        assert_eq!(finding.subject, step.to_string());
        assert!(finding.detail.starts_with("it is so; "), "{finding}");
        assert!(finding.detail.contains(helps), "{finding}");
    }
    // A dead name server has a finding of its own.
    for none in [
        (Route, StepOutcome::Untried(Link)),
        (Dns, failed("it is dead")),
    ] {
        assert_eq!(unrecovered(&recovery(ResumeSign::Clock, &[none])), []);
    }
}

/// A peer that was switched off looks the same.
#[test]
fn silent_peers_alone_are_no_finding_without_a_sleep() {
    use RecoveryStep::{Dns, Wireguard};
    let silent = (Wireguard, StepOutcome::Failed("silent".to_owned()));
    let dns = (Dns, StepOutcome::Failed("dead".to_owned()));
    for (sign, steps, count) in [
        (ResumeSign::Handshakes, vec![silent.clone()], 0),
        (ResumeSign::Handshakes, vec![dns, silent.clone()], 1),
        (ResumeSign::Link, vec![silent.clone()], 1),
        (ResumeSign::Clock, vec![silent], 1),
    ] {
        let found = unrecovered(&recovery(sign, &steps));
        assert_eq!(found.len(), count, "{sign}");
    }
}

/// A node that is set back by an hour and forward again has not slept, whatever is rounded
/// in between.
#[test]
fn rounding_belongs_to_the_step_before() {
    const HOUR: i64 = 3_600_000;
    for (steps, last) in [
        (&[-HOUR, -1, 2][..], -HOUR + 1),
        (&[-HOUR, 999], -HOUR + 999),
        (&[-HOUR, 1_000], 1_000),
        (&[-1], -1),
    ] {
        let found = steps.iter().fold(0, |last, step| last_step(last, *step));
        assert_eq!(found, last, "{steps:?}");
    }
}
