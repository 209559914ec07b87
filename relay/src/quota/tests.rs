use proptest::prelude::*;

use super::*;

#[test]
fn shares() {
    let table: [(u32, u32, &[u32], bool); 13] = [
        // A forward that is alone may have all.
        (8, 0, &[], true),
        (8, 7, &[], true),
        (8, 8, &[], false),
        // Of two each has 2 for itself, so one has 6 at most.
        (8, 5, &[0], true),
        (8, 6, &[0], false),
        (8, 0, &[6], true),
        (8, 1, &[6], true),
        // What is reserved and in use is not kept once more.
        (8, 5, &[2], true),
        (8, 6, &[2], false),
        (8, 4, &[3], true),
        // A limit that is smaller than the number of forwards reserves nothing.
        (2, 1, &[0, 0, 0], true),
        (2, 2, &[0, 0, 0], false),
        (0, 0, &[], false),
    ];
    for (limit, own, others, expected) in table {
        let used = own + others.iter().sum::<u32>();
        let room = has_room(limit, used, own, others.iter().copied());
        assert_eq!(room, expected, "{limit} {own} {others:?}");
    }
}

proptest! {
    /// Whoever comes in whatever order: the limit holds, and a forward that has less
    /// than its share gets another one.
    #[test]
    fn limit_holds_and_shares_are_free(
        limit in 0_u32..40,
        forwards in 1_usize..6,
        order in prop::collection::vec(0_usize..6, 0..120),
    ) {
        let mut open = vec![0_u32; forwards];
        let room = |open: &[u32], which: usize| {
            let others = open.iter().enumerate().filter(|(at, _)| *at != which);
            let others = others.map(|(_, &open)| open);
            has_room(limit, open.iter().sum(), open[which], others)
        };
        for which in order {
            let which = which % forwards;
            if room(&open, which) {
                open[which] += 1;
            }
        }
        prop_assert!(open.iter().sum::<u32>() <= limit);
        let share = reserve(limit, u32::try_from(forwards).unwrap());
        for which in 0..forwards {
            prop_assert!(open[which] >= share || room(&open, which), "{open:?}");
        }
    }
}
