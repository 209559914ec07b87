//! Asks tailscaled to look at the network again, by its own interface (LocalAPI: HTTP over a
//! Unix socket; ipn/localapi in tailscale's sources). Its root may do that, and `tailscale
//! debug restun` and `rebind` do the same. Nothing that it decides is touched.
//!
//! It sees by itself that an address changed, and within 15 s that the machine slept
//! (net/netmon); that only Windows' side of the way is another it cannot see.

use std::{io, path::Path};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::model::excerpt;

/// Where it listens.
pub const TAILSCALED: &str = "/run/tailscale/tailscaled.sock";

/// Most bytes of an answer that are read.
const MOST: u64 = 4096;

/// What it is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailscaleCall {
    /// Find out by which addresses the node is reached now.
    Restun,
    /// The same with new sockets, and check its connections to relays: as it does itself
    /// after a sleep.
    Rebind,
}

impl TailscaleCall {
    fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Restun => &["restun"],
            Self::Rebind => &["rebind", "restun"],
        }
    }
}

/// Asks the tailscaled at this socket, and waits for its answer. Says whether there is one.
///
/// # Errors
/// What it answered, or why it did not.
pub async fn ask_tailscaled(socket: &Path, call: TailscaleCall) -> Result<bool, String> {
    for action in call.actions() {
        match post(socket, action).await {
            Ok(answer) => judge(&answer)?,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(true)
}

async fn post(socket: &Path, action: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!(
        "POST /localapi/v0/debug?action={action} HTTP/1.1\r\n\
         Host: local-tailscaled.sock\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The status line (RFC 9112, section 4), and what the body says where it is no success.
fn judge(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut words = head.lines().next().unwrap_or_default().splitn(3, ' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().filter(|_| is_http);
    match status.and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        Some(status) => {
            let why = body.lines().next().unwrap_or_default();
            Err(format!("it answered {status} {}", excerpt(why)))
        }
        None => Err(format!("it answered {:?}", excerpt(head))),
    }
}

#[cfg(test)]
mod tests;
