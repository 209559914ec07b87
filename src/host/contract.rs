//! What the agent and `refresh.ps1` say to each other: one JSON request on the
//! script's standard input, one JSON answer on its standard output, version 1.
//!
//! Everything that comes back is untrusted text of another system. It is checked
//! here once; past [`Answer::parse`] addresses are addresses, ports are ports,
//! paths are plain paths of a drive, and free text is short and has no control
//! characters, so that it may go to a journal.

mod answer;
mod parse;

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use self::{
    answer::{
        Answer, Conflict, FirewallAnswer, FirewallState, Installed, LowestMtu, Refusal, Refused,
        Rule, State, Taken, TakenKind,
    },
    parse::{AnswerError, object},
};
use crate::model::{Firewall, Protocol, ServedBy, SyncMode};

/// The version of the contract that this agent and its scripts speak.
pub const VERSION: u32 = 1;

/// One call of the script: the whole wanted state, never a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// Always [`VERSION`] in a request that this agent makes.
    pub version: u32,
    /// What to do.
    pub action: Action,
    /// Which of Windows' firewalls the forwards need.
    pub mode: SyncMode,
    /// The guest's own IPv4 address, where every rule leads.
    pub connect_address: Ipv4Addr,
    /// The wanted rules. Empty withdraws all rules of ours, table and firewall.
    pub forwards: Vec<ForwardRequest>,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Make our rules equal to the list in the request.
    Sync,
}

/// One wanted rule. Protocol, listen address and listen port together must be
/// unique in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ForwardRequest {
    /// TCP or UDP; UDP is never served by the port proxy.
    pub protocol: Protocol,
    /// The Windows address to listen on; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The Windows port to listen on.
    pub listen_port: NonZeroU16,
    /// The port in the guest.
    pub connect_port: NonZeroU16,
    /// Who listens: a rule of the port proxy and a firewall rule for its
    /// service, or a firewall rule alone, for the relay's program or for the guest.
    pub served_by: ServedBy,
    /// Whom the firewall is to let in.
    pub firewall: Firewall,
}

impl Request {
    /// A request that makes our rules equal to `forwards`, all towards `connect_address`.
    #[must_use]
    pub fn sync(mode: SyncMode, connect_address: Ipv4Addr, forwards: Vec<ForwardRequest>) -> Self {
        Self {
            version: VERSION,
            action: Action::Sync,
            mode,
            connect_address,
            forwards,
        }
    }

    /// The request as the script reads it: ASCII, one line, ended by a newline.
    ///
    /// # Errors
    /// None is known; serialisation hands on what serde_json reports.
    pub fn to_json_line(&self) -> Result<String, serde_json::Error> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        Ok(line)
    }
}

#[cfg(test)]
mod tests;
