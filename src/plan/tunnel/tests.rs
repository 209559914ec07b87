use super::*;
use NatState::{Broken, Unclear, Works};

#[test]
fn wanted_where_and_when() {
    use TunnelReason as Why;
    use TunnelWhen::{Always, NatBroken, Never};
    let cases = [
        (Never, Some(Mode::Nat), true, None),
        (NatBroken, Some(Mode::Nat), false, None),
        (NatBroken, Some(Mode::Nat), true, Some(Why::NatBroken)),
        (NatBroken, Some(Mode::Mirrored), true, None),
        (NatBroken, Some(Mode::Consomme), true, None),
        (NatBroken, Some(Mode::Bridged), true, None),
        (NatBroken, Some(Mode::None), true, None),
        (NatBroken, Some(Mode::NotWsl), true, None),
        (NatBroken, None, true, None),
        (Always, Some(Mode::Mirrored), false, Some(Why::Always)),
        (Always, Some(Mode::None), false, Some(Why::Always)),
        (Always, None, false, Some(Why::Always)),
    ];
    for (when, mode, broken, expected) in cases {
        let found = tunnel_wanted(when, mode, broken);
        assert_eq!(found, expected, "{when:?} {mode:?} {broken}");
    }
}

/// What it is, looks, and when it began and ended to count as broken.
type Case<'a> = (&'a str, &'a [(u64, NatState)], &'a [(u64, bool)]);

/// Looks at these seconds; gives back when it began and ended to count as broken.
fn follow(history: &mut NatHistory, looks: &[(u64, NatState)]) -> Vec<(u64, bool)> {
    let mut changes = Vec::new();
    for (at, look) in looks {
        if history.take(*look, Duration::from_secs(*at)) {
            changes.push((*at, history.is_broken()));
        }
    }
    changes
}

#[test]
fn rows_of_looks() {
    let cases: &[Case<'_>] = &[
        ("works", &[(0, Works), (9, Works)], &[]),
        (
            "two failures are none",
            &[(0, Broken), (3, Broken), (6, Works)],
            &[],
        ),
        (
            "three are",
            &[(0, Broken), (3, Broken), (6, Broken), (9, Broken)],
            &[(6, true)],
        ),
        (
            "in a row",
            &[
                (0, Broken),
                (3, Broken),
                (6, Works),
                (9, Broken),
                (12, Broken),
            ],
            &[],
        ),
        (
            "what is unclear is no failure",
            &[(0, Broken), (3, Broken), (6, Unclear), (9, Broken)],
            &[],
        ),
    ];
    for (what, looks, expected) in cases {
        assert_eq!(
            follow(&mut NatHistory::default(), looks),
            *expected,
            "{what}"
        );
    }
}

#[test]
fn it_has_to_be_good_for_a_while() {
    let cases: &[Case<'_>] = &[
        (
            "not long enough",
            &[(0, Works), (1, Works), (2, Works), (54, Works)],
            &[],
        ),
        (
            "long enough",
            &[(0, Works), (30, Works), (60, Works)],
            &[(60, false)],
        ),
        ("not often enough", &[(0, Works), (100, Works)], &[]),
        (
            "in a row",
            &[
                (0, Works),
                (30, Works),
                (45, Broken),
                (60, Works),
                (90, Works),
                (120, Works),
            ],
            &[(120, false)],
        ),
        (
            "an unclear one begins anew",
            &[
                (0, Works),
                (30, Works),
                (45, Unclear),
                (60, Works),
                (90, Works),
            ],
            &[],
        ),
    ];
    for (what, looks, expected) in cases {
        assert_eq!(
            follow(&mut NatHistory::broken_before(), looks),
            *expected,
            "{what}"
        );
    }
}

#[test]
fn what_breaks_again_is_held_for_longer() {
    let mut history = NatHistory::default();
    let (mut now, mut held) = (0, Vec::new());
    for _ in 0..7 {
        let failed = [(now, Broken), (now + 2, Broken), (now + 4, Broken)];
        assert_eq!(follow(&mut history, &failed), [(now + 4, true)]);
        let begun = now + 10;
        now = begun;
        while !history.take(Works, Duration::from_secs(now)) {
            now += 30;
        }
        held.push(now - begun);
        now += 60;
    }
    assert_eq!(held, [60, 120, 240, 450, 900, 900, 900]);
    // Long after, it is as at first.
    now += 601;
    let failed = [(now, Broken), (now + 2, Broken), (now + 4, Broken)];
    assert_eq!(follow(&mut history, &failed), [(now + 4, true)]);
    let good = [(now + 10, Works), (now + 40, Works), (now + 70, Works)];
    assert_eq!(follow(&mut history, &good), [(now + 70, false)]);
}

#[test]
fn looks_become_rare_and_need_no_timer() {
    let mut history = NatHistory::default();
    assert_eq!(history.next(), None);
    history.take(Works, Duration::ZERO);
    assert_eq!(history.next(), None, "nothing is polled while all is well");
    history.take(Broken, Duration::ZERO);
    assert_eq!(history.next(), Some(NextLook::Soon(SOON)));
    assert!(history.is_suspect());
    let mut pauses = Vec::new();
    for _ in 0..8 {
        history.take(Broken, Duration::ZERO);
        if let Some(NextLook::Seldom(pause)) = history.next() {
            pauses.push(pause.as_secs());
        }
    }
    assert_eq!(pauses, [25, 50, 100, 200, 300, 300, 300]);
    history.take(Works, Duration::ZERO);
    assert_eq!(history.next(), Some(NextLook::Seldom(FIRST_PAUSE)));
}

proptest::proptest! {
    /// Whatever the looks say, one alone changes nothing, and it counts as broken only after
    /// failures and as working only after good looks.
    #[test]
    fn changes_have_their_reasons(looks in proptest::collection::vec((0..3_u8, 0..90_u64), 0..60)) {
        let (mut history, mut now, mut last) = (NatHistory::default(), 0, Vec::new());
        for (kind, pause) in looks {
            now += pause;
            let look = [Works, Broken, Unclear][usize::from(kind)];
            last.push(look);
            if history.take(look, Duration::from_secs(now)) {
                let row: Vec<_> = last.iter().rev().take(3).collect();
                let expected = if history.is_broken() { Broken } else { Works };
                proptest::prop_assert_eq!(row, [&expected; 3]);
            }
        }
    }
}
