//! What the loop and the connection to the bus share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool};

use tokio::sync::Notify;

use crate::{
    control::{AgentHandle, Signal},
    observe::{Peers, add_traffic},
    report::{Document, Numbers},
};

/// Signals that wait for a bus that accepts none; older ones are dropped.
const MAX_SIGNALS: usize = 256;

/// The last document, and the signals since.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) agent: AgentHandle,
    /// Whether the connection is made or tried.
    pub(super) started: AtomicBool,
    /// There is something to emit.
    pub(super) changed: Notify,
    /// Connect now.
    pub(super) retry: Notify,
    /// One for all callers: a device that hangs is not asked again by each of them.
    peers: Peers,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether signals are kept: without a connection they have no listener.
    keep_signals: bool,
    document: Option<Arc<Document>>,
    signals: Vec<Signal>,
}

impl Shared {
    pub(super) fn new(agent: AgentHandle) -> Self {
        Self {
            agent,
            started: AtomicBool::new(false),
            changed: Notify::new(),
            retry: Notify::new(),
            peers: Peers::default(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, document: Document, signals: Vec<Signal>) {
        let mut state = self.state();
        state.document = Some(Arc::new(document));
        if state.keep_signals {
            state.signals.extend(signals);
            let excess = state.signals.len().saturating_sub(MAX_SIGNALS);
            state.signals.drain(..excess);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn set_numbers(&self, numbers: &Numbers) {
        if let Some(document) = &mut self.state().document {
            Arc::make_mut(document).numbers = Some(numbers.clone());
        }
    }

    pub(super) fn document(&self) -> Option<Arc<Document>> {
        self.state().document.clone()
    }

    /// The document with what is gathered on request: WireGuard's peers, and the
    /// counters of a relay that serves, for which the loop is woken at most four times a
    /// second. It holds up no pass.
    pub(super) async fn with_details(&self, document: &Document) -> Document {
        let mut document = document.clone();
        let relay = document.relay.as_mut().filter(|relay| relay.applied);
        let counters = async {
            if let Some(relay) = relay {
                relay.counters = self.agent.counters().await.or(relay.counters.take());
            }
        };
        let (peers, ()) = tokio::join!(self.peers.of(&document.links), counters);
        document.wireguard = Some(peers);
        add_traffic(&mut document);
        document
    }

    /// Begins or ends keeping signals; those of before are dropped.
    pub(super) fn keep_signals(&self, keep: bool) {
        let mut state = self.state();
        state.keep_signals = keep;
        state.signals.clear();
    }

    /// The document, and the signals since the last call.
    pub(super) fn take(&self) -> (Option<Arc<Document>>, Vec<Signal>) {
        let mut state = self.state();
        (state.document.clone(), std::mem::take(&mut state.signals))
    }
}
