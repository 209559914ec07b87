//! The numbers as a file for node_exporter's textfile collector, beside the loop: after
//! passes, and once a minute when systemd's watchdog wakes the agent anyway. Nothing here
//! has a timer of its own.

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};

use crate::{
    blocking::{BlockingError, SingleFlight, run_blocking},
    fs::file,
    model::{Code, Finding},
    observe::{self, Peers},
    report::{Document, render_metrics},
};

/// Passes follow each other; the file is written at most that often. What is left out comes
/// with the next pass or the watchdog.
const AFTER_PASS: Duration = Duration::from_secs(5);
/// And so often while nothing happens, a little less than two periods of the watchdog: what
/// node_exporter says of the file's age shows that the agent lives.
const IDLE: Duration = Duration::from_secs(55);
/// Longest wait for the disk.
const DEADLINE: Duration = Duration::from_secs(10);
/// The same when the agent stops.
const LAST_DEADLINE: Duration = Duration::from_secs(1);

/// How a write ended: the file, whether the disk answered, and why nothing was written.
type Written = (Option<PathBuf>, bool, Result<(), String>);

/// Writes the file.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    peers: Peers,
    flight: SingleFlight,
    /// The write in flight, at most one.
    run: JoinSet<Written>,
    /// When the last one began.
    last: Option<Instant>,
    /// Whether there was a pass since.
    is_outdated: bool,
    /// The file that this process may have written.
    own: Option<PathBuf>,
    /// Files of an earlier configuration, until the disk has taken their removal.
    left: Vec<PathBuf>,
    /// Why it is not written.
    pub(super) finding: Option<Finding>,
}

impl Metrics {
    /// Takes the state after a pass. `path` is the file; nothing where none is wanted.
    pub(super) fn after_pass(&mut self, path: Option<&Path>, document: Option<Arc<Document>>) {
        self.is_outdated = true;
        self.write_after(AFTER_PASS, path, document);
    }

    /// The same when the agent was woken up anyway.
    pub(super) fn on_tick(&mut self, path: Option<&Path>, document: Option<Arc<Document>>) {
        let gap = match self.is_outdated {
            true => Duration::ZERO,
            false => IDLE,
        };
        self.write_after(gap, path, document);
    }

    /// Has it written with the next pass: the configuration may have changed.
    pub(super) fn retry(&mut self) {
        self.last = None;
    }

    fn write_after(&mut self, gap: Duration, path: Option<&Path>, document: Option<Arc<Document>>) {
        if path.is_none() {
            self.finding = None;
        }
        let now = Instant::now();
        let rests = self.last.is_some_and(|last| now.duration_since(last) < gap);
        let is_moved = self.own.as_deref() != path;
        let has_any = path.is_some() || self.own.is_some() || !self.left.is_empty();
        if !has_any || !self.run.is_empty() || rests && !is_moved {
            return;
        }
        let Some(document) = document else { return };
        (self.last, self.is_outdated) = (Some(now), false);
        if is_moved {
            self.left.extend(self.own.take());
            self.own = path.map(Path::to_owned);
            self.left.retain(|left| Some(left.as_path()) != path);
        }
        let (peers, flight, path) = (self.peers.clone(), self.flight.clone(), self.own.clone());
        let left = self.left.clone();
        self.run.spawn(async move {
            let written = write(&peers, &flight, left, path.as_deref(), &document).await;
            let has_ended = written.is_ok();
            (path, has_ended, written.flatten())
        });
    }

    /// Waits until it was written, and says whether the finding has changed. Cancel safe.
    pub(super) async fn changed(&mut self) -> bool {
        match self.run.join_next().await {
            Some(Ok(written)) => self.take(written),
            // A write never panics and is never aborted.
            Some(Err(_)) => false,
            None => pending().await,
        }
    }

    fn take(&mut self, (path, has_ended, written): Written) -> bool {
        if has_ended {
            self.left.clear();
        }
        let subject = path.map(|path| path.display().to_string());
        let finding = written.err().zip(subject);
        let finding =
            finding.map(|(why, subject)| Finding::new(Code::MetricsUnwritable, subject, why));
        let changed = self.finding != finding;
        self.finding = finding;
        changed
    }

    /// Removes the file: an agent that has ended has no numbers. One that was killed leaves
    /// it behind, and its age shows that.
    pub(super) async fn stop(&mut self) {
        let mut files = std::mem::take(&mut self.left);
        files.extend(self.own.take());
        if files.is_empty() {
            return;
        }
        // A write that comes after the removal would last.
        let ended = timeout(LAST_DEADLINE, self.run.join_next()).await;
        if let (Ok(_), Ok(permit)) = (ended, self.flight.begin()) {
            let remove = move || withdraw(&files);
            let removed = run_blocking(permit, LAST_DEADLINE, remove).await;
            removed.unwrap_or_default();
        }
    }
}

/// Removes files. What cannot be removed is not in this agent's power.
fn withdraw(files: &[PathBuf]) {
    for file in files {
        file::withdraw(file).unwrap_or_default();
    }
}

/// Removes files of before and writes the new one; gives back why that one is not written.
///
/// # Errors
/// Why the disk did not answer.
async fn write(
    peers: &Peers,
    flight: &SingleFlight,
    left: Vec<PathBuf>,
    path: Option<&Path>,
    document: &Document,
) -> Result<Result<(), String>, String> {
    let mut document = document.clone();
    if path.is_some() && document.numbers.is_some() {
        document.wireguard = Some(peers.of(&document.links).await);
        observe::add_traffic(&mut document);
    }
    let (path, text) = (
        path.map(Path::to_owned),
        render_metrics(&document, observe::now_unix()),
    );
    let call = move || {
        withdraw(&left);
        match path {
            None => Ok(()),
            Some(path) => file::publish(&path, text.as_bytes(), 0o644),
        }
    };
    let late = |error: BlockingError| format!("the disk: {error}");
    let permit = flight.begin().map_err(late)?;
    let written = run_blocking(permit, DEADLINE, call).await.map_err(late)?;
    Ok(written.map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests;
