//! Calls to Windows in flight. They run beside the passes and come back as
//! news; dropping this kills them.

use std::{future::pending, path::PathBuf};

use tokio::task::JoinSet;

use crate::{
    host::portproxy,
    model::{HostOutcome, ModeState, RuleSet},
    observe,
};

/// What a call brought back.
#[derive(Debug)]
pub enum News {
    /// WSL's networking mode.
    Mode(ModeState),
    /// How a sync of the forwards ended.
    Forwards(HostOutcome),
}

/// The calls in flight, at most one of each kind.
#[derive(Debug, Default)]
pub struct Windows {
    calls: JoinSet<News>,
    asking: bool,
    syncing: bool,
}

impl Windows {
    /// Asks for the networking mode unless that is being asked.
    pub fn ask_mode(&mut self) {
        if !std::mem::replace(&mut self.asking, true) {
            self.calls
                .spawn(async { News::Mode(observe::ask_mode().await) });
        }
    }

    /// Whether a sync is in flight: the next one waits for its end.
    #[must_use]
    pub fn syncing(&self) -> bool {
        self.syncing
    }

    /// Begins a sync of the forwards.
    pub fn sync(&mut self, folder: PathBuf, wanted: RuleSet) {
        self.syncing = true;
        self.calls
            .spawn(async move { News::Forwards(portproxy::sync(&folder, wanted).await) });
    }

    /// Whether anything is in flight.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// Waits for the next call to end; for ever when none is in flight.
    pub async fn news(&mut self) -> News {
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
