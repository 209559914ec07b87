//! Who calls, and whether there is room for the call.
//!
//! Whose a connection is has to be asked of the bus, and until that is known no
//! call may push out another: a connection has a few calls in flight, one of them
//! asks, and the questions of all connections wait for their turn. What is known
//! of a connection is forgotten with its last call in flight.
//!
//! Properties are not counted: they are answered from memory, without a wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OnceCell, Semaphore};
use zbus::{Connection, message::Header};

use super::{
    authority,
    error::Error,
    places::{Place, Places},
};

/// Largest arguments of a call in bytes; the largest right ones have a few hundred.
const LARGEST: u32 = 4096;
/// Calls in flight of one connection. Questions to polkit take long, the rest
/// does not.
const MOST_OF_ONE: usize = 8;
/// Calls in flight of one user, and of all but root.
const MOST: (usize, usize) = (32, 128);
/// Questions to polkit in flight for one user, and for all but root.
const MOST_QUESTIONS: (usize, usize) = (4, 32);
/// Questions to the bus in flight.
const LOOKUPS: usize = 8;

/// The calls in flight.
#[derive(Debug)]
pub(super) struct Callers {
    connections: Mutex<BTreeMap<String, Known>>,
    users: Arc<Places>,
    asking: Arc<Places>,
    lookups: Semaphore,
    dialogues: AtomicU64,
}

/// One connection's calls in flight, and whose they are.
#[derive(Debug, Default)]
struct Known {
    calls: usize,
    user: Arc<OnceCell<u32>>,
}

/// A call that is let in, for as long as it is answered.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) user: u32,
    callers: Arc<Callers>,
    _place: Place,
    _call: Counted,
}

/// One of a connection's calls in flight.
#[derive(Debug)]
struct Counted {
    callers: Arc<Callers>,
    connection: String,
}

impl Callers {
    pub(super) fn new() -> Arc<Self> {
        let places = |(each, others)| Places::new(each, others);
        Arc::new(Self {
            connections: Mutex::default(),
            users: places(MOST),
            asking: places(MOST_QUESTIONS),
            lookups: Semaphore::new(LOOKUPS),
            dialogues: AtomicU64::new(0),
        })
    }

    /// Lets a call in, or says why not.
    pub(super) async fn admit(
        self: &Arc<Self>,
        bus: &Connection,
        call: &Header<'_>,
    ) -> Result<Caller, Error> {
        let size = call.primary().body_len();
        if size > LARGEST {
            return Err(Error::Large(format!(
                "the arguments have {size} bytes, more than any right ones ({LARGEST})"
            )));
        }
        let stranger = || Error::Denied("the bus does not know who calls".to_owned());
        let connection = call.sender().ok_or_else(stranger)?;
        let (call, user) = self.count(connection).ok_or_else(busy)?;
        let look = async || {
            let _turn = self.lookups.acquire().await.ok()?;
            authority::user(bus, connection).await
        };
        let user = user.get_or_try_init(|| async { look().await.ok_or_else(stranger) });
        let user = *user.await?;
        Ok(Caller {
            user,
            callers: Arc::clone(self),
            _place: self.users.take(user).ok_or_else(busy)?,
            _call: call,
        })
    }

    fn count(self: &Arc<Self>, connection: &str) -> Option<(Counted, Arc<OnceCell<u32>>)> {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = connections.entry(connection.to_owned()).or_default();
        if known.calls >= MOST_OF_ONE {
            return None;
        }
        known.calls += 1;
        let counted = Counted {
            callers: Arc::clone(self),
            connection: connection.to_owned(),
        };
        Some((counted, Arc::clone(&known.user)))
    }
}

impl Caller {
    /// Room for a question to polkit.
    pub(super) fn question(&self) -> Result<Place, Error> {
        self.callers.asking.take(self.user).ok_or_else(|| {
            Error::Busy("too many questions to polkit at once; try again later".to_owned())
        })
    }

    /// A number that no other dialogue of this agent's has.
    pub(super) fn dialogue(&self) -> u64 {
        self.callers.dialogues.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self
            .callers
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match connections.get_mut(&self.connection) {
            Some(known) if known.calls > 1 => known.calls -= 1,
            _ => drop(connections.remove(&self.connection)),
        }
    }
}

fn busy() -> Error {
    Error::Busy("too many calls at once; wait for an answer before the next".to_owned())
}
