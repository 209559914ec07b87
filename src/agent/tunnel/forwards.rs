//! Hands the tunnel's process the forwards that it is to serve, and takes what its switch
//! answers of them. The connection lasts as long as the tunnel, and costs no wakeups.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    select,
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};

use crate::model::{
    TUNNEL_MAX_ORDER, TunnelAnswer, TunnelForward, TunnelListeners, TunnelOrder, tunnel_socket,
};

/// Between two attempts to reach a tunnel whose link is up: the first, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// Answers that wait; the tunnel sends one for each change.
const ANSWERS: usize = 16;

/// The forwards of the tunnel.
#[derive(Debug)]
pub(super) struct Forwards {
    socket: PathBuf,
    wanted: watch::Sender<Vec<TunnelForward>>,
    /// The conversation, while the tunnel is up.
    task: JoinSet<()>,
    answers: Option<mpsc::Receiver<Option<TunnelListeners>>>,
    listeners: Option<TunnelListeners>,
}

impl Forwards {
    pub(super) fn new(runtime: &Path) -> Self {
        Self {
            socket: tunnel_socket(runtime, "agent.sock"),
            wanted: watch::channel(Vec::new()).0,
            task: JoinSet::new(),
            answers: None,
            listeners: None,
        }
    }

    /// Takes what is wanted, and whether the tunnel's link is up. One that was never wanted
    /// anything of is left alone.
    pub(super) fn follow(&mut self, wanted: Vec<TunnelForward>, up: bool) {
        let wants = !wanted.is_empty();
        self.wanted.send_if_modified(|before| {
            let changed = *before != wanted;
            *before = wanted;
            changed
        });
        if !up {
            self.task.abort_all();
            (self.answers, self.listeners) = (None, None);
        } else if self.answers.is_none() && wants {
            let (sender, answers) = mpsc::channel(ANSWERS);
            self.answers = Some(answers);
            let (socket, wanted) = (self.socket.clone(), self.wanted.subscribe());
            self.task.spawn(talk(socket, wanted, sender));
        }
    }

    /// What the switch listens for; `None` while there is none.
    pub(super) fn listeners(&self) -> Option<&TunnelListeners> {
        self.listeners.as_ref()
    }

    /// Waits for an answer. Cancel safe.
    pub(super) async fn changed(&mut self) {
        let Some(answers) = &mut self.answers else {
            return std::future::pending().await;
        };
        match answers.recv().await {
            Some(listeners) => self.listeners = listeners,
            // Its task ends with the link alone.
            None => self.answers = None,
        }
    }
}

/// Talks to the tunnel's process, and tries again where that fails.
async fn talk(
    socket: PathBuf,
    mut wanted: watch::Receiver<Vec<TunnelForward>>,
    answers: mpsc::Sender<Option<TunnelListeners>>,
) {
    let mut delay = FIRST;
    let mut said = None;
    loop {
        let error = match UnixStream::connect(&socket).await {
            Ok(stream) => {
                delay = FIRST;
                wanted.mark_changed();
                converse(stream, &mut wanted, &answers).await.err()
            }
            Err(error) => Some(error),
        };
        if answers.send(None).await.is_err() {
            return;
        }
        let error = error.map_or_else(|| "it ended".to_owned(), |error| error.to_string());
        if said.as_ref() != Some(&error) {
            let path = socket.display();
            tracing::warn!(
                event = "tunnel",
                "lost the tunnel's process at {path}: {error}"
            );
            said = Some(error);
        }
        sleep(delay).await;
        delay = (delay * 2).min(LONGEST);
    }
}

async fn converse(
    stream: UnixStream,
    wanted: &mut watch::Receiver<Vec<TunnelForward>>,
    answers: &mpsc::Sender<Option<TunnelListeners>>,
) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        let left = TUNNEL_MAX_ORDER.saturating_sub(u64::try_from(line.len()).unwrap_or(u64::MAX));
        let mut bounded = (&mut lines).take(left);
        select! {
            // What was read of a line stays in it where the other arm is first.
            read = bounded.read_until(b'\n', &mut line) => {
                read?;
                if line.last() != Some(&b'\n') {
                    return Ok(());
                }
                let answer: TunnelAnswer = serde_json::from_slice(&line)?;
                line.clear();
                if answers.send(answer.listeners).await.is_err() {
                    return Ok(());
                }
            }
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let forwards = wanted.borrow_and_update().clone();
                let mut order = serde_json::to_vec(&TunnelOrder { forwards })?;
                order.push(b'\n');
                to.write_all(&order).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests;
