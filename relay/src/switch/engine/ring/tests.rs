use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Fill(usize),
    Consume(usize),
    Grow,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..40_000_usize).prop_map(Step::Push),
        3 => (0..40_000_usize).prop_map(Step::Fill),
        4 => (0..60_000_usize).prop_map(Step::Consume),
        1 => Just(Step::Grow),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ring_is_a_queue_of_bytes(steps in prop::collection::vec(step(), 0..40)) {
        let (mut ring, mut memory) = (Ring::default(), Memory::default());
        let (mut wanted, mut next) = (VecDeque::new(), 0_u8);
        let mut some = |count: usize| -> Vec<u8> {
            (0..count).map(|_| { next = next.wrapping_add(7); next }).collect()
        };
        for step in steps {
            match step {
                Step::Push(count) => {
                    let data = some(count);
                    ring.push(&data, &mut memory);
                    wanted.extend(data);
                }
                Step::Fill(count) => {
                    let [mut back, mut front] = ring.space();
                    let data = some(count.min(back.len() + front.len()));
                    let first = data.len().min(back.len());
                    back[..first].copy_from_slice(&data[..first]);
                    front[..data.len() - first].copy_from_slice(&data[first..]);
                    ring.filled(data.len());
                    wanted.extend(data);
                }
                Step::Consume(count) => {
                    ring.consume(count);
                    wanted.drain(..count.min(wanted.len()));
                }
                Step::Grow if ring.capacity() < LARGEST => ring.grow(&mut memory),
                Step::Grow => {}
                Step::Release => ring.release(&mut memory),
            }
            prop_assert_eq!(ring.len(), wanted.len());
            prop_assert_eq!(memory.used(), ring.capacity());
            let (offset, count) = (wanted.len() / 3, wanted.len() / 2);
            let (first, second) = ring.slices(offset, count);
            let both: Vec<u8> = first.iter().chain(second).copied().collect();
            let same: Vec<u8> = wanted.iter().skip(offset).take(count).copied().collect();
            prop_assert_eq!(both, same);
        }
        let all = ring.len();
        ring.consume(all);
        ring.release(&mut memory);
        prop_assert_eq!(memory.used(), 0);
    }
}

#[test]
fn out_of_range_is_cut() {
    let (mut ring, mut memory) = (Ring::default(), Memory::default());
    assert_eq!(ring.slices(5, 5), (&[][..], &[][..]));
    ring.push(b"abc", &mut memory);
    assert_eq!(ring.slices(1, 9), (&b"bc"[..], &[][..]));
    ring.consume(9);
    assert!(ring.is_empty());
}
