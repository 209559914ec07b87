//! Following the status document: where no bus is, and without looking again and
//! again.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::inotify,
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{net::unix::pipe::Receiver, select};

use super::event::Event;
use crate::report::{Document, read_status};

/// The document of a folder, and the agent that writes it.
#[derive(Debug)]
pub(super) struct Followed {
    folder: PathBuf,
    changes: Receiver,
    agent: Option<(Document, Receiver)>,
    /// Its document may still be there, and its process too until somebody reaps it.
    ended: Option<u32>,
    told: bool,
    /// Why the document could not be read, which is told once.
    unreadable: Option<String>,
}

impl Followed {
    /// Follows the document in this folder, which need not be there.
    ///
    /// # Errors
    /// The kernel gives no inotify.
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self {
            folder,
            changes: waited(inotify::init(flags)?)?,
            agent: None,
            ended: None,
            told: false,
            unreadable: None,
        })
    }

    /// What is new, as soon as something is; the first time, how things are.
    ///
    /// # Errors
    /// The folder cannot be watched. A document that cannot be read is an event.
    pub(super) async fn next(&mut self) -> io::Result<Vec<Event>> {
        loop {
            // Watched before it is read, so that nothing falls between.
            self.watch()?;
            let events = self.look()?;
            if !events.is_empty() {
                return Ok(events);
            }
            select! {
                changed = self.changes.readable() => {
                    changed?;
                    drain(&self.changes)?;
                }
                () = ended(self.agent.as_ref()) => {
                    self.ended = self.agent.take().map(|(document, _)| document.pid);
                    // Another one may be there already.
                    let events = self.look()?;
                    return Ok(if events.is_empty() { vec![Event::NoAgent] } else { events });
                }
            }
        }
    }

    fn look(&mut self) -> io::Result<Vec<Event>> {
        let first = !std::mem::replace(&mut self.told, true);
        let found = match read_status(&self.folder) {
            Ok(found) => found,
            Err(error) => return Ok(self.puzzled(&error)),
        };
        self.unreadable = None;
        let found =
            found.filter(|document| Some(document.pid) != self.ended && document.is_alive());
        let Some(now) = found else {
            let nothing = first && self.agent.is_none();
            return Ok(if nothing {
                vec![Event::NoAgent]
            } else {
                Vec::new()
            });
        };
        match &mut self.agent {
            Some((before, _)) if before.pid == now.pid => {
                let events = Event::between(before, &now);
                *before = now;
                Ok(events)
            }
            _ => {
                let Some(process) = open(now.pid)? else {
                    return Ok(if first {
                        vec![Event::NoAgent]
                    } else {
                        Vec::new()
                    });
                };
                let event = Event::state(&now);
                self.agent = Some((now, process));
                Ok(vec![event])
            }
        }
    }

    /// The next one may be readable.
    fn puzzled(&mut self, error: &io::Error) -> Vec<Event> {
        let reason = format!("cannot read the status document: {error}");
        if self.unreadable.replace(reason.clone()).as_ref() == Some(&reason) {
            return Vec::new();
        }
        vec![Event::Unknown { reason }]
    }

    /// The folder goes with an agent that stops, and comes with the next one.
    fn watch(&self) -> io::Result<()> {
        let replaced = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE_SELF;
        match inotify::add_watch(self.changes.as_fd(), &self.folder, replaced) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let above = self.folder.ancestors().skip(1).find(|above| above.is_dir());
        let Some(above) = above else {
            return Ok(());
        };
        let made = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(self.changes.as_fd(), above, made)?;
        // It may have come in between.
        match inotify::add_watch(self.changes.as_fd(), &self.folder, replaced) {
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the events say does not matter: all is read again.
fn drain(changes: &Receiver) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match changes.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// tokio's safe way to wait for a file that becomes readable; it must not block.
fn waited(file: OwnedFd) -> io::Result<Receiver> {
    Receiver::from_owned_fd_unchecked(file)
}

/// The process by a handle that becomes readable at its end; `None` where it has
/// ended.
fn open(pid: u32) -> io::Result<Option<Receiver>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(process) => waited(process).map(Some),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn ended(agent: Option<&(Document, Receiver)>) {
    match agent {
        // An error cannot tell more than that it is over.
        Some((_, process)) => drop(process.readable().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        process::{Child, Command},
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;
    use crate::report::write_status;

    fn process() -> Child {
        Command::new("/bin/sleep").arg("600").spawn().unwrap()
    }

    fn document(pid: u32, address: &str) -> Document {
        let text = format!(
            r#"{{"version":1,"pid":{pid},"role":"active","mode":"nat","interface":"eth0","address":"{address}","gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    async fn next(followed: &mut Followed) -> Vec<String> {
        let events = timeout(Duration::from_secs(20), followed.next()).await;
        let events = events.unwrap().unwrap();
        events.iter().map(Event::words).collect()
    }

    #[tokio::test]
    async fn a_folder_comes_an_agent_works_and_ends() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("run/wslmesh");
        let mut followed = Followed::new(folder.clone()).unwrap();
        assert_eq!(
            next(&mut followed).await,
            ["no agent runs here; waiting for one"]
        );
        for round in 0..2 {
            let mut agent = process();
            let pid = agent.id();
            write_status(&folder, &document(pid, "10.0.0.1")).unwrap();
            let state = format!("agent {pid}: eth0 10.0.0.1 (nat), healthy");
            assert_eq!(next(&mut followed).await, [state]);
            // Nothing of it is worth a word.
            let mut same = document(pid, "10.0.0.1");
            same.passes = 2;
            write_status(&folder, &same).unwrap();
            let quiet = timeout(Duration::from_millis(50), followed.next()).await;
            assert!(quiet.is_err());
            write_status(&folder, &document(pid, "10.0.0.2")).unwrap();
            let moved = next(&mut followed).await;
            assert_eq!(moved, ["eth0 address 10.0.0.1 -> 10.0.0.2"]);
            if round == 0 {
                // As systemd does it after a stop.
                fs::remove_dir_all(&folder).unwrap();
            }
            agent.kill().unwrap();
            agent.wait().unwrap();
            let end = next(&mut followed).await;
            assert_eq!(end, ["no agent runs here; waiting for one"]);
        }
    }

    #[tokio::test]
    async fn a_broken_document_is_told_once_and_waited_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        fs::write(&path, "{").unwrap();
        let mut followed = Followed::new(folder.path().to_owned()).unwrap();
        let told = next(&mut followed).await;
        assert!(
            told.len() == 1 && told[0].starts_with("cannot read the status document: "),
            "{told:?}"
        );
        let again = timeout(Duration::from_millis(50), followed.next()).await;
        assert!(again.is_err());
        let mut agent = process();
        write_status(folder.path(), &document(agent.id(), "10.0.0.1")).unwrap();
        let state = format!("agent {}: eth0 10.0.0.1 (nat), healthy", agent.id());
        assert_eq!(next(&mut followed).await, [state]);
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    #[tokio::test]
    async fn an_agent_that_takes_over_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (process(), process());
        write_status(folder.path(), &document(first.id(), "10.0.0.1")).unwrap();
        let mut followed = Followed::new(folder.path().to_owned()).unwrap();
        assert_eq!(next(&mut followed).await.len(), 1);
        first.kill().unwrap();
        write_status(folder.path(), &document(second.id(), "10.0.0.1")).unwrap();
        let state = format!("agent {}: eth0 10.0.0.1 (nat), healthy", second.id());
        assert_eq!(next(&mut followed).await, [state]);
        first.wait().unwrap();
        second.kill().unwrap();
        second.wait().unwrap();
    }
}
