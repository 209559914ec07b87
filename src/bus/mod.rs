//! The agent on the system bus: `org.wslmesh.Agent1`.
//!
//! Everybody may read, and those whom `authority` lets pass may change. The
//! bus is a convenience: without it, and while it is away, the agent works as
//! well. Nothing here holds a pass up; what the loop tells is put down and taken
//! up by a task of its own.

mod argument;
mod authority;
mod callers;
mod emit;
mod error;
mod interface;
mod link;
mod places;
mod properties;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{agent::Asker, model::Finding, report::Document};

/// The name, and the interface.
pub const NAME: &str = "org.wslmesh.Agent1";
/// The one object.
pub const PATH: &str = "/org/wslmesh/Agent1";

/// Signals that wait for a bus that takes none; older ones are dropped.
const MOST_SIGNALS: usize = 256;

/// What is told once, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The address is another one. Empty texts where there was or is none.
    AddressChanged {
        /// The watched interface.
        interface: String,
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// A finding is new.
    HealthRaised(Finding),
    /// A finding is over.
    HealthCleared(Finding),
    /// A pass did something.
    Changed {
        /// The journal's line in parts.
        changes: Vec<String>,
        /// What the pass took, in microseconds.
        duration_us: u64,
    },
}

/// Where the loop puts what the bus is to know. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    asker: Asker,
    news: Notify,
    retry: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    /// Whether somebody may listen: signals are kept for nobody else.
    listened: bool,
    document: Option<Arc<Document>>,
    signals: Vec<Signal>,
}

impl Bus {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(asker: Asker) -> Self {
        Self(Arc::new(Shared {
            asker,
            news: Notify::new(),
            retry: Notify::new(),
            state: Mutex::default(),
        }))
    }

    /// Goes on the bus, beside whatever else runs; only the first call counts.
    /// There must be a document by now.
    pub fn start(&self) {
        if !std::mem::replace(&mut self.0.state().started, true) {
            tokio::spawn(link::keep(Arc::clone(&self.0)));
        }
    }

    /// Takes how things are now, and what happened.
    pub fn publish(&self, document: Document, signals: Vec<Signal>) {
        let mut state = self.0.state();
        state.document = Some(Arc::new(document));
        if state.listened {
            state.signals.extend(signals);
            let over = state.signals.len().saturating_sub(MOST_SIGNALS);
            state.signals.drain(..over);
        }
        drop(state);
        self.0.news.notify_one();
    }

    /// Tries at once to get onto a bus that was not there.
    pub fn retry(&self) {
        self.0.retry.notify_one();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn document(&self) -> Option<Arc<Document>> {
        self.state().document.clone()
    }

    /// Whether signals are to be kept: nobody hears those of before.
    fn hear(&self, listened: bool) {
        let mut state = self.state();
        state.listened = listened;
        state.signals.clear();
    }

    /// How things are, and what happened since this was asked last.
    fn take(&self) -> (Option<Arc<Document>>, Vec<Signal>) {
        let mut state = self.state();
        (state.document.clone(), std::mem::take(&mut state.signals))
    }
}
