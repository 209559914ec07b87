//! Changes the world, one file per kind of effect. Every effect reads,
//! compares, writes and reads back; one that finds its result does nothing and
//! is no error.

mod claim;
mod clock;
mod mtu;
pub mod resolv_conf;
pub mod saved;
mod sysctl;
mod wireguard;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::io::Errno;

use crate::{
    blocking::{KeyedFlights, SingleFlight, run_blocking},
    fs::{file, file::FileError},
    model::{Action, Code, FileChange, InterfaceName},
    netlink::{Netlink, NetlinkError},
    observe::CLAIMED,
    wireguard::WireGuardError,
};

pub use clock::set_back as set_clock_back;
pub use mtu::set as set_mtu;
pub use sysctl::write as write_sysctl;
pub use wireguard::set_endpoints;

/// Why an effect failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The network file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Keepalives.
    #[error(transparent)]
    WireGuard(#[from] WireGuardError),
    /// Anything else that the kernel refused, does not answer or reads back differently.
    #[error("{what}: {why}")]
    Failed {
        /// The parameter, link or file, and what was to be done.
        what: String,
        /// How it failed.
        why: String,
        /// Whether trying the same again later can help.
        retry: bool,
        /// The health code.
        code: Code,
    },
}

impl ApplyError {
    /// The health code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::File(_) => Code::NetworkFileUnwritable,
            Self::WireGuard(WireGuardError::Moved { .. }) => Code::WireguardMoved,
            Self::WireGuard(_) => Code::WireguardRefused,
            Self::Failed { code, .. } => *code,
        }
    }

    /// Whether trying the same again later can help. What the kernel refuses
    /// for good is not retried until something changes: an agent with nothing
    /// to do sleeps.
    #[must_use]
    pub fn retry_can_help(&self) -> bool {
        match self {
            // Nothing tells the agent that a file or its folder was corrected.
            Self::File(_) => true,
            Self::WireGuard(WireGuardError::Failed { error, .. }) => !is_final(error),
            Self::WireGuard(WireGuardError::Moved { .. }) => false,
            Self::WireGuard(WireGuardError::Removed(_) | WireGuardError::NotTaken { .. }) => true,
            Self::Failed { retry, .. } => *retry,
        }
    }

    /// The kernel's refusal of a change of a link.
    fn link(what: String, error: &NetlinkError, code: Code) -> Self {
        Self::Failed {
            what,
            why: error.to_string(),
            retry: !error.refusal().is_some_and(is_final),
            code,
        }
    }
}

/// Whether the kernel will say the same until something changes. An error without an
/// errno is not the kernel's, whatever its kind: wireguard-control says "not found" of
/// an answer that is not whole.
fn is_final(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::PERM
                | Errno::ACCESS
                | Errno::ROFS
                | Errno::INVAL
                | Errno::NOENT
                | Errno::OPNOTSUPP
        )
    )
}

/// The blocking effects in flight. Clones are the same.
#[derive(Debug, Clone)]
pub struct Effects {
    files: SingleFlight,
    devices: KeyedFlights<InterfaceName>,
    ports: KeyedFlights<u16>,
    /// Of the sockets whose ports were claimed.
    claimed: PathBuf,
}

impl Effects {
    /// None yet, with a runtime directory.
    #[must_use]
    pub fn new(runtime: &Path) -> Self {
        Self {
            files: SingleFlight::default(),
            devices: KeyedFlights::default(),
            ports: KeyedFlights::default(),
            claimed: runtime.join(CLAIMED),
        }
    }
}

/// Applies one action inside Linux. Returns whether anything was changed: what it
/// is about may have been removed since it was planned.
///
/// # Errors
/// The effect's failure; the old state is then kept, or what another program set.
pub async fn apply(
    action: &Action,
    netlink: &Netlink,
    effects: &Effects,
) -> Result<bool, ApplyError> {
    match action {
        Action::WriteNetworkFile(change) => replace(&effects.files, change.clone()).await,
        Action::SetMtu(change) => mtu::set(netlink, change.index, &change.name, change.to).await,
        Action::WriteSysctl(change) => sysctl::write(&change.key, &change.to),
        Action::SetKeepalive(change) => {
            wireguard::set_keepalive(netlink, &effects.devices, change.clone()).await
        }
        Action::ClaimPort(claim) => {
            claim::claim(&effects.ports, effects.claimed.clone(), claim.clone()).await
        }
        // src/host applies these, off the pass: nothing here waits for Windows.
        Action::SyncForwards(_) | Action::SyncRelay(..) => Ok(false),
    }
}

/// Longest wait for a file to be replaced; a disk that stalls must not hold a
/// pass for ever.
const FILE_DEADLINE: Duration = Duration::from_secs(10);

/// Two fsyncs may take long on a busy disk; they wait in a thread of their own.
async fn replace(files: &SingleFlight, change: FileChange) -> Result<bool, ApplyError> {
    let path = change.path.clone();
    let call = move || file::replace(&change.path, change.before.as_deref(), &change.after);
    let done = async { run_blocking(files.begin()?, FILE_DEADLINE, call).await };
    done.await.map_err(|error| ApplyError::Failed {
        what: format!("{} was not replaced", path.display()),
        why: format!(
            "{error}; look for disk errors in the kernel's log, or raise the unit's TasksMax= if it is about a thread"
        ),
        retry: true,
        code: Code::NetworkFileUnwritable,
    })??;
    Ok(true)
}

#[cfg(test)]
mod tests;
