//! Places to listen, found by their port.

use std::{num::NonZeroU16, ops::Deref};

use super::{Listen, Protocol};

/// Places to listen, each once. Each of a thousand forwards looks its port up in one of
/// these, so they are sorted by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listens(Vec<Listen>);

impl Listens {
    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, at: &Listen) -> bool {
        self.at_port(at).any(|one| one == at)
    }

    /// Whether one of them wants the same port ([`Listen::overlaps`]).
    #[must_use]
    pub fn overlaps(&self, at: &Listen) -> bool {
        self.at_port(at).any(|one| one.overlaps(at))
    }

    fn at_port(&self, at: &Listen) -> impl Iterator<Item = &Listen> {
        let port = port(at);
        let first = self.0.partition_point(|one| self::port(one) < port);
        let from = self.0.iter().skip(first);
        from.take_while(move |one| self::port(one) == port)
    }
}

fn port(at: &Listen) -> (NonZeroU16, Protocol) {
    (at.listen_port, at.protocol)
}

impl Deref for Listens {
    type Target = [Listen];

    fn deref(&self) -> &[Listen] {
        &self.0
    }
}

impl Extend<Listen> for Listens {
    fn extend<I: IntoIterator<Item = Listen>>(&mut self, more: I) {
        self.0.extend(more);
        self.0.sort_unstable_by_key(|one| (port(one), *one));
        self.0.dedup();
    }
}

impl FromIterator<Listen> for Listens {
    fn from_iter<I: IntoIterator<Item = Listen>>(all: I) -> Self {
        let mut listens = Self::default();
        listens.extend(all);
        listens
    }
}

#[cfg(test)]
mod tests;
