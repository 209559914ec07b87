//! Ports that are published in a network namespace of its own, on the loopback addresses of
//! this one: what Rancher Desktop calls wsl-proxy. A guest agent says on a Unix socket what is
//! published, and the relay's program carries TCP and UDP to the namespace's address.

mod published;
mod relay;
mod socket;

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    select,
    sync::mpsc::{self, Sender},
    task::JoinSet,
    time::timeout,
};
use wslmesh_relay::protocol::Listen;

use self::{
    published::{Change, Invalid},
    relay::Relay,
    socket::Socket,
};
use super::{Stop, TunnelError};
use crate::{model::counted, paths::Paths};

/// Most ports at one time.
const PORTS: usize = 1024;
/// Most senders at one time; others wait in the kernel's queue.
const SENDERS: usize = 64;
/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Changes that wait.
const CHANGES: usize = 16;
/// Most ports of a message whose refusal is said one by one.
const SAID: usize = 8;

/// What it is to be.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// The Unix socket that it makes.
    pub socket: PathBuf,
    /// Where the namespace is reached.
    pub upstream: IpAddr,
}

/// Why a sender was given up.
#[derive(Debug, thiserror::Error)]
enum SenderError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("it ended within a message")]
    Unfinished,
    #[error("it was silent for {} s within a message", SILENCE.as_secs())]
    Silent,
    #[error("{0}")]
    Socket(#[from] std::io::Error),
}

/// Runs it until SIGTERM or SIGINT.
///
/// # Errors
/// The socket cannot be made.
pub async fn run(proxy: Proxy, paths: Paths) -> Result<(), TunnelError> {
    let mut stop = Stop::new()?;
    let socket = Socket::bind(&proxy.socket)?;
    tracing::info!(
        event = "tunnel",
        "ports that are published on {} appear on localhost of this namespace, at {}",
        proxy.socket.display(),
        proxy.upstream
    );
    let (sender, mut changes) = mpsc::channel(CHANGES);
    let mut senders = JoinSet::new();
    let mut wanted = BTreeSet::new();
    let mut relay = Relay::new(paths.lib, proxy.upstream);
    loop {
        select! {
            accepted = socket.accept(), if senders.len() < SENDERS => match accepted {
                Ok(stream) => drop(senders.spawn(read(stream, sender.clone()))),
                Err(error) => {
                    tracing::warn!(event = "tunnel", "cannot accept a sender of ports: {error}");
                    // As while there are no descriptors.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            Some(ended) = senders.join_next() => {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(event = "tunnel", "a sender of published ports was given up: {error}");
                }
            }
            Some(change) = changes.recv() => {
                if apply(&mut wanted, change) {
                    relay.want(&wanted);
                }
            }
            () = relay.run() => {}
            () = stop.requested() => return Ok(()),
        }
    }
}

/// Reads messages until the sender ends.
async fn read(mut stream: UnixStream, changes: Sender<Change>) -> Result<(), SenderError> {
    let mut bytes = Vec::new();
    loop {
        match timeout(SILENCE, stream.read_buf(&mut bytes)).await {
            Ok(Ok(0)) if bytes.is_empty() => return Ok(()),
            Ok(Ok(0)) => return Err(SenderError::Unfinished),
            Ok(read) => drop(read?),
            Err(_) if bytes.is_empty() => return Ok(()),
            Err(_) => return Err(SenderError::Silent),
        }
        let (taken, used) = published::take(&bytes)?;
        bytes.drain(..used);
        for change in taken {
            // Its receiver ends with this task.
            changes.send(change).await.unwrap_or_default();
        }
    }
}

/// Does what a message wants, and says what it is. Whether that changes anything.
fn apply(wanted: &mut BTreeSet<Listen>, change: Change) -> bool {
    let before = wanted.len();
    let mut refused = change.refused;
    let (mut added, mut removed) = (0, 0);
    for listen in change.listens {
        if change.remove {
            removed += usize::from(wanted.remove(&listen));
        } else if wanted.len() >= PORTS && !wanted.contains(&listen) {
            refused.push(format!("{listen}: {PORTS} ports are published already"));
        } else {
            added += usize::from(wanted.insert(listen));
        }
    }
    for why in refused.iter().take(SAID) {
        tracing::warn!(event = "tunnel", "not on localhost: {why}");
    }
    if refused.len() > SAID {
        let rest = counted(refused.len() - SAID, "further port");
        tracing::warn!(event = "tunnel", "not on localhost: {rest}");
    }
    if added + removed > 0 {
        tracing::info!(
            event = "tunnel",
            "{added} published, {removed} not published any more: {} on localhost, {before} before",
            counted(wanted.len(), "port")
        );
    }
    added + removed > 0
}

#[cfg(test)]
mod tests;
