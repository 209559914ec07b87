//! systemd's end of sd_notify(3).

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::world::World;

/// What systemd would have heard.
#[derive(Debug)]
pub(crate) struct Notify {
    socket: UnixDatagram,
    heard: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Notify {
    /// Listens at this path of the world.
    pub(crate) fn listen(world: &World, path: &str) -> Result<Self> {
        let socket = UnixDatagram::bind(world.path(path)).context("listening like systemd")?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        // A full queue would block the agent, so it is always emptied.
        let (reader, list) = (socket.try_clone()?, Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            // Zero bytes: the other clone was shut down.
            while let Ok(read @ 1..) = reader.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
                list.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(text.lines().map(str::to_owned));
            }
        });
        Ok(Self {
            socket,
            heard,
            thread: Some(thread),
        })
    }

    /// Every line so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        drop(self.socket.shutdown(std::net::Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
