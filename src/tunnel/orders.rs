//! The socket by which the agent hands over the forwards of the configuration: lines of JSON,
//! [`TunnelOrder`] in and [`TunnelAnswer`] out. The last list stays when the agent goes, so
//! that its restart interrupts nothing.

use std::{
    fs,
    future::pending,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    select,
    time::sleep,
};

use super::forwards::Forwards;
use crate::model::{TUNNEL_MAX_ORDER, TunnelAnswer, TunnelOrder, tunnel_socket};

/// Between attempts to accept while there are no descriptors.
const LACK: Duration = Duration::from_secs(1);

/// Listens for the agent; `runtime` is the tunnel's or the agent's runtime directory.
pub(super) fn listen(runtime: &Path) -> Option<Socket> {
    open(tunnel_socket(runtime, "agent.sock"), 0o600)
}

/// A socket that listens, and whose file goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

impl Socket {
    /// The next connection; waits where there is a lack of something. Cancel safe.
    pub(super) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(_) => sleep(LACK).await,
            }
        }
    }
}

/// A socket of this process alone, in place of one of a process that ended. Without it the
/// tunnel works as well, and the journal says why.
pub(super) fn open(path: PathBuf, mode: u32) -> Option<Socket> {
    let name = path.display().to_string();
    let opened = try_open(path, mode);
    if let Err(error) = &opened {
        tracing::warn!(event = "tunnel", "cannot listen at {name}: {error}");
    }
    opened.ok()
}

fn try_open(path: PathBuf, mode: u32) -> io::Result<Socket> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let listener = UnixListener::bind(&path)?;
    let socket = Socket { listener, path };
    fs::set_permissions(&socket.path, fs::Permissions::from_mode(mode))?;
    Ok(socket)
}

/// Serves the agent, one connection at a time: the newest one counts.
pub(super) async fn serve(socket: Option<Socket>, forwards: Forwards) {
    let Some(socket) = socket else {
        return pending().await;
    };
    let mut current = None;
    loop {
        select! {
            stream = socket.accept() => {
                if is_same_user(&stream) {
                    current = Some(Box::pin(talk(stream, forwards.clone())));
                }
            }
            () = async { match &mut current {
                Some(talk) => talk.await,
                None => pending().await,
            }} => current = None,
        }
    }
}

/// Whether the other end is root, or who runs this.
fn is_same_user(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| [0, own].contains(&peer.uid()))
}

async fn talk(stream: UnixStream, forwards: Forwards) {
    if let Err(error) = converse(stream, &forwards).await {
        tracing::warn!(event = "tunnel", "lost the agent: {error}");
    }
}

async fn converse(stream: UnixStream, forwards: &Forwards) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    let mut listeners = forwards.listeners();
    loop {
        let left = TUNNEL_MAX_ORDER.saturating_sub(u64::try_from(line.len()).unwrap_or(u64::MAX));
        let mut bounded = (&mut lines).take(left);
        select! {
            // What was read of a line stays in it where the other arm is first.
            read = bounded.read_until(b'\n', &mut line) => {
                read?;
                if line.last() != Some(&b'\n') {
                    return match line.is_empty() {
                        true => Ok(()),
                        false => Err(io::Error::other("it sent half a line, or one that is too long")),
                    };
                }
                let order: TunnelOrder = serde_json::from_slice(&line)?;
                line.clear();
                forwards.configure(order.forwards);
            }
            listeners = listeners.next() => {
                let mut answer = serde_json::to_vec(&TunnelAnswer { listeners })?;
                answer.push(b'\n');
                to.write_all(&answer).await?;
            }
        }
    }
}
