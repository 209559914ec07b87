use std::collections::BTreeSet;

use super::*;

#[test]
fn ids_are_unique_and_plain() {
    let ids: BTreeSet<_> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), CHECKS.len());
    for id in ids {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(id.chars().all(plain), "{id}");
    }
}

#[test]
fn every_check_says_why_and_what_to_do() {
    for check in CHECKS {
        let (id, fix) = (check.id, check.remediation);
        assert!(check.why.ends_with('.'), "{id}: why is a sentence");
        assert!(!fix.is_empty() && !fix.ends_with('.'), "{id}: fix");
        // Beside the severity there is room for this much.
        assert!(check.title.chars().count() <= 60, "{id}: {}", check.title);
    }
}
