//! Calls to Windows in flight. They run beside the passes and come back as
//! news; dropping this kills them.

use std::{
    future::pending,
    path::{Path, PathBuf},
};

use tokio::task::JoinSet;

use super::machine::Host;
use crate::{
    host::portproxy,
    model::{HostOutcome, ModeState, RuleSet},
    observe,
};

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
            self.calls
                .spawn(async { News::Mode(observe::ask_mode().await) });
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
        self.calls
            .spawn(async move { News::Forwards(portproxy::sync(&folder, wanted).await) });
    }
}
