//! The relay's UDP clients and their ports towards the guest, in memory and, for
//! an agent that is started again, in a small file of the runtime directory.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use wslmesh_relay::protocol::{Protocol, Session};

use crate::{
    blocking::{LIMIT, SingleFlight, run_blocking},
    fs::{file, read_bounded},
    model::RelaySet,
};

/// Least time between two writes of the file.
const BETWEEN: Duration = Duration::from_secs(1);

/// Version of the file.
const VERSION: u32 = 1;

/// A client of a forward.
type Client = (Ipv4Addr, NonZeroU16, SocketAddrV4);

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: BTreeMap<Client, Session>,
    /// `None` where nothing is kept.
    path: Option<PathBuf>,
    /// When what is new is to be written.
    save: Option<Instant>,
    saved: Option<Instant>,
    saves: SingleFlight,
    saving: Option<JoinHandle<()>>,
    turns: Turns,
}

/// Writes in their order: one that was begun earlier and comes later is too late.
#[derive(Debug, Default)]
struct Turns {
    begun: u64,
    done: Arc<Mutex<u64>>,
}

/// The place of one write in the order.
struct Turn {
    number: u64,
    done: Arc<Mutex<u64>>,
}

impl Turns {
    fn next(&mut self) -> Turn {
        self.begun += 1;
        Turn {
            number: self.begun,
            done: Arc::clone(&self.done),
        }
    }
}

impl Turn {
    /// Waits for a write in flight.
    fn write(self, path: &Path, text: &[u8]) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if *done < self.number {
            *done = self.number;
            // It names clients: for root alone.
            if let Err(error) = file::write(path, text, 0o600) {
                tracing::info!(event = "relay-table", "{error}");
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    sessions: Vec<Session>,
}

impl Table {
    /// The table of an earlier run. One that cannot be read is as good as none:
    /// clients then get new ports, and their peers learn them.
    pub(super) fn load(path: PathBuf) -> Self {
        let sessions = match read(&path) {
            Ok(sessions) => sessions,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let path = path.display();
                tracing::info!(event = "relay-table", "{path} is not used: {error}");
                Vec::new()
            }
        };
        let mut table = Self::default();
        table.sessions.extend(sessions.into_iter().map(keyed));
        table.path = Some(path);
        table
    }

    /// How many clients there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The clients, at most so many.
    pub(super) fn sessions(&self, most: u32) -> Vec<Session> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.sessions.values().take(most).copied().collect()
    }

    /// Forgets the clients of forwards that are not wanted.
    pub(super) fn keep(&mut self, wanted: Option<&RelaySet>) {
        let before = self.sessions.len();
        self.sessions.retain(|(address, port, _), _| {
            let mut forwards = wanted.iter().flat_map(|set| &set.forwards);
            forwards.any(|(_, forward)| {
                let listen = forward.listen;
                (listen.protocol, listen.listen_address, listen.listen_port)
                    == (Protocol::Udp, *address, *port)
            })
        });
        if self.sessions.len() < before {
            self.changed();
        }
    }

    /// Takes what the relay says of its sessions.
    pub(super) fn update(&mut self, complete: bool, opened: Vec<Session>, closed: &[Session]) {
        if complete {
            self.sessions.clear();
        }
        for session in closed {
            // A client that came back since has another port.
            let (client, _) = keyed(*session);
            if self.sessions.get(&client) == Some(session) {
                self.sessions.remove(&client);
            }
        }
        self.sessions.extend(opened.into_iter().map(keyed));
        self.changed();
    }

    fn changed(&mut self) {
        let now = Instant::now();
        let earliest = self.saved.map_or(now, |saved| now.max(saved + BETWEEN));
        self.save.get_or_insert(earliest);
    }

    /// When the file is to be written.
    pub(super) fn due(&self) -> Option<Instant> {
        self.save
    }

    /// Writes the file if it is time, in a thread of its own.
    pub(super) fn save_if_due(&mut self, now: Instant) {
        if self.save.is_none_or(|due| due > now) {
            return;
        }
        let Ok(permit) = self.saves.begin() else {
            self.save = Some(now + BETWEEN);
            return;
        };
        (self.save, self.saved) = (None, Some(now));
        if let Some((path, text)) = self.path.clone().zip(self.text()) {
            let turn = self.turns.next();
            let write = run_blocking(permit, LIMIT, move || turn.write(&path, &text));
            self.saving = Some(tokio::spawn(async { write.await.unwrap_or_default() }));
        }
    }

    fn text(&self) -> Option<Vec<u8>> {
        let document = Document {
            version: VERSION,
            sessions: self.sessions.values().copied().collect(),
        };
        serde_json::to_vec(&document).ok()
    }
}

/// The agent ends: what is not written yet, or being written, is written now.
impl Drop for Table {
    fn drop(&mut self) {
        let saving = self.saving.as_ref().is_some_and(|call| !call.is_finished());
        if (self.save.is_some() || saving)
            && let Some((path, text)) = self.path.clone().zip(self.text())
        {
            self.turns.next().write(&path, &text);
        }
    }
}

fn keyed(session: Session) -> (Client, Session) {
    let client = (session.listen_address, session.listen_port, session.client);
    (client, session)
}

fn read(path: &Path) -> io::Result<Vec<Session>> {
    let text = read_bounded(path, file::MAX_SIZE)?;
    let document: Document = serde_json::from_slice(&text)?;
    if document.version == VERSION {
        Ok(document.sessions)
    } else {
        Err(io::Error::other(format!("version {}", document.version)))
    }
}

#[cfg(test)]
mod tests;
