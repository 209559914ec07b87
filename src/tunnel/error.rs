//! Why the tunnel is not up.

use std::{io, time::Duration};

use wslmesh_relay::link::VERSION;

use super::pump::Fault;
use crate::{
    blocking::BlockingError, host::relay::RelayError, interop::InteropError, model::Code,
    netlink::NetlinkError,
};

/// Why the tunnel is not up, or went down.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// There is no device; why, with the fix.
    #[error("{0} ({1})")]
    Device(String, #[source] io::Error),
    /// There is no Windows.
    #[error("this is not WSL, so there is no Windows that could be the way out")]
    NotWsl,
    /// The switch's program cannot be found or copied.
    #[error(transparent)]
    Program(#[from] RelayError),
    /// Windows cannot be reached.
    #[error(transparent)]
    Interop(#[from] InteropError),
    /// The blocking task of its start failed.
    #[error("starting the switch: {0}")]
    Blocked(#[from] BlockingError),
    /// The socket of `--connect`.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, #[source] io::Error),
    /// The socket of the proxy.
    #[error("cannot listen at {0}: {1}")]
    Listen(String, #[source] io::Error),
    /// It did not say hello.
    #[error("the switch did not say hello within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// It is of another version.
    #[error("the switch speaks version {0} of the link, this program speaks version {VERSION}")]
    Version(u32),
    /// It refuses this program, with its reason.
    #[error("the switch refuses this program: {0}")]
    Refused(String),
    /// It owes an answer.
    #[error("the switch has not answered for {} s", .0.as_secs_f32())]
    Hung(Duration),
    /// Windows did not start it.
    #[error(
        "Windows did not start the switch ({0}): a policy such as AppLocker or Smart App Control forbids it, or its file is damaged"
    )]
    Forbidden(String),
    /// It ended, with these words.
    #[error("the switch ended: {0}")]
    Ended(String),
    /// The link failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The kernel refuses an address or a route.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The system refuses something.
    #[error("cannot {0}: {1}")]
    System(&'static str, #[source] io::Error),
}

impl TunnelError {
    /// The health code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Version(_) | Self::Refused(_) => Code::TunnelVersion,
            Self::Interop(error) => error.code(),
            Self::Program(error) => error.code(),
            _ => Code::TunnelFailed,
        }
    }

    /// Whether another attempt is in vain until something is changed here.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Device(..) | Self::NotWsl)
    }
}
