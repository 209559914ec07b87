use super::*;

fn values(ip: &str) -> BTreeMap<FactKey, String> {
    [(FactKey::MeshIpWireguard, ip.to_owned())].into()
}

#[test]
fn a_change_that_lasts_has_settled() {
    let (mut settle, start) = (Settle::default(), Instant::now());
    let at = |ms| start + Duration::from_millis(ms);
    assert!(settle.has(BTreeMap::new(), at(0)));
    assert!(!settle.has(values(""), at(0)));
    assert_eq!(settle.due, Some(at(5000)));
    assert!(!settle.has(values(""), at(4999)), "the same is waited for");
    assert!(settle.has(values(""), at(5000)));
    // Another one is waited for anew.
    assert!(!settle.has(values("10.9.0.1"), at(5000)));
    // What is as it was needs no timer.
    assert!(settle.has(BTreeMap::new(), at(6000)));
    assert_eq!(settle.due, None);
}

#[test]
fn a_tunnel_that_flaps_for_ever_is_notified_more_and_more_seldom() {
    let (mut settle, start) = (Settle::default(), Instant::now());
    let (mut now, mut pauses) = (start, Vec::new());
    for turn in 0..9 {
        settle.has(values(if turn % 2 == 0 { "" } else { "10.9.0.1" }), now);
        let due = settle.due.unwrap();
        pauses.push((due - now).as_secs());
        now = due;
        settle.notified(now);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    settle.has(values("10.9.0.2"), now + CALM + Duration::from_secs(1));
    assert_eq!(
        settle.due.unwrap() - now - CALM,
        Duration::from_secs(6),
        "after a calm time it is as at first"
    );
}
