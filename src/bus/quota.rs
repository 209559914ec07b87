//! Limits on the calls in flight.
//!
//! Which user a connection belongs to has to be asked of the bus, and until that is
//! known no call may displace another: a connection has a few calls in flight, one
//! of them asks, and the lookups of all connections take turns. A connection is
//! forgotten with its last call in flight.
//!
//! Properties are not limited: they are answered from memory, without a wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OnceCell, Semaphore};
use zbus::{Connection, message::Header};

use super::{daemon, error::Error};

/// Largest arguments of a call in bytes; the largest valid ones have a few hundred.
const MAX_BODY: u32 = 4096;
/// Calls in flight of one connection. Questions to polkit take long, the rest
/// does not.
const PER_CONNECTION: usize = 8;
/// Calls in flight of one user, and of all but root.
const CALLS: (usize, usize) = (32, 128);
/// Questions to polkit in flight for one user, and for all but root.
const POLKIT_CALLS: (usize, usize) = (4, 32);
/// Questions to the bus in flight.
const LOOKUPS: usize = 8;

const ROOT: u32 = 0;

/// The calls in flight.
#[derive(Debug)]
pub(super) struct Quotas {
    /// The user of each connection, held by its calls in flight.
    connections: InFlight<String, OnceCell<u32>>,
    calls: CallQuota,
    polkit_calls: CallQuota,
    lookups: Semaphore,
    dialogues: AtomicU64,
}

/// A call that was admitted, for as long as it is answered.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) user: u32,
    quotas: Arc<Quotas>,
    _permit: Arc<()>,
    _connection: Arc<OnceCell<u32>>,
}

impl Quotas {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            connections: InFlight::default(),
            calls: CallQuota::new(CALLS),
            polkit_calls: CallQuota::new(POLKIT_CALLS),
            lookups: Semaphore::new(LOOKUPS),
            dialogues: AtomicU64::new(0),
        })
    }

    /// Admits a call, or refuses it with the reason.
    pub(super) async fn admit(
        self: &Arc<Self>,
        bus: &Connection,
        call: &Header<'_>,
    ) -> Result<Caller, Error> {
        let size = call.primary().body_len();
        if size > MAX_BODY {
            return Err(Error::Large(format!(
                "the arguments have {size} bytes, more than any right ones ({MAX_BODY})"
            )));
        }
        let unknown = || Error::Denied("the bus does not know the caller".to_owned());
        let connection = call.sender().ok_or_else(unknown)?;
        let fits = |calls: usize, _: &_| calls < PER_CONNECTION;
        let connected = self.connections.add(connection.to_string(), fits);
        let connected = connected.ok_or_else(busy)?;
        let look_up = async || {
            let _turn = self.lookups.acquire().await.ok()?;
            daemon::user(bus, connection).await
        };
        let user = connected.get_or_try_init(|| async { look_up().await.ok_or_else(unknown) });
        let user = *user.await?;
        Ok(Caller {
            user,
            quotas: Arc::clone(self),
            _permit: self.calls.acquire(user).ok_or_else(busy)?,
            _connection: connected,
        })
    }
}

impl Caller {
    /// Room for a question to polkit.
    pub(super) fn polkit_call(&self) -> Result<Arc<()>, Error> {
        self.quotas.polkit_calls.acquire(self.user).ok_or_else(|| {
            Error::Busy("too many questions to polkit at once; try again later".to_owned())
        })
    }

    /// A number that no other dialogue of this agent's has.
    pub(super) fn dialogue(&self) -> u64 {
        self.quotas.dialogues.fetch_add(1, Ordering::Relaxed)
    }
}

fn busy() -> Error {
    Error::Busy("too many calls at once; wait for an answer before the next".to_owned())
}

/// What is in flight. All of one key hold its value, which ends with the last of them; the
/// next addition forgets the key.
#[derive(Debug, Default)]
struct InFlight<K, T>(Mutex<BTreeMap<K, Weak<T>>>);

impl<K: Ord, T: Default> InFlight<K, T> {
    /// One more of this key, if it fits, as decided by the number of this key's and by
    /// all. It ends when it is dropped.
    fn add(
        &self,
        key: K,
        fits: impl FnOnce(usize, &BTreeMap<K, Weak<T>>) -> bool,
    ) -> Option<Arc<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, held| held.strong_count() > 0);
        let own = all.get(&key);
        if !fits(own.map_or(0, Weak::strong_count), &all) {
            return None;
        }
        let held = own.and_then(Weak::upgrade).unwrap_or_default();
        all.insert(key, Arc::downgrade(&held));
        Some(held)
    }
}

/// So many calls in flight for one user, so many for all users but root, and as
/// many for root alone. Users are counted and not their connections, of which
/// any user may have many.
#[derive(Debug)]
struct CallQuota {
    each: usize,
    others: usize,
    taken: InFlight<u32, ()>,
}

impl CallQuota {
    fn new((each, others): (usize, usize)) -> Self {
        Self {
            each,
            others,
            taken: InFlight::default(),
        }
    }

    /// A part of the quota, given back when it is dropped; `None` where it is used up.
    fn acquire(&self, user: u32) -> Option<Arc<()>> {
        self.taken.add(user, |own, all| {
            if user == ROOT {
                return own < self.others;
            }
            let others = all.iter().filter(|(user, _)| **user != ROOT);
            let others: usize = others.map(|(_, held)| held.strong_count()).sum();
            own < self.each && others < self.others
        })
    }
}

#[cfg(test)]
mod tests;
