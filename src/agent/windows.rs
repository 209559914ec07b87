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
/// not. Dropping this ends the call. `None` when it does not come back in time.
async fn off_the_loop<F, W, T>(call: F) -> Option<T>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = T>,
    T: Send + 'static,
{
    let (alive, gone) = oneshot::channel::<()>();
    let thread = spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            select! {
                result = call() => Some(result),
                _ = gone => None,
            }
        })
    });
    let result = timeout(LIMIT, thread).await;
    drop(alive);
    result.ok()?.ok()?
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
    asking: bool,
    syncing: bool,
}

impl Windows {
    /// Nothing in flight. The script that Windows reads is kept below `state`.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: state.join("windows"),
            calls: JoinSet::new(),
            asking: false,
            syncing: false,
        }
    }

    /// Asks for the networking mode unless that is being asked.
    pub(super) fn ask_mode(&mut self) {
        if !std::mem::replace(&mut self.asking, true) {
            self.calls.spawn(async {
                let asked = off_the_loop(|| async { observe::ask_mode().await });
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
                        News::Mode(_) => self.asking = false,
                        News::Forwards(_) => self.syncing = false,
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
        self.syncing
    }

    fn sync(&mut self, wanted: RuleSet) {
        self.syncing = true;
        let folder = self.folder.clone();
        self.calls.spawn(async move {
            let asked = wanted.clone();
            let call = off_the_loop(move || async move { portproxy::sync(&folder, asked).await });
            let outcome = call.await;
            News::Forwards(outcome.unwrap_or_else(|| portproxy::hangs(wanted, LIMIT)))
        });
    }
}
