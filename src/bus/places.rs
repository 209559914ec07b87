//! A bound on what is in flight: so much for one user, so much for all users but
//! root.
//!
//! Root's places are its own: whatever others do, they take none of them. Users
//! are counted and not their connections, of which anybody may have many.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

const ROOT: u32 = 0;

/// Places that calls take while they are answered. Nothing is remembered of a
/// user that has no call in flight.
#[derive(Debug)]
pub(super) struct Places {
    each: usize,
    others: usize,
    taken: Mutex<BTreeMap<u32, usize>>,
}

/// A place; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    of: u32,
}

impl Places {
    /// `each` places for one user, `others` together for all but root, and as many
    /// for root alone.
    pub(super) fn new(each: usize, others: usize) -> Arc<Self> {
        Arc::new(Self {
            each,
            others,
            taken: Mutex::default(),
        })
    }

    /// Takes a place; `None` where the user has all of its own, or all that are
    /// not root's are taken.
    pub(super) fn take(self: &Arc<Self>, of: u32) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&of).copied().unwrap_or_default();
        let others = taken.iter().filter(|(user, _)| **user != ROOT);
        let full = if of == ROOT {
            own >= self.others
        } else {
            own >= self.each || others.map(|(_, count)| count).sum::<usize>() >= self.others
        };
        if full {
            return None;
        }
        taken.insert(of, own + 1);
        Some(Place {
            places: Arc::clone(self),
            of,
        })
    }
}

impl Drop for Place {
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
        let first = places.take(1000).unwrap();
        let second = places.take(1000).unwrap();
        assert!(places.take(1000).is_none(), "two for one user");
        let third = places.take(1001).unwrap();
        assert!(places.take(1002).is_none(), "three in all");
        drop(first);
        assert!(places.take(1002).is_some());
        let again = places.take(1000).unwrap();
        assert!(places.take(1000).is_none());
        drop((second, third, again));
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn root_has_places_of_its_own() {
        let places = Places::new(2, 3);
        let root: Vec<_> = (0..4).filter_map(|_| places.take(ROOT)).collect();
        assert_eq!(root.len(), 3, "as many as the others have together");
        let others: Vec<_> = [1, 1, 2, 2]
            .iter()
            .filter_map(|user| places.take(*user))
            .collect();
        assert_eq!(others.len(), 3, "root takes none of theirs");
        drop(root);
        assert!(places.take(ROOT).is_some(), "they take none of root's");
    }
}
