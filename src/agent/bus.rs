//! What is asked of the agent over D-Bus.
//!
//! A request waits until the loop has a pass made; requests that wait together
//! share one.

use std::{future::pending, path::PathBuf, sync::Arc};

use tokio::{
    select,
    sync::{
        Mutex,
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
};

use super::reconcile::Done;
use crate::{
    blocking::{LIMIT, SingleFlight, run_blocking},
    bus::{self, Bus},
    config::{DropIn, DropInError, Forward, Source},
    model::{Code, Finding},
};

/// Requests that wait for a pass; beyond that the agent is busy.
const MOST_WAITING: usize = 64;

/// Why a request was not carried out. The texts are for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
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

const STOPPING: Refusal = Refusal::Busy("the agent is stopping");

const DISK: Refusal =
    Refusal::Busy("the configuration's files cannot be changed at the moment; try again later");

impl From<DropInError> for Refusal {
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

/// The way to ask. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Asker {
    requests: mpsc::Sender<Request>,
    holder: watch::Sender<Option<String>>,
    source: Source,
    /// One change of the configuration's files at a time.
    files: Arc<Mutex<SingleFlight>>,
}

/// A place among those that wait for a pass.
struct Waiting(mpsc::OwnedPermit<Request>);

/// The loop's end of it.
#[derive(Debug)]
pub(crate) struct Desk {
    requests: mpsc::Receiver<Request>,
    holder: watch::Receiver<Option<String>>,
    bus: Bus,
    waiting: Vec<Request>,
    /// What the last reload came to, for those who wait for it.
    reloaded: Result<(), String>,
}

/// The bus, where nothing runs yet, and the loop's end of what is asked on it.
/// Drop-ins of forwards go beside the configuration of `source`.
pub(crate) fn desk(source: Source) -> (Bus, Desk) {
    let (asks, requests) = mpsc::channel(MOST_WAITING);
    let (holder, held) = watch::channel(None);
    let asker = Asker {
        requests: asks,
        holder,
        source,
        files: Arc::default(),
    };
    let bus = Bus::new(asker);
    let desk = Desk {
        bus: bus.clone(),
        requests,
        holder: held,
        waiting: Vec::new(),
        reloaded: Ok(()),
    };
    (bus, desk)
}

impl Asker {
    /// Has everything tried again, and gives back the changes made.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub async fn reapply(&self) -> Result<Vec<String>, Refusal> {
        self.place()?.ask(Request::Reapply).await
    }

    /// Has the configuration read again, as SIGHUP does.
    ///
    /// # Errors
    /// [`Refusal::Config`] with all that is wrong with it; [`Refusal::Busy`].
    pub async fn reload(&self) -> Result<(), Refusal> {
        self.place()?.reload().await
    }

    /// Writes a forward's drop-in, has it taken up, and gives back its path.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was written unless only the reload was refused.
    pub async fn add(&self, forward: Forward) -> Result<PathBuf, Refusal> {
        let place = self.place()?;
        let source = self.source.clone();
        let path = self
            .change(move || {
                let drop_in = DropIn::of(&source, &forward.name)?;
                drop_in.add(&forward)?;
                Ok(drop_in.path().to_owned())
            })
            .await?;
        place.reload().await?;
        Ok(path)
    }

    /// Removes a forward's drop-in, has that taken up, and gives back its path.
    ///
    /// # Errors
    /// [`Refusal`]; where the name is written elsewhere too, which is in force
    /// then, the drop-in is gone all the same.
    pub async fn remove(&self, name: String) -> Result<PathBuf, Refusal> {
        let place = self.place()?;
        let source = self.source.clone();
        let (path, left) = self
            .change(move || {
                let drop_in = DropIn::of(&source, &name)?;
                let left = drop_in.remove()?;
                Ok((drop_in.path().to_owned(), left))
            })
            .await?;
        place.reload().await?;
        match left {
            None => Ok(path),
            Some(left) => Err(Refusal::Forward(format!(
                "removed {}; a forward {:?} at {}:{} is in force again: remove its block with an editor, then: systemctl reload wslmesh",
                path.display(),
                left.name,
                left.file.display(),
                left.line
            ))),
        }
    }

    /// Says who has the agent's name on the bus, if that is somebody else.
    pub(crate) fn name_is_held(&self, by: Option<String>) {
        self.holder.send_if_modified(|held| {
            let other = *held != by;
            *held = by;
            other
        });
    }

    /// Files are read and written in a thread of their own.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, DropInError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let files = self.files.lock().await;
        let done = async { run_blocking(files.begin()?, LIMIT, work).await };
        Ok(done.await.map_err(|_| DISK)??)
    }

    /// A place among those that wait, held before anything is changed: who has
    /// none has changed nothing.
    fn place(&self) -> Result<Waiting, Refusal> {
        let requests = self.requests.clone();
        requests
            .try_reserve_owned()
            .map(Waiting)
            .map_err(|error| match error {
                TrySendError::Full(_) => {
                    Refusal::Busy("too many requests wait already; try again later")
                }
                TrySendError::Closed(_) => STOPPING,
            })
    }
}

impl Waiting {
    async fn reload(self) -> Result<(), Refusal> {
        self.ask(Request::Reload).await?.map_err(Refusal::Config)
    }

    async fn ask<T>(self, request: fn(oneshot::Sender<T>) -> Request) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let requests = self.0.send(request(answer));
        // A place outlives the loop; what is put there then is never taken.
        select! {
            biased;
            answer = answered => answer.map_err(|_| STOPPING),
            () = requests.closed() => Err(STOPPING),
        }
    }
}

impl Desk {
    /// Goes on the bus.
    pub(crate) fn open(&self) {
        self.bus.start();
    }

    /// Looks for the bus at once where it is not there.
    pub(crate) fn retry(&self) {
        self.bus.retry();
    }

    /// Waits until there is something for the loop. Nothing is lost when this is
    /// dropped.
    pub(crate) async fn asked(&mut self) {
        select! {
            Some(request) = self.requests.recv() => self.waiting.push(request),
            Ok(()) = self.holder.changed() => {}
            // Nobody is left who could ask.
            else => pending().await,
        }
    }

    /// Takes all that was asked. Says whether the configuration is to be read
    /// again, and whether everything is to be tried again.
    pub(crate) fn take(&mut self) -> Wanted {
        while let Ok(request) = self.requests.try_recv() {
            self.waiting.push(request);
        }
        let any = |of: fn(&Request) -> bool| self.waiting.iter().any(of);
        Wanted {
            reload: any(|request| matches!(request, Request::Reload(_))),
            reapply: any(|request| matches!(request, Request::Reapply(_))),
        }
    }

    /// What the name's holder means for the agent's health.
    pub(crate) fn finding(&mut self) -> Option<Finding> {
        let holder = self.holder.borrow_and_update().clone();
        holder.map(|holder| Finding::new(Code::BusTaken, bus::NAME, holder))
    }

    /// What the reload came to that [`Self::take`] called for.
    pub(crate) fn reloaded(&mut self, result: Result<(), String>) {
        self.reloaded = result;
    }

    /// Answers all that were taken before this pass. Who asks no longer is not
    /// missed.
    pub(crate) fn answer(&mut self, done: &Done) {
        for request in self.waiting.drain(..) {
            match request {
                Request::Reapply(to) => to.send(done.changes.clone()).unwrap_or_default(),
                Request::Reload(to) => to.send(self.reloaded.clone()).unwrap_or_default(),
            }
        }
    }
}

/// What a wake-up by the desk asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) reload: bool,
    pub(crate) reapply: bool,
}

#[cfg(test)]
mod tests {
    use std::{fs::read_dir, time::Duration};

    use tokio::time::{sleep, timeout};

    use super::*;

    const WEB: &str = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\n";

    /// Where the loop does not come to take requests.
    #[tokio::test]
    async fn who_is_told_to_come_again_has_changed_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("w.toml");
        std::fs::write(&main, WEB).unwrap();
        let forward = crate::config::Settings::load(&Source::File(main.clone()));
        let forward = forward.unwrap().forwards.remove(0);
        std::fs::write(&main, "").unwrap();
        let (asks, requests) = mpsc::channel(MOST_WAITING);
        let asker = Asker {
            requests: asks,
            holder: watch::channel(None).0,
            source: Source::File(main),
            files: Arc::default(),
        };
        let drop_ins = folder.path().join("w.toml.d");
        let file = drop_ins.join("forward-web.toml");
        // The first waits for the loop, with its file written.
        let first = tokio::spawn({
            let (asker, forward) = (asker.clone(), forward.clone());
            async move { asker.add(forward).await }
        });
        let written = async {
            while !file.exists() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), written).await.unwrap();
        let reloads: Vec<_> = (1..MOST_WAITING)
            .map(|_| asker.place().ok().unwrap())
            .collect();
        let removed = asker.remove("web".to_owned()).await;
        assert!(matches!(removed, Err(Refusal::Busy(text)) if text.contains("too many")));
        let other = Forward {
            name: "other".to_owned(),
            ..forward
        };
        let added = asker.add(other).await;
        assert!(matches!(added, Err(Refusal::Busy(text)) if text.contains("too many")));
        assert!(file.exists(), "it is there still");
        assert_eq!(read_dir(drop_ins).unwrap().count(), 1);
        drop((reloads, requests));
        assert_eq!(first.await.unwrap(), Err(STOPPING));
        assert_eq!(asker.reload().await, Err(STOPPING));
    }
}
