//! Calls to Windows in flight. They run beside the passes and come back as
//! news; dropping this kills them.

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
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
    apply::saved::Saved,
    host::sync,
    model::{Finding, HostOutcome, ModeState, RuleSet},
    observe,
    report::Code,
};

/// Longest wait for a whole call, beyond the deadlines within it: looking at a
/// Windows drive that hangs has none.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes a call in a thread of its own, because looking at Windows' drives,
/// connecting to WSL's sockets and starting a program block, and the loop must
/// not. `None` when it does not come back in time.
async fn off_the_loop<F, W, T>(ticket: Ticket, call: F) -> Option<T>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = T>,
    T: Send + 'static,
{
    if ticket.earlier_hangs {
        return None;
    }
    let thread = spawn_blocking(move || {
        let _running = ticket.running;
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            select! {
                result = call() => Some(result),
                _ = ticket.gone => None,
            }
        })
    });
    timeout(LIMIT, thread).await.ok()?.ok()?
}

/// Makes the call, and keeps on disk whether rules of ours may stand on Windows:
/// they outlive this process, which may be killed before it hears of the end.
async fn sync_and_remember(saved: &Saved, folder: &Path, wanted: RuleSet) -> HostOutcome {
    let before = saved.load().is_ok_and(|values| values.forwards);
    let expected = before || !wanted.rules.is_empty();
    // What cannot be saved now is tried again, and told, after the call.
    saved
        .update(|values| values.forwards = expected)
        .unwrap_or_default();
    let mut outcome = sync::sync(folder, wanted).await;
    // A call that never reached Windows changed nothing.
    let standing = outcome.standing.unwrap_or(before);
    if let Err(error) = saved.update(|values| values.forwards = standing) {
        let finding = Finding::new(Code::StateUnwritable, "", error.to_string());
        outcome.findings.push(finding);
    }
    outcome.standing = Some(standing);
    outcome
}

/// One kind of call, made one at a time.
#[derive(Debug, Default)]
struct Lane {
    /// Held while a call is in flight: dropping it ends the call at once, even
    /// where the runtime is already going down.
    alive: Option<oneshot::Sender<()>>,
    /// Shared with the threads. One that hangs in the kernel cannot be ended,
    /// and there shall not be a second.
    running: Arc<()>,
}

/// What a call's thread is given.
struct Ticket {
    gone: oneshot::Receiver<()>,
    running: Arc<()>,
    earlier_hangs: bool,
}

impl Lane {
    fn begin(&mut self) -> Ticket {
        let (alive, gone) = oneshot::channel();
        self.alive = Some(alive);
        Ticket {
            gone,
            earlier_hangs: Arc::strong_count(&self.running) > 1,
            running: Arc::clone(&self.running),
        }
    }

    fn busy(&self) -> bool {
        self.alive.is_some()
    }

    fn end(&mut self) {
        self.alive = None;
    }
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
    saved: Saved,
    calls: JoinSet<News>,
    mode: Lane,
    forwards: Lane,
}

impl Windows {
    /// Nothing in flight. The script that Windows reads is kept below `state`.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: state.join("windows"),
            saved: Saved::new(state),
            calls: JoinSet::new(),
            mode: Lane::default(),
            forwards: Lane::default(),
        }
    }

    /// Asks for the networking mode unless that is being asked.
    pub(super) fn ask_mode(&mut self) {
        if !self.mode.busy() {
            let ticket = self.mode.begin();
            self.calls.spawn(async {
                let asked = off_the_loop(ticket, || async { observe::ask_mode().await });
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
                        News::Mode(_) => self.mode.end(),
                        News::Forwards(_) => self.forwards.end(),
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
        self.forwards.busy()
    }

    fn sync(&mut self, wanted: RuleSet) {
        let ticket = self.forwards.begin();
        let (folder, saved) = (self.folder.clone(), self.saved.clone());
        self.calls.spawn(async move {
            let asked = wanted.clone();
            let call = off_the_loop(ticket, move || async move {
                sync_and_remember(&saved, &folder, asked).await
            });
            let outcome = call.await;
            News::Forwards(outcome.unwrap_or_else(|| sync::hangs(wanted, LIMIT)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SyncMode;

    #[tokio::test]
    async fn rules_of_an_earlier_run_are_not_forgotten_by_a_call_that_fails() {
        // There is no interop here, so the call never reaches a Windows.
        let wanted = RuleSet::nothing(SyncMode::Nat);
        for before in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let saved = Saved::new(folder.path());
            saved.update(|values| values.forwards = before).unwrap();
            let outcome = sync_and_remember(&saved, folder.path(), wanted.clone()).await;
            assert_eq!(outcome.standing, Some(before));
            assert_eq!(saved.load().unwrap().forwards, before);
        }
    }

    #[tokio::test]
    async fn dropping_the_lane_ends_the_call() {
        let mut lane = Lane::default();
        let call = off_the_loop(lane.begin(), pending::<()>);
        drop(lane);
        assert_eq!(call.await, None);
    }

    #[tokio::test]
    async fn a_thread_that_hangs_gets_no_second() {
        let mut lane = Lane::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn(off_the_loop(lane.begin(), || async move {
            held.recv().is_err()
        }));
        assert_eq!(off_the_loop(lane.begin(), || async { 1 }).await, None);
        drop(release);
        first.await.unwrap();
        assert_eq!(off_the_loop(lane.begin(), || async { 2 }).await, Some(2));
    }
}
