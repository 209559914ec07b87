//! Why the agent cannot run.

use std::io;

use super::election::Holder;
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
    /// An agent that was too slow to say so leads already; the next start is on standby.
    #[error("{0} already and answered late; stopping")]
    Overruled(Holder),
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
