//! One call of `port.ps1`: what Windows knows of a port. It changes nothing.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    call::{CallError, call},
    json::line,
    scripts::Script,
};
use crate::{
    interop::{self, Interop, InteropError},
    model::{ForwardBackend, PlainText, Protocol, WindowsPort, or_empty},
};

/// How long all of it may take: PowerShell starts in 2 s, its parts have limits of 3 to 5 s,
/// and the firewall of guests, which is asked where an install made rules in it, one of 30 s.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whether connections are watched until they are closed, and datagrams sent.
    pub test: bool,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What listens, or should: it decides which rules of the firewall count.
    pub served_by: ForwardBackend,
    /// Where on Windows.
    pub listen_address: IpAddr,
    /// The same.
    pub listen_port: NonZeroU16,
    /// This distribution's address, where it is known.
    pub connect_address: Option<Ipv4Addr>,
    /// The port here.
    pub connect_port: NonZeroU16,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Request {
    action: &'static str,
    protocol: Protocol,
    served_by: ForwardBackend,
    listen_address: IpAddr,
    listen_port: NonZeroU16,
    connect_address: String,
    connect_port: NonZeroU16,
}

#[derive(Deserialize)]
struct Answer {
    state: State,
    detail: Option<PlainText>,
    #[serde(flatten)]
    port: WindowsPort,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Looked,
    InvalidRequest,
    Failed,
}

/// Why Windows did not tell.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// There is no Windows.
    #[error("this is not WSL, so there is no Windows to ask")]
    NotWsl,
    /// There is no answer.
    #[error("{}. {}", .0, .0.code().remediation())]
    Call(#[from] CallError),
    /// The script ended without looking.
    #[error("Windows could not look at the port: {0}")]
    Failed(PlainText),
}

impl From<InteropError> for PortError {
    fn from(error: InteropError) -> Self {
        Self::Call(error.into())
    }
}

impl Question {
    fn line(&self) -> Result<String, serde_json::Error> {
        line(&Request {
            action: if self.test { "test" } else { "look" },
            protocol: self.protocol,
            served_by: self.served_by,
            listen_address: self.listen_address,
            listen_port: self.listen_port,
            connect_address: or_empty(self.connect_address),
            connect_port: self.connect_port,
        })
    }
}

/// Asks Windows, this long at most. `state` is where it may find the script, see [`call`].
///
/// # Errors
/// There is no Windows, or no answer from it.
pub async fn ask(
    state: &Path,
    question: &Question,
    limit: Duration,
) -> Result<WindowsPort, PortError> {
    if !interop::is_wsl() {
        return Err(PortError::NotWsl);
    }
    let interop = Interop::find()?;
    let request = question.line().map_err(CallError::from)?;
    let answer = call(&interop, Script::Port, request.as_bytes(), state, limit).await;
    let answer: Answer = answer?;
    match answer.state {
        State::Looked => Ok(answer.port),
        State::InvalidRequest | State::Failed => {
            Err(PortError::Failed(answer.detail.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests;
