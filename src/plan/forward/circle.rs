//! Listeners of the relay in this distribution that lead into each other. On Windows, in
//! NAT mode, its listeners are not where it leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::relay::Named;
use crate::model::{Code, Finding, Listen, addresses_overlap};

/// For each forward the one whose listener takes what it passes on. What no listener of
/// ours takes comes to a service.
fn followers(relayed: &[Named]) -> Vec<Option<usize>> {
    let mut by_port: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, (_, one)) in relayed.iter().enumerate() {
        let port = (one.listen.protocol, one.listen.listen_port);
        by_port.entry(port).or_default().push(place);
    }
    let follower = |(_, one): &Named| {
        let mut at_port = by_port
            .get(&(one.listen.protocol, one.connect_port))?
            .iter();
        let takes = |place: &&usize| {
            let listens = relayed
                .get(**place)
                .map(|(_, next)| next.listen.listen_address);
            listens.is_some_and(|at| addresses_overlap(at, one.connect_address))
        };
        at_port.find(takes).copied()
    };
    relayed.iter().map(follower).collect()
}

/// Of each circle the last one, without which the others are none. A circle is what is left
/// when those to which nothing leads have been taken away, again and again.
fn last_of_circles(followers: &[Option<usize>]) -> BTreeSet<usize> {
    let mut led_to = vec![0_usize; followers.len()];
    for place in followers.iter().flatten() {
        if let Some(count) = led_to.get_mut(*place) {
            *count += 1;
        }
    }
    let follower = |place: usize| followers.get(place).copied().flatten();
    let unled = led_to.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut gone: Vec<usize> = unled.map(|(place, _)| place).collect();
    let mut left: BTreeSet<usize> = (0..followers.len()).collect();
    while let Some(place) = gone.pop() {
        left.remove(&place);
        let Some((next, count)) =
            follower(place).and_then(|next| Some((next, led_to.get_mut(next)?)))
        else {
            continue;
        };
        *count -= 1;
        if *count == 0 {
            gone.push(next);
        }
    }
    let mut last = BTreeSet::new();
    while let Some(place) = left.pop_last() {
        last.insert(place);
        let mut next = follower(place);
        while let Some(other) = next.filter(|other| left.remove(other)) {
            next = follower(other);
        }
    }
    last
}

/// Takes out what leads back into itself, of each loop the forward that comes last, and says
/// where that leads. The others of a loop then come to a service, if one has that port.
/// What leads into another one is said, unless that could not listen.
pub(super) fn untangle(
    relayed: Vec<Named>,
    failed: impl Fn(Listen) -> bool,
) -> (Vec<Named>, Vec<(Listen, Finding)>) {
    let followers = followers(&relayed);
    let left_out = last_of_circles(&followers);
    let mut found = Vec::new();
    for (place, (name, one)) in relayed.iter().enumerate() {
        let next = followers.get(place).copied().flatten();
        let Some((next, (follower, at))) = next.and_then(|next| Some((next, relayed.get(next)?)))
        else {
            continue;
        };
        let into = format!(
            "{} leads into the listener of forward {follower:?} ({})",
            one.listen, at.listen
        );
        let (code, detail) = if left_out.contains(&place) {
            (
                Code::ForwardLoop,
                format!("{into}, and by it back to itself: it is not served"),
            )
        } else if left_out.contains(&next) || failed(at.listen) {
            continue;
        } else {
            (
                Code::ForwardChain,
                format!("{into}, and by it to port {}", at.connect_port),
            )
        };
        found.push((one.listen, Finding::new(code, name.as_str(), detail)));
    }
    let served = relayed.into_iter().enumerate();
    let served = served.filter(|(place, _)| !left_out.contains(place));
    (served.map(|(_, one)| one).collect(), found)
}
