use super::*;

#[test]
fn only_a_change_is_due() {
    let address = |last| IpAddr::from([172, 28, 16, last]);
    let change = |old| Due::Change { old: address(old) };
    let table: [(_, &[u8], _, _); 9] = [
        (None, &[], 1, Due::First),
        (None, &[2], 1, Due::First),
        (Some(1), &[], 1, Due::Nothing),
        (Some(1), &[], 2, change(1)),
        // A run that was begun for 2, and not ended.
        (Some(1), &[2], 2, change(1)),
        (Some(1), &[2], 3, change(1)),
        (Some(1), &[2], 1, change(1)),
        // One more, for 3.
        (Some(1), &[2, 3], 3, change(1)),
        (Some(1), &[1, 1], 1, Due::Nothing),
    ];
    for (notified, others, now, expected) in table {
        let others = others.iter().copied().map(address);
        assert_eq!(
            due(notified.map(address), others, address(now)),
            expected,
            "{notified:?} {now}"
        );
    }
}
