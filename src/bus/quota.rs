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
        Arc, Mutex, PoisonError,
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
    connections: Mutex<BTreeMap<String, Connected>>,
    calls: Arc<CallQuota>,
    polkit_calls: Arc<CallQuota>,
    lookups: Semaphore,
    dialogues: AtomicU64,
}

/// One connection's calls in flight, and its user.
#[derive(Debug, Default)]
struct Connected {
    calls: usize,
    user: Arc<OnceCell<u32>>,
}

/// A call that was admitted, for as long as it is answered.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) user: u32,
    quotas: Arc<Quotas>,
    _permit: Permit,
    _call: Counted,
}

/// One of a connection's calls in flight.
#[derive(Debug)]
struct Counted {
    quotas: Arc<Quotas>,
    connection: String,
}

impl Quotas {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            connections: Mutex::default(),
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
        let (call, user) = self.count(connection).ok_or_else(busy)?;
        let look_up = async || {
            let _turn = self.lookups.acquire().await.ok()?;
            daemon::user(bus, connection).await
        };
        let user = user.get_or_try_init(|| async { look_up().await.ok_or_else(unknown) });
        let user = *user.await?;
        Ok(Caller {
            user,
            quotas: Arc::clone(self),
            _permit: self.calls.acquire(user).ok_or_else(busy)?,
            _call: call,
        })
    }

    fn count(self: &Arc<Self>, connection: &str) -> Option<(Counted, Arc<OnceCell<u32>>)> {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connected = connections.entry(connection.to_owned()).or_default();
        if connected.calls >= PER_CONNECTION {
            return None;
        }
        connected.calls += 1;
        let counted = Counted {
            quotas: Arc::clone(self),
            connection: connection.to_owned(),
        };
        Some((counted, Arc::clone(&connected.user)))
    }
}

impl Caller {
    /// Room for a question to polkit.
    pub(super) fn polkit_call(&self) -> Result<Permit, Error> {
        self.quotas.polkit_calls.acquire(self.user).ok_or_else(|| {
            Error::Busy("too many questions to polkit at once; try again later".to_owned())
        })
    }

    /// A number that no other dialogue of this agent's has.
    pub(super) fn dialogue(&self) -> u64 {
        self.quotas.dialogues.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self
            .quotas
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match connections.get_mut(&self.connection) {
            Some(connected) if connected.calls > 1 => connected.calls -= 1,
            _ => drop(connections.remove(&self.connection)),
        }
    }
}

fn busy() -> Error {
    Error::Busy("too many calls at once; wait for an answer before the next".to_owned())
}

/// So many calls in flight for one user, so many for all users but root, and as
/// many for root alone. Users are counted and not their connections, of which
/// any user may have many.
#[derive(Debug)]
struct CallQuota {
    each: usize,
    others: usize,
    taken: Mutex<BTreeMap<u32, usize>>,
}

/// A part of a quota, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    quota: Arc<CallQuota>,
    user: u32,
}

impl CallQuota {
    fn new((each, others): (usize, usize)) -> Arc<Self> {
        Arc::new(Self {
            each,
            others,
            taken: Mutex::default(),
        })
    }

    /// `None` where the quota is used up.
    fn acquire(self: &Arc<Self>, user: u32) -> Option<Permit> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&user).copied().unwrap_or_default();
        let others = taken.iter().filter(|(user, _)| **user != ROOT);
        let full = if user == ROOT {
            own >= self.others
        } else {
            own >= self.each || others.map(|(_, count)| count).sum::<usize>() >= self.others
        };
        if full {
            return None;
        }
        taken.insert(user, own + 1);
        Some(Permit {
            quota: Arc::clone(self),
            user,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self
            .quota
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests;
