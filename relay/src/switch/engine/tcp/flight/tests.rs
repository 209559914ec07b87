use proptest::prelude::*;

use super::*;

fn span(start: u32, end: u32) -> Span {
    Span { start, end }
}

/// Spans of 100 bytes, sent for the first time.
fn sent(count: u32) -> Flight {
    let mut flight = Flight::default();
    for number in 0..count {
        flight.sent(span(number * 100, number * 100 + 100), false);
    }
    flight
}

#[test]
fn acks_take_from_the_front() {
    let mut flight = sent(3);
    flight.acked(100, &[]);
    assert_eq!((flight.bytes(), flight.first_lost(9999)), (200, None));
    // A part of a span.
    flight.acked(150, &[]);
    assert_eq!(flight.bytes(), 150);
    flight.acked(150, &[]);
    assert_eq!(flight.bytes(), 150);
    flight.acked(300, &[]);
    assert_eq!((flight.bytes(), flight.has_lost()), (0, false));
}

#[test]
fn what_arrives_proves_the_loss_of_what_was_sent_before() {
    let mut flight = sent(6);
    flight.acked(100, &[span(300, 400)]);
    assert_eq!(flight.bytes(), 200);
    assert_eq!(flight.first_lost(9999), Some(span(100, 300)));
    assert_eq!(flight.first_lost(60), Some(span(100, 160)));
    assert_eq!(flight.first_lost(0), None);
    flight.resent(span(100, 160));
    assert_eq!(flight.first_lost(9999), Some(span(160, 300)));
    flight.resent(span(160, 300));
    assert_eq!((flight.bytes(), flight.has_lost()), (400, false));
    // The rest arrives, which was sent before: nothing is lost yet.
    flight.acked(100, &[span(300, 600)]);
    assert_eq!((flight.bytes(), flight.has_lost()), (200, false));
    // The second retransmission arrives: the first is lost again.
    flight.acked(100, &[span(160, 600)]);
    assert_eq!(flight.first_lost(9999), Some(span(100, 160)));
    flight.resent(span(100, 160));
    flight.acked(600, &[]);
    assert_eq!((flight.bytes(), flight.has_lost()), (0, false));
    assert!(flight.sent.is_empty() && flight.again == 0);
}

#[test]
fn what_the_guest_has_is_not_sent_again() {
    // A large one of which a part was lost on the way.
    let mut flight = Flight::default();
    flight.sent(span(0, 60_000), false);
    flight.sent(span(60_000, 61_000), false);
    let sacked = [span(2000, 30_000), span(40_000, 61_000)];
    flight.acked(1000, &sacked);
    assert_eq!(flight.first_lost(99_999), Some(span(1000, 2000)));
    flight.resent(span(1000, 2000));
    assert_eq!(flight.first_lost(99_999), Some(span(30_000, 40_000)));
    // The last of all, whose own end arrived.
    let mut flight = Flight::default();
    flight.sent(span(0, 60_000), false);
    flight.acked(0, &[span(2000, 50_000)]);
    assert_eq!((flight.bytes(), flight.has_lost()), (60_000, false));
    flight.acked(0, &[span(2000, 60_000)]);
    assert_eq!(flight.bytes(), 0);
    assert_eq!(flight.first_lost(99_999), Some(span(0, 2000)));
}

#[test]
fn three_duplicates_lose_the_first() {
    let mut flight = sent(4);
    flight.lose_first();
    assert_eq!(flight.first_lost(9999), Some(span(0, 100)));
    assert_eq!(flight.bytes(), 300);
    Flight::default().lose_first();
}

#[test]
fn after_silence_all_is_lost() {
    let mut flight = sent(4);
    flight.acked(100, &[span(200, 300)]);
    flight.lose_all(span(100, 400));
    assert_eq!((flight.bytes(), flight.again), (0, 0));
    assert_eq!(flight.first_lost(9999), Some(span(100, 400)));
    // It comes late nevertheless.
    flight.acked(250, &[span(300, 350)]);
    assert_eq!(flight.first_lost(9999), Some(span(250, 300)));
    flight.lose_all(span(400, 400));
    assert!(!flight.has_lost());
}

#[test]
fn entries_are_bounded() {
    let mut flight = Flight::default();
    for number in 0..100_000 {
        flight.sent(span(number, number + 1), false);
    }
    assert!(flight.sent.len() <= ENTRIES);
    assert_eq!(flight.bytes(), 100_000);
    flight.acked(99_999, &[]);
    assert_eq!(flight.bytes(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Send(u32),
    Again(usize),
    /// Up to a share of what was sent, and where the guest has more.
    Acked(u32, Vec<(u32, u32)>),
    Duplicates,
    Silence,
}

fn step() -> impl Strategy<Value = Step> {
    let block = (0..100_u32, 1..100_u32);
    prop_oneof![
        4 => (1..3000_u32).prop_map(Step::Send),
        4 => (1..3000_usize).prop_map(Step::Again),
        4 => (0..40_u32, prop::collection::vec(block, 0..4)).prop_map(|(una, blocks)| Step::Acked(una, blocks)),
        1 => Just(Step::Duplicates),
        1 => Just(Step::Silence),
    ]
}

proptest! {
    // Each byte is on its way, or lost, or known by the guest, and only one of them.
    #[test]
    fn no_byte_is_forgotten(
        base in prop::sample::select(vec![0, u32::MAX - 3000, 1 << 31]),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut flight = Flight::default();
        let (mut una, mut unsent) = (base, base);
        let mut known: Vec<Span> = Vec::new();
        for step in steps {
            match step {
                Step::Send(length) => {
                    let next = span(unsent, unsent.wrapping_add(length));
                    flight.sent(next, false);
                    unsent = next.end;
                }
                Step::Again(most) => {
                    if let Some(lost) = flight.first_lost(most) {
                        prop_assert!(lost.len() <= most);
                        flight.resent(lost);
                    }
                }
                Step::Acked(share, blocks) => {
                    let flying = unsent.wrapping_sub(una);
                    una = una.wrapping_add(flying * share / 40);
                    let left = unsent.wrapping_sub(una);
                    for (from, length) in blocks {
                        let start = una.wrapping_add(left * from / 100);
                        let end = start.wrapping_add(left * length / 100);
                        let end = if before(unsent, end) { unsent } else { end };
                        if before(start, end) {
                            known.push(span(start, end));
                        }
                    }
                    // The guest's ACK goes to the end of what it has.
                    known.sort_by_key(|one| one.start.wrapping_sub(base));
                    for one in &known {
                        if !before(una, one.start) {
                            una = latest(una, one.end);
                        }
                    }
                    known.retain(|one| !before(one.start, una));
                    flight.acked(una, &known);
                }
                Step::Duplicates => flight.lose_first(),
                Step::Silence => {
                    known.clear();
                    flight.lose_all(span(una, unsent));
                }
            }
            let flying: usize = flight.sent.iter().map(|one| one.span.len()).sum();
            prop_assert_eq!(flight.bytes(), flying);
            prop_assert_eq!(flight.again, flight.sent.iter().filter(|one| one.again).count());
            let mut spans: Vec<Span> = flight.sent.iter().map(|one| one.span).collect();
            spans.extend(&flight.lost);
            spans.sort_by_key(|one| one.start.wrapping_sub(base));
            let mut at = una;
            for one in spans {
                prop_assert!(!before(one.start, at), "{:?} twice", one);
                let gap = span(at, one.start);
                covered(&known, gap)?;
                at = one.end;
            }
            covered(&known, span(at, unsent))?;
        }
    }
}

/// Whether the guest knows all of it.
fn covered(known: &[Span], gap: Span) -> Result<(), TestCaseError> {
    let mut at = gap.start;
    while before(at, gap.end) {
        let more = known
            .iter()
            .find(|one| !before(at, one.start) && before(at, one.end));
        prop_assert!(more.is_some(), "{at} of {gap:?} is forgotten");
        at = more.map_or(gap.end, |one| one.end);
    }
    Ok(())
}
