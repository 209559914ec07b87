//! Calls to Windows in flight. They run beside the passes and come back as
//! news; dropping this kills them.

use std::{
    future::pending,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    select,
    sync::oneshot,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::machine::Host;
use crate::{
    host::portproxy,
    model::{HostOutcome, ModeState, RuleSet},
    observe,
};

/// Longest wait for a whole call, beyond the deadlines within it: looking at a
/// Windows drive that hangs has none.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes a call in a thread of its own, because looking at Windows' drives,
/// connecting to WSL's sockets and starting a program block, and the loop must
/// not. It ends as soon as `gone` does. `None` when it does not come back in time.
async fn off_the_loop<F, W, T>(gone: oneshot::Receiver<()>, call: F) -> Option<T>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = T>,
    T: Send + 'static,
{
    let thread = spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            select! {
                result = call() => Some(result),
                _ = gone => None,
            }
        })
    });
    timeout(LIMIT, thread).await.ok()?.ok()?
}

/// What a call brought back.
#[derive(Debug)]
pub(super) enum News {
    /// WSL's networking mode.
    Mode(ModeState),
    /// How a sync of the forwards ended.
    Forwards(HostOutcome),
}

/// The calls in flight, at most one of each kind.
#[derive(Debug)]
pub(super) struct Windows {
    folder: PathBuf,
    calls: JoinSet<News>,
    /// Held while a call is in flight: dropping one ends the call at once, even
    /// where the runtime is already going down.
    asking: Option<oneshot::Sender<()>>,
    syncing: Option<oneshot::Sender<()>>,
}

impl Windows {
    /// Nothing in flight. The script that Windows reads is kept below `state`.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: state.join("windows"),
            calls: JoinSet::new(),
            asking: None,
            syncing: None,
        }
    }

    /// Asks for the networking mode unless that is being asked.
    pub(super) fn ask_mode(&mut self) {
        if self.asking.is_none() {
            let (alive, gone) = oneshot::channel();
            self.asking = Some(alive);
            self.calls.spawn(async {
                let asked = off_the_loop(gone, || async { observe::ask_mode().await });
                News::Mode(asked.await.unwrap_or_else(|| {
                    ModeState::Unknown(format!(
                        "wslinfo has been hanging for {} s",
                        LIMIT.as_secs()
                    ))
                }))
            });
        }
    }

    /// Whether nothing is in flight.
    pub(super) fn idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// Waits for the next call to end; for ever when none is in flight.
    pub(super) async fn news(&mut self) -> News {
        loop {
            match self.calls.join_next().await {
                Some(Ok(news)) => {
                    match news {
                        News::Mode(_) => self.asking = None,
                        News::Forwards(_) => self.syncing = None,
                    }
                    return news;
                }
                // A call never panics and nobody aborts one.
                Some(Err(_)) => {}
                None => pending().await,
            }
        }
    }
}

impl Host for Windows {
    fn syncing(&self) -> bool {
        self.syncing.is_some()
    }

    fn sync(&mut self, wanted: RuleSet) {
        let (alive, gone) = oneshot::channel();
        self.syncing = Some(alive);
        let folder = self.folder.clone();
        self.calls.spawn(async move {
            let asked = wanted.clone();
            let call = off_the_loop(gone, move || async move {
                portproxy::sync(&folder, asked).await
            });
            let outcome = call.await;
            News::Forwards(outcome.unwrap_or_else(|| portproxy::hangs(wanted, LIMIT)))
        });
    }
}
