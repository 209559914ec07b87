//! A bound on calls in flight: so many for one caller, so many in all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Places that calls take while they are answered. Nothing is remembered of a
/// caller that has no call in flight.
#[derive(Debug)]
pub(super) struct Places<K: Ord> {
    each: usize,
    all: usize,
    taken: Mutex<BTreeMap<K, usize>>,
}

/// A place; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Ord + Clone> {
    places: Arc<Places<K>>,
    of: K,
}

impl<K: Ord + Clone> Places<K> {
    /// `each` places for one caller, `all` together.
    pub(super) fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self {
            each,
            all,
            taken: Mutex::default(),
        })
    }

    /// Takes a place; `None` where the caller has all of its own, or all are taken.
    pub(super) fn take(self: &Arc<Self>, of: &K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let in_all: usize = taken.values().sum();
        let own = taken.get(of).copied().unwrap_or_default();
        if own >= self.each || in_all >= self.all {
            return None;
        }
        taken.insert(of.clone(), own + 1);
        Some(Place {
            places: Arc::clone(self),
            of: of.clone(),
        })
    }
}

impl<K: Ord + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.of)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_and_for_all_and_nobody_is_remembered() {
        let places = Places::new(2, 3);
        let first = places.take(&"a").unwrap();
        let second = places.take(&"a").unwrap();
        assert!(places.take(&"a").is_none(), "two for one caller");
        let third = places.take(&"b").unwrap();
        assert!(places.take(&"c").is_none(), "three in all");
        drop(first);
        assert!(places.take(&"c").is_some());
        let again = places.take(&"a").unwrap();
        assert!(places.take(&"a").is_none());
        drop((second, third, again));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
