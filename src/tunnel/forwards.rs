//! The forwards that are wanted, of the configuration and of the API, and what the switch
//! answers of them. They outlive a switch: the next one gets the whole list.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use tokio::sync::watch;
use wslmesh_relay::{
    link::{GUEST_V4, MAX_FORWARDS},
    protocol::{Failure, Listen, Listener},
};

use crate::model::{TunnelCounters, TunnelForward, TunnelListeners};

/// Most forwards of the API. Those of the configuration have the rest of [`MAX_FORWARDS`].
const MOST: usize = 128;

/// A list, by where it listens.
type Wanted = BTreeMap<Listen, TunnelForward>;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Lists {
    configured: Wanted,
    exposed: Wanted,
    /// Of the next order; it grows with every change.
    generation: u64,
}

/// What the switch answered last, and to which order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Answer {
    generation: u64,
    listeners: Option<TunnelListeners>,
}

/// A handle of them; all are of the same forwards.
#[derive(Debug, Clone)]
pub(super) struct Forwards {
    lists: Arc<watch::Sender<Lists>>,
    answer: Arc<watch::Sender<Answer>>,
    counters: Arc<watch::Sender<TunnelCounters>>,
}

/// Why a forward is not exposed or not removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExposeError {
    #[error("proxy already running: {0} is exposed already")]
    Exposed(Listen),
    #[error("{0} has the port of the forward {1} of the configuration")]
    Configured(Listen, Listen),
    #[error("{0} overlaps {1}, which is exposed already")]
    Overlaps(Listen, Listen),
    #[error("{MOST} ports are exposed, and no more may be")]
    TooMany,
    #[error("proxy not found: {0} is not exposed")]
    NotExposed(Listen),
}

impl Forwards {
    pub(super) fn new() -> Self {
        Self {
            lists: Arc::new(watch::channel(Lists::default()).0),
            answer: Arc::new(watch::channel(Answer::default()).0),
            counters: Arc::new(watch::channel(TunnelCounters::default()).0),
        }
    }

    /// Those of the configuration, from now on. One of the API that is in their way ends.
    pub(super) fn configure(&self, forwards: Vec<TunnelForward>) {
        let most = MAX_FORWARDS - MOST;
        if forwards.len() > most {
            tracing::warn!(
                event = "tunnel",
                "{} ports are to be forwarded by the tunnel; the first {most} are",
                forwards.len()
            );
        }
        let configured: Wanted = forwards.into_iter().take(most).map(by_listen).collect();
        self.change(|lists| {
            lists.configured = configured;
            let configured = &lists.configured;
            lists
                .exposed
                .retain(|at, _| !configured.keys().any(|other| other.overlaps(at)));
        });
    }

    /// Adds one of the API.
    ///
    /// # Errors
    /// Its port is taken by another one, or there are too many.
    pub(super) fn expose(&self, forward: TunnelForward) -> Result<(), ExposeError> {
        let at = forward.listen;
        let mut result = Ok(());
        self.change(|lists| {
            let in_the_way = |list: &Wanted| list.keys().find(|one| one.overlaps(&at)).copied();
            result = match (in_the_way(&lists.configured), in_the_way(&lists.exposed)) {
                (Some(other), _) => Err(ExposeError::Configured(at, other)),
                (None, Some(_)) if lists.exposed.contains_key(&at) => Err(ExposeError::Exposed(at)),
                (None, Some(other)) => Err(ExposeError::Overlaps(at, other)),
                (None, None) if lists.exposed.len() >= MOST => Err(ExposeError::TooMany),
                (None, None) => {
                    lists.exposed.insert(at, forward);
                    Ok(())
                }
            };
        });
        result
    }

    /// Removes one of the API.
    ///
    /// # Errors
    /// The API has none there.
    pub(super) fn unexpose(&self, at: Listen) -> Result<(), ExposeError> {
        let mut removed = None;
        self.change(|lists| removed = lists.exposed.remove(&at));
        removed.map(drop).ok_or(ExposeError::NotExposed(at))
    }

    /// Those of the API, in the order of their ports.
    pub(super) fn exposed(&self) -> Vec<TunnelForward> {
        self.lists.borrow().exposed.values().copied().collect()
    }

    fn change(&self, change: impl FnOnce(&mut Lists)) {
        self.lists.send_if_modified(|lists| {
            let before = lists.clone();
            change(lists);
            let changed = *lists != before;
            lists.generation += u64::from(changed);
            changed
        });
    }

    /// What a switch is to be sent.
    pub(super) fn orders(&self) -> Orders {
        let mut orders = Orders(self.lists.subscribe());
        orders.0.mark_changed();
        orders
    }

    /// Why a forward does not listen; `None` where it does. Waits until the switch that runs,
    /// if one does, has answered the last order.
    pub(super) async fn settled(&self, at: Listen) -> Option<Failure> {
        let wanted = self.lists.borrow().generation;
        let mut answer = self.answer.subscribe();
        // An error means that there is no sender, of which this is one.
        let settled = answer.wait_for(|one| one.generation >= wanted || one.listeners.is_none());
        let settled = settled.await.ok()?;
        let mut listeners = settled.listeners.iter().flatten();
        listeners.find(|one| one.listen == at)?.failure
    }

    /// The switch has answered. Says what changed, for the journal.
    pub(super) fn answered(&self, generation: u64, listeners: Vec<Listener>) {
        let before = self.answer.borrow().listeners.clone();
        let failure_of = |at: Listen| {
            let mut all = before.iter().flatten();
            all.find(|one| one.listen == at).map(|one| one.failure)
        };
        for Listener {
            listen, failure, ..
        } in &listeners
        {
            match (failure, failure_of(*listen)) {
                (Some(new), old) if old != Some(Some(*new)) => tracing::warn!(
                    event = "tunnel",
                    "Windows does not listen on {listen}: {}",
                    in_words(*new)
                ),
                (None, Some(Some(_))) => {
                    tracing::info!(event = "tunnel", "Windows listens on {listen} now");
                }
                _ => {}
            }
        }
        self.answer.send_replace(Answer {
            generation,
            listeners: Some(listeners),
        });
    }

    /// The switch has counted.
    pub(super) fn counted(&self, counters: TunnelCounters) {
        self.counters.send_replace(counters);
    }

    /// What the switch counted last.
    pub(super) fn counters(&self) -> TunnelCounters {
        *self.counters.borrow()
    }

    /// There is no switch now.
    pub(super) fn lost(&self) {
        self.answer.send_replace(Answer::default());
    }

    /// What the switch answered, and each change of it.
    pub(super) fn listeners(&self) -> Listeners {
        let mut listeners = Listeners(self.answer.subscribe());
        listeners.0.mark_changed();
        listeners
    }
}

/// Why a port is not listened on, for a person.
pub(super) fn in_words(failure: Failure) -> String {
    use wslmesh_relay::protocol::FailureKind;
    let why = match failure.kind {
        FailureKind::InUse => "another program has the port",
        FailureKind::Forbidden => "Windows keeps the port, or its program does not share it",
        FailureKind::NoAddress => "there is no such address",
        FailureKind::Other => "it cannot be opened",
    };
    format!("{why} (error {})", failure.code)
}

fn by_listen(forward: TunnelForward) -> (Listen, TunnelForward) {
    (forward.listen, forward)
}

/// The orders for one switch: the whole list at first, then after each change.
#[derive(Debug)]
pub(super) struct Orders(watch::Receiver<Lists>);

impl Orders {
    /// The next order: its generation and the list. Without IPv6 here clients of IPv6 are led
    /// to the address of IPv4. Cancel safe.
    pub(super) async fn next(&mut self, has_ipv6: bool) -> (u64, Vec<TunnelForward>) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let lists = self.0.borrow_and_update();
        let all = lists.configured.values().chain(lists.exposed.values());
        let reachable = |forward: &TunnelForward| TunnelForward {
            guest: forward
                .guest
                .or((!has_ipv6).then_some(IpAddr::V4(GUEST_V4))),
            ..*forward
        };
        (lists.generation, all.map(reachable).collect())
    }
}

/// The switch's answers.
#[derive(Debug)]
pub(super) struct Listeners(watch::Receiver<Answer>);

impl Listeners {
    /// The next one; `None` while no switch has answered. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<TunnelListeners> {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.0.borrow_and_update().listeners.clone()
    }
}

#[cfg(test)]
mod tests;
