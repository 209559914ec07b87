use super::*;

#[test]
fn only_a_change_is_due() {
    let change = |old| Due::Change { old };
    let table: [(_, &[&str], _, _); 12] = [
        (None, &[], "1", Due::First),
        (None, &["2"], "1", Due::First),
        (Some("1"), &[], "1", Due::Nothing),
        (Some("1"), &[], "2", change("1")),
        // A run that was begun for 2, and not ended.
        (Some("1"), &["2"], "2", change("1")),
        (Some("1"), &["2"], "3", change("1")),
        (Some("1"), &["2"], "1", change("1")),
        // One more, for 3.
        (Some("1"), &["2", "3"], "3", change("1")),
        (Some("1"), &["1", "1"], "1", Due::Nothing),
        // A tunnel that was not there yet, was lost, and is back.
        (None, &[], "", Due::Nothing),
        (Some("1"), &[], "", change("1")),
        (Some(""), &[], "1", change("")),
    ];
    for (notified, others, now, expected) in table {
        let found = due(notified, others.iter().copied(), now);
        assert_eq!(found, expected, "{notified:?} {others:?} {now}");
    }
}
