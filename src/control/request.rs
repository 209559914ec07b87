//! Requests to the agent's loop.
//!
//! A request waits until the loop has made a pass; requests that wait together
//! share one. A question for the relay's counters causes no pass.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    select,
    sync::{
        Mutex, Notify,
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::{sleep, timeout},
};

use super::signal::NAME;
use crate::{
    blocking::{LIMIT, SingleFlight, run_blocking},
    config::{DropIn, DropInError, Forward, Source},
    model::{Code, Counted, Finding},
};

/// Requests that wait for a pass; beyond that the agent is busy.
const MAX_WAITING: usize = 64;

/// Longest wait for the relay's answer. A client waits for a second in all.
const COUNTERS_TIMEOUT: Duration = Duration::from_millis(300);
/// The relay rests that long between two questions: every user may call.
const REST: Duration = Duration::from_millis(250);
/// After that a question without an answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why a request was not carried out. The texts are for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The configuration has errors.
    #[error("{0}")]
    Config(String),
    /// The forward cannot be added or removed.
    #[error("{0}")]
    Forward(String),
    /// Too many requests, or the agent is stopping.
    #[error("{0}")]
    Busy(&'static str),
}

const STOPPING: RequestError = RequestError::Busy("the agent is stopping");

const DISK: RequestError = RequestError::Busy(
    "the configuration's files cannot be changed at the moment; try again later",
);

impl From<DropInError> for RequestError {
    fn from(error: DropInError) -> Self {
        match error {
            DropInError::Config(error) => Self::Config(error.to_string()),
            other => Self::Forward(other.to_string()),
        }
    }
}

/// A request and where its answer goes.
#[derive(Debug)]
enum Request {
    Reapply(oneshot::Sender<Vec<String>>),
    Reload(oneshot::Sender<Result<(), String>>),
}

/// Sends requests to the loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    requests: mpsc::Sender<Request>,
    name_holder: watch::Sender<Option<String>>,
    /// Wakes the loop to ask the relay; the answer comes by `counters`.
    ask_counters: Arc<Notify>,
    counters: watch::Sender<Option<Answer>>,
    source: Source,
    /// One change of the configuration's files at a time.
    files: Arc<Mutex<SingleFlight>>,
}

/// The relay's counters, and when they came.
type Answer = (Instant, Counted);

/// A place in the queue, reserved before anything is changed.
struct Reserved(mpsc::OwnedPermit<Request>);

/// The loop's end.
#[derive(Debug)]
pub struct RequestQueue {
    requests: mpsc::Receiver<Request>,
    name_holder: watch::Receiver<Option<String>>,
    handle: AgentHandle,
    /// When the relay was asked, until it has answered.
    asked: Option<Instant>,
    waiting: Vec<Request>,
    /// The result of the last reload, for the requests that wait for it.
    reloaded: Result<(), String>,
}

/// Both ends. Drop-ins of forwards go beside the configuration of `source`.
#[must_use]
pub fn requests(source: Source) -> (AgentHandle, RequestQueue) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let (name_holder, held) = watch::channel(None);
    let handle = AgentHandle {
        requests: sender,
        name_holder,
        ask_counters: Arc::default(),
        counters: watch::Sender::new(None),
        source,
        files: Arc::default(),
    };
    let queue = RequestQueue {
        requests: receiver,
        name_holder: held,
        handle: handle.clone(),
        asked: None,
        waiting: Vec::new(),
        reloaded: Ok(()),
    };
    (handle, queue)
}

impl AgentHandle {
    /// Has everything tried again, and gives back the changes made.
    ///
    /// # Errors
    /// [`RequestError::Busy`].
    pub async fn reapply(&self) -> Result<Vec<String>, RequestError> {
        self.reserve()?.send(Request::Reapply).await
    }

    /// Has the configuration read again, as SIGHUP does.
    ///
    /// # Errors
    /// [`RequestError::Config`] with all that is wrong with it; [`RequestError::Busy`].
    pub async fn reload(&self) -> Result<(), RequestError> {
        self.reserve()?.reload().await
    }

    /// Writes a forward's drop-in, has it taken up, and gives back its path.
    ///
    /// # Errors
    /// [`RequestError`]; nothing was written unless only the reload was refused.
    pub async fn add(&self, forward: Forward) -> Result<PathBuf, RequestError> {
        self.change(move |source| {
            let drop_in = DropIn::of(source, &forward.name)?;
            drop_in.add(&forward)?;
            Ok(drop_in.path().to_owned())
        })
        .await
    }

    /// Removes a forward's drop-in, has that taken up, and gives back its path.
    ///
    /// # Errors
    /// [`RequestError`]; where the name is written elsewhere too, which is in force
    /// then, the drop-in is removed all the same.
    pub async fn remove(&self, name: String) -> Result<PathBuf, RequestError> {
        let removed = self.change(move |source| {
            let drop_in = DropIn::of(source, &name)?;
            let left = drop_in.remove()?;
            Ok((drop_in.path().to_owned(), left))
        });
        let (path, left) = removed.await?;
        match left {
            None => Ok(path),
            Some(left) => Err(RequestError::Forward(format!(
                "removed {}; a forward {:?} at {}:{} is in force again: remove its block with an editor, then: systemctl reload wslmesh",
                path.display(),
                left.name,
                left.file.display(),
                left.line
            ))),
        }
    }

    /// Reports who owns the agent's name on the bus, if that is another program.
    pub fn set_name_holder(&self, holder: Option<String>) {
        self.name_holder.send_if_modified(|before| {
            let changed = *before != holder;
            *before = holder;
            changed
        });
    }

    /// The relay's counters of now; where it does not answer in time the last ones,
    /// or none. Callers that wait together share one question.
    pub async fn counters(&self) -> Option<Counted> {
        let mut answers = self.counters.subscribe();
        let last = answers.borrow_and_update().as_ref().map(|(at, _)| *at);
        if let Some(rest) = last.and_then(|at| REST.checked_sub(at.elapsed())) {
            sleep(rest).await;
        }
        // Another caller may have the answer of now already.
        if !answers.has_changed().unwrap_or(false) {
            self.ask_counters.notify_one();
            let _in_time = timeout(COUNTERS_TIMEOUT, answers.changed()).await;
        }
        let last = answers.borrow();
        last.as_ref().map(|(_, counted)| counted.clone())
    }

    /// Changes files in a thread of their own, and has that taken up.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Source) -> Result<T, DropInError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let reserved = self.reserve()?;
        let source = self.source.clone();
        let files = self.files.lock().await;
        let done = async { run_blocking(files.begin()?, LIMIT, move || work(&source)).await };
        let result = done.await.map_err(|_| DISK)??;
        drop(files);
        reserved.reload().await?;
        Ok(result)
    }

    /// Reserves a place in the queue before anything is changed: a busy request
    /// writes nothing.
    fn reserve(&self) -> Result<Reserved, RequestError> {
        let requests = self.requests.clone();
        requests
            .try_reserve_owned()
            .map(Reserved)
            .map_err(|error| match error {
                TrySendError::Full(_) => {
                    RequestError::Busy("too many requests wait already; try again later")
                }
                TrySendError::Closed(_) => STOPPING,
            })
    }
}

impl Reserved {
    async fn reload(self) -> Result<(), RequestError> {
        self.send(Request::Reload)
            .await?
            .map_err(RequestError::Config)
    }

    async fn send<T>(self, request: fn(oneshot::Sender<T>) -> Request) -> Result<T, RequestError> {
        let (answer, answered) = oneshot::channel();
        let requests = self.0.send(request(answer));
        // A permit outlives the loop; what is sent then is never received.
        select! {
            biased;
            answer = answered => answer.map_err(|_| STOPPING),
            () = requests.closed() => Err(STOPPING),
        }
    }
}

impl RequestQueue {
    /// Waits until there is something for the loop; cancel-safe.
    pub async fn requested(&mut self) -> Requested {
        loop {
            select! {
                Some(request) = self.requests.recv() => self.waiting.push(request),
                Ok(()) = self.name_holder.changed() => {}
                () = self.handle.ask_counters.notified() => {
                    let open = |asked: Instant| asked.elapsed() < ASK_AGAIN;
                    if self.asked.is_some_and(open) {
                        continue;
                    }
                    self.asked = Some(Instant::now());
                    return Requested::Counters;
                }
            }
            break;
        }
        while let Ok(request) = self.requests.try_recv() {
            self.waiting.push(request);
        }
        let any = |of: fn(&Request) -> bool| self.waiting.iter().any(of);
        Requested::Pass {
            reload: any(|request| matches!(request, Request::Reload(_))),
            reapply: any(|request| matches!(request, Request::Reapply(_))),
        }
    }

    /// The finding for a name that another program owns on the bus.
    pub fn finding(&mut self) -> Option<Finding> {
        let holder = self.name_holder.borrow_and_update().clone();
        holder.map(|holder| Finding::new(Code::BusTaken, NAME, holder))
    }

    /// Takes the relay's answer, or none where it has ended since.
    pub fn set_counters(&mut self, counters: Option<&Counted>) {
        let changed = self.handle.counters.send_if_modified(|before| {
            let changed = before.as_ref().map(|(_, counted)| counted) != counters;
            if changed {
                *before = counters.map(|counted| (Instant::now(), counted.clone()));
            }
            changed
        });
        if changed {
            self.asked = None;
        }
    }

    /// Notes the result of a reload that was requested.
    pub fn set_reloaded(&mut self, result: Result<(), String>) {
        self.reloaded = result;
    }

    /// Answers all requests that were received before this pass.
    pub fn answer(&mut self, changes: &[String]) {
        for request in self.waiting.drain(..) {
            // A caller may have left meanwhile.
            match request {
                Request::Reapply(to) => to.send(changes.to_vec()).unwrap_or_default(),
                Request::Reload(to) => to.send(self.reloaded.clone()).unwrap_or_default(),
            }
        }
    }
}

/// What the loop is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// Ask the relay for its counters; no pass.
    Counters,
    /// A pass, after what else is asked for.
    Pass {
        /// Read the configuration again.
        reload: bool,
        /// Try everything again.
        reapply: bool,
    },
}

#[cfg(test)]
mod tests;
