//! Why the agent cannot run.

use std::io;

use crate::{config::ConfigError, netlink::NetlinkError};

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration has errors.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kernel's network tables are out of reach.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Signals, timers or the leader's socket.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl AgentError {
    /// Makes an error of the system's reason.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
