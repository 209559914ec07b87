use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The byte of that sequence number.
fn byte(sequence: u32) -> u8 {
    (sequence % 251).to_le_bytes()[0]
}

fn bytes(start: u32, length: usize) -> Vec<u8> {
    (0..length).map(|at| byte(advance(start, at))).collect()
}

/// Starts and ends of what is there, as offsets.
fn runs(there: &BTreeMap<u32, u8>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for at in there.keys() {
        match runs.last_mut() {
            Some(last) if last.1 == *at => last.1 += 1,
            _ => runs.push((*at, at + 1)),
        }
    }
    runs
}

proptest! {
    #[test]
    fn pieces_are_a_sparse_stream(
        base in prop::sample::select(vec![0, 1000, u32::MAX - 150, 1 << 31]),
        inserts in prop::collection::vec((1..400_u32, 1..80_usize), 1..40),
        gap in 0..400_u32,
    ) {
        let (mut all, mut memory) = (Reassembly::default(), Memory::default());
        let mut there = BTreeMap::new();
        for (offset, length) in &inserts {
            let start = base.wrapping_add(*offset);
            all.insert(start, &bytes(start, *length), &mut memory);
            for at in *offset..*offset + u32::try_from(*length).unwrap() {
                there.insert(at, 0);
            }
            prop_assert_eq!(memory.used(), there.len());
            let (blocks, count) = all.blocks();
            let mut runs = runs(&there);
            prop_assert_eq!(count, runs.len().min(4));
            // The latest goes first.
            let latest = runs.iter().position(|run| (run.0..run.1).contains(offset)).unwrap();
            let latest = runs.remove(latest);
            runs.insert(0, latest);
            for (block, run) in blocks[..count].iter().zip(&runs) {
                let found = (block.start.wrapping_sub(base), block.end.wrapping_sub(base));
                prop_assert_eq!(found, *run);
            }
        }
        let mut next = gap;
        while let Some(data) = all.take(base.wrapping_add(next), &mut memory) {
            prop_assert_eq!(&data, &bytes(base.wrapping_add(next), data.len()));
            next += u32::try_from(data.len()).unwrap();
        }
        let end = (gap..).find(|at| !there.contains_key(at)).unwrap();
        prop_assert_eq!(next, end);
        all.clear(&mut memory);
        prop_assert!(all.is_empty() && memory.used() == 0);
    }
}

#[test]
fn what_is_there_is_not_replaced() {
    let (mut all, mut memory) = (Reassembly::default(), Memory::default());
    all.insert(10, b"abc", &mut memory);
    all.insert(8, b"XXXXXXX", &mut memory);
    assert_eq!(all.take(8, &mut memory).unwrap(), b"XX");
    assert_eq!(all.take(10, &mut memory).unwrap(), b"abcXX");
}

#[test]
fn tiny_pieces_are_few_and_neighbours_are_one() {
    let (mut all, mut memory) = (Reassembly::default(), Memory::default());
    for number in 0..100_000 {
        all.insert(number * 2 + 1, b"x", &mut memory);
    }
    assert_eq!((all.pieces.len(), memory.used()), (PIECES, PIECES));
    all.clear(&mut memory);
    for number in 0..1000 {
        all.insert(number * 100 + 1, &[1; 100], &mut memory);
    }
    assert_eq!((all.pieces.len(), all.blocks().1), (2, 1));
}
