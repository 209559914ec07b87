use super::*;

fn values(ip: &str) -> BTreeMap<FactKey, String> {
    [(FactKey::MeshIpWireguard, ip.to_owned())].into()
}

#[test]
fn a_change_that_lasts_has_settled() {
    let (mut settle, start) = (Settle::default(), Instant::now());
    let at = |ms| start + Duration::from_millis(ms);
    let all = BTreeSet::from([FactKey::MeshIpWireguard]);
    let none = BTreeSet::new();
    assert_eq!(settle.settled(BTreeMap::new(), at(0)), none);
    assert_eq!(settle.settled(values(""), at(0)), none);
    assert_eq!(settle.due, Some(at(5000)));
    let same = settle.settled(values(""), at(4999));
    assert_eq!(same, none, "the same is waited for");
    assert_eq!(settle.settled(values(""), at(5000)), all);
    // Another one is waited for anew.
    assert_eq!(settle.settled(values("10.9.0.1"), at(5000)), none);
    // What is as it was needs no timer.
    assert_eq!(settle.settled(BTreeMap::new(), at(6000)), none);
    assert_eq!(settle.due, None);
}

#[test]
fn a_tunnel_that_flaps_for_ever_is_notified_more_and_more_seldom() {
    let (mut settle, start) = (Settle::default(), Instant::now());
    let (mut now, mut pauses) = (start, Vec::new());
    for turn in 0..9 {
        settle.settled(values(if turn % 2 == 0 { "" } else { "10.9.0.1" }), now);
        let due = settle.due.unwrap();
        pauses.push((due - now).as_secs());
        now = due;
        settle.notified(now);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    settle.settled(values("10.9.0.2"), now + CALM + Duration::from_secs(1));
    assert_eq!(
        settle.due.unwrap() - now - CALM,
        Duration::from_secs(6),
        "after a calm time it is as at first"
    );
}

#[test]
fn one_that_flaps_does_not_hold_up_another() {
    let (mut settle, start) = (Settle::default(), Instant::now());
    let lost = (FactKey::MeshIpWireguard, String::new());
    for seconds in 0..10 {
        let flaps = ["", "100.64.0.1"][seconds / 4 % 2].to_owned();
        let changes = BTreeMap::from([lost.clone(), (FactKey::MeshIpTailscale, flaps)]);
        let now = start + Duration::from_secs(seconds as u64);
        assert_eq!(settle.settled(changes, now), BTreeSet::new(), "{seconds} s");
    }
    assert_eq!(settle.due, Some(start + FIRST * 2));
    let changes = BTreeMap::from([lost, (FactKey::MeshIpTailscale, "".to_owned())]);
    let settled = settle.settled(changes, start + FIRST * 2);
    assert_eq!(settled, [FactKey::MeshIpWireguard].into());
}

#[test]
fn what_changes_together_settles_together() {
    let (mut settle, start) = (Settle::default(), Instant::now());
    settle.settled(values("10.9.0.1"), start);
    let mut both = values("10.9.0.1");
    both.insert(FactKey::MeshPortWireguard, "51820".to_owned());
    let second = Duration::from_secs(1);
    assert_eq!(settle.settled(both.clone(), start + second).len(), 0);
    assert_eq!(settle.settled(both.clone(), start + FIRST).len(), 0);
    assert_eq!(settle.settled(both, start + FIRST + second).len(), 2);
}
