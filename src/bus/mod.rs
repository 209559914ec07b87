//! The agent on the system bus: `org.wslmesh.Agent1`.
//!
//! Every user may read; who may change something is decided by `authorize`. The bus
//! is a convenience: without it the agent works as well. Nothing here holds a pass
//! up: what the loop publishes is emitted by a task of its own.

mod argument;
mod authorize;
mod connection;
mod daemon;
mod error;
mod interface;
mod properties;
mod quota;
mod shared;

#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::Ordering};

use self::shared::Shared;
use crate::{
    control::{AgentHandle, Signal},
    report::{Document, Numbers},
};

/// Where the loop publishes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

impl Bus {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(agent: AgentHandle) -> Self {
        Self {
            shared: Arc::new(Shared::new(agent)),
        }
    }

    /// Joins the bus, beside whatever else runs; only the first call counts. There
    /// must be a document by now.
    pub fn start(&self) {
        if !self.shared.started.swap(true, Ordering::Relaxed) {
            tokio::spawn(connection::keep(Arc::clone(&self.shared)));
        }
    }

    /// Publishes the state, and what happened.
    pub fn publish(&self, document: Document, signals: Vec<Signal>) {
        self.shared.put(document, signals);
    }

    /// What was published last.
    #[must_use]
    pub fn document(&self) -> Option<Arc<Document>> {
        self.shared.document()
    }

    /// Takes what was counted since the last publication; no signal says so.
    pub fn count(&self, numbers: &Numbers) {
        self.shared.set_numbers(numbers);
    }

    /// Tries at once to join a bus that was not there.
    pub fn retry(&self) {
        self.shared.retry.notify_one();
    }
}
