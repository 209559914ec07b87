use super::*;

#[test]
fn calls_are_limited_per_user_and_in_total_and_users_are_forgotten() {
    let quota = CallQuota::new((2, 3));
    let first = quota.acquire(1000).unwrap();
    let second = quota.acquire(1000).unwrap();
    assert!(quota.acquire(1000).is_none(), "two for one user");
    let third = quota.acquire(1001).unwrap();
    assert!(quota.acquire(1002).is_none(), "three in all");
    drop(first);
    assert!(quota.acquire(1002).is_some());
    let again = quota.acquire(1000).unwrap();
    assert!(quota.acquire(1000).is_none());
    drop((second, third, again));
    let last = quota.acquire(1003).unwrap();
    assert_eq!(
        quota.taken.0.lock().unwrap().len(),
        1,
        "users are forgotten"
    );
    drop(last);
}

#[test]
fn root_has_a_quota_of_its_own() {
    let quota = CallQuota::new((2, 3));
    let root: Vec<_> = (0..4).filter_map(|_| quota.acquire(ROOT)).collect();
    assert_eq!(root.len(), 3, "as many as the others have together");
    let others: Vec<_> = [1, 1, 2, 2]
        .iter()
        .filter_map(|user| quota.acquire(*user))
        .collect();
    assert_eq!(others.len(), 3, "root takes none of theirs");
    drop(root);
    assert!(quota.acquire(ROOT).is_some(), "they take none of root's");
}
