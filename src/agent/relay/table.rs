//! What the relay serves and its UDP sessions, clients and their ports towards the guest:
//! in memory and, for a restarted agent, in a small file of the runtime directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use wslmesh_relay::protocol::{MAX_UDP_SESSIONS, Protocol, Session};

use crate::{
    blocking::{LIMIT, SingleFlight, run_blocking},
    fs::{file, read_bounded},
    model::RelaySet,
};

/// Least time between two writes of the file.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Version of the file.
const VERSION: u32 = 1;

/// A client of a forward.
type Client = (IpAddr, NonZeroU16, SocketAddr);

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: BTreeMap<Client, Session>,
    /// What the relay should serve.
    wanted: Option<RelaySet>,
    /// `None` where nothing is saved.
    path: Option<PathBuf>,
    /// When the file is to be written.
    pub(super) due: Option<Instant>,
    last_save: Option<Instant>,
    saves: SingleFlight,
    unwritten: Unwritten,
}

/// The next content of the file. A thread that comes late finds nothing to write.
#[derive(Debug, Clone, Default)]
struct Unwritten(Arc<Mutex<Option<Vec<u8>>>>);

impl Unwritten {
    fn set(&self, text: Vec<u8>) {
        *self.lock() = Some(text);
    }

    /// Writes it if there is something to write. Waits for a write in progress.
    fn write(&self, path: &Path) {
        let mut text = self.lock();
        // It names clients: for root alone.
        if let Some(text) = text.take()
            && let Err(error) = file::write(path, &text, 0o600)
        {
            tracing::info!(event = "relay-table", "{error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    sessions: Vec<Session>,
    #[serde(default)]
    wanted: Option<RelaySet>,
}

impl Table {
    /// The table of an earlier run. If it cannot be read, clients get new ports,
    /// and their peers learn them.
    pub(super) fn load(path: PathBuf) -> Self {
        let document = read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                let path = path.display();
                tracing::info!(event = "relay-table", "ignoring {path}: {error}");
            }
            Document::default()
        });
        let mut table = Self::default();
        table
            .sessions
            .extend(document.sessions.into_iter().map(keyed));
        table.wanted = document.wanted;
        table.path = Some(path);
        table
    }

    /// What the relay should serve, as set last.
    pub(super) fn wanted(&self) -> Option<&RelaySet> {
        self.wanted.as_ref()
    }

    /// The number of sessions.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions, at most so many.
    pub(super) fn sessions(&self, most: u32) -> Vec<Session> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.sessions.values().take(most).copied().collect()
    }

    /// Sets what the relay should serve, and forgets the sessions of other forwards.
    pub(super) fn want(&mut self, wanted: Option<&RelaySet>) {
        let before = self.sessions.len();
        let listens = listens(wanted);
        let is_wanted = |(address, port, _): &Client| listens.contains(&(*address, *port));
        self.sessions.retain(|client, _| is_wanted(client));
        if self.sessions.len() < before || self.wanted.as_ref() != wanted {
            self.wanted = wanted.cloned();
            self.changed();
        }
    }

    /// Applies an event about sessions. Those of forwards that are not wanted are
    /// ignored: the event and the command that removes one may cross. Gives back
    /// whether they are no more than any relay may have; else it forgets all.
    pub(super) fn update(
        &mut self,
        wanted: Option<&RelaySet>,
        complete: bool,
        opened: Vec<Session>,
        closed: &[Session],
    ) -> bool {
        if complete {
            self.sessions.clear();
        }
        for session in closed {
            // A client that has returned since has another port.
            let (client, _) = keyed(*session);
            if self.sessions.get(&client) == Some(session) {
                self.sessions.remove(&client);
            }
        }
        let listens = listens(wanted);
        let opened = opened.into_iter().map(keyed);
        let opened = opened.filter(|((address, port, _), _)| listens.contains(&(*address, *port)));
        self.sessions.extend(opened);
        self.changed();
        let possible = u32::try_from(self.len()).is_ok_and(|len| len <= MAX_UDP_SESSIONS);
        if !possible {
            self.sessions.clear();
        }
        possible
    }

    fn changed(&mut self) {
        let now = Instant::now();
        let earliest = self
            .last_save
            .map_or(now, |last| now.max(last + SAVE_INTERVAL));
        self.due.get_or_insert(earliest);
    }

    /// Writes the file in a blocking task, if it is due.
    pub(super) fn save_if_due(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let Ok(permit) = self.saves.begin() else {
            self.due = Some(now + SAVE_INTERVAL);
            return;
        };
        (self.due, self.last_save) = (None, Some(now));
        if let Some(path) = self.path.clone() {
            self.unwritten.set(self.text());
            let unwritten = self.unwritten.clone();
            let write = run_blocking(permit, LIMIT, move || unwritten.write(&path));
            // What it leaves unwritten is written later, or on drop.
            drop(tokio::spawn(write));
        }
    }

    fn text(&self) -> Vec<u8> {
        let document = Document {
            version: VERSION,
            sessions: self.sessions.values().copied().collect(),
            wanted: self.wanted.clone(),
        };
        // Only a map whose keys are not strings fails.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// The agent exits: what is not written yet is written now.
impl Drop for Table {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            if self.due.is_some() {
                self.unwritten.set(self.text());
            }
            self.unwritten.write(path);
        }
    }
}

/// Where the wanted UDP forwards listen.
fn listens(wanted: Option<&RelaySet>) -> BTreeSet<(IpAddr, NonZeroU16)> {
    let forwards = wanted.into_iter().flat_map(|set| &set.forwards);
    let listens = forwards.map(|(_, forward)| forward.listen);
    let udp = listens.filter(|listen| listen.protocol == Protocol::Udp);
    udp.map(|listen| (listen.listen_address, listen.listen_port))
        .collect()
}

fn keyed(session: Session) -> (Client, Session) {
    let client = (session.listen_address, session.listen_port, session.client);
    (client, session)
}

fn read(path: &Path) -> io::Result<Document> {
    let text = read_bounded(path, file::MAX_SIZE)?;
    let document: Document = serde_json::from_slice(&text)?;
    if document.version == VERSION {
        Ok(document)
    } else {
        Err(io::Error::other(format!("version {}", document.version)))
    }
}

#[cfg(test)]
mod tests;
