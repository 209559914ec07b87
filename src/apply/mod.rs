//! Changes the world, one file per kind of effect. Every effect reads,
//! compares, writes and reads back; one that finds its result does nothing and
//! is no error.

mod mtu;
pub mod saved;
mod sysctl;
mod wireguard;

use std::{path::PathBuf, time::Duration};

use rustix::io::Errno;

use crate::{
    blocking::{BlockingError, KeyedFlights, SingleFlight, run_blocking},
    fs::{file, file::FileError},
    model::{Action, Code, FileChange, InterfaceName},
    netlink::{Netlink, NetlinkError},
    wireguard::WireGuardError,
};

pub use mtu::set as set_mtu;
pub use sysctl::write as write_sysctl;

/// Why an effect failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The network file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A link.
    #[error("{name}: {error}")]
    Link {
        /// The link.
        name: String,
        /// The kernel's reason.
        error: NetlinkError,
        /// The health code.
        code: Code,
    },
    /// A kernel parameter.
    #[error("{key}: cannot write {value:?}: {error}")]
    Sysctl {
        /// The parameter.
        key: String,
        /// What was to be written.
        value: String,
        /// The kernel's reason.
        error: std::io::Error,
    },
    /// A value reads back as another one.
    #[error("{what}: wrote {wanted:?} and read back {found:?}")]
    ReadBack {
        /// The parameter, or the link and its MTU.
        what: String,
        /// What was written.
        wanted: String,
        /// What was read.
        found: String,
        /// The health code.
        code: Code,
    },
    /// Keepalives.
    #[error(transparent)]
    WireGuard(#[from] WireGuardError),
    /// The network file's disk stalls.
    #[error("{} was not replaced: {error}; look for disk errors in the kernel's log", path.display())]
    FileHangs {
        /// The file.
        path: PathBuf,
        /// How it ended.
        error: BlockingError,
    },
    /// A WireGuard device hangs.
    #[error("{name}: {error}")]
    DeviceHangs {
        /// The device.
        name: InterfaceName,
        /// How it ended.
        error: BlockingError,
    },
}

impl ApplyError {
    /// The health code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::File(_) | Self::FileHangs { .. } => Code::NetworkFileUnwritable,
            Self::Link { code, .. } | Self::ReadBack { code, .. } => *code,
            Self::Sysctl { .. } => Code::SysctlRefused,
            Self::WireGuard(WireGuardError::Moved { .. }) => Code::WireguardMoved,
            Self::WireGuard(_) | Self::DeviceHangs { .. } => Code::WireguardRefused,
        }
    }

    /// Whether trying the same again later can help. What the kernel refuses
    /// for good is not retried until something changes: an agent with nothing
    /// to do sleeps.
    #[must_use]
    pub fn retry_can_help(&self) -> bool {
        let passing = |errno: Option<i32>| {
            !errno.map(Errno::from_raw_os_error).is_some_and(|errno| {
                matches!(
                    errno,
                    Errno::PERM
                        | Errno::ACCESS
                        | Errno::ROFS
                        | Errno::INVAL
                        | Errno::NOENT
                        | Errno::OPNOTSUPP
                )
            })
        };
        match self {
            Self::File(error) => error.retry_can_help(),
            Self::Link { error, .. } => passing(error.errno()),
            Self::Sysctl { error, .. } | Self::WireGuard(WireGuardError::Failed { error, .. }) => {
                passing(error.raw_os_error())
            }
            Self::WireGuard(WireGuardError::Moved { .. }) => false,
            // A link may take the next MTU; a parameter does not change its mind.
            Self::ReadBack { code, .. } => *code == Code::MtuRefused,
            Self::WireGuard(WireGuardError::Removed(_) | WireGuardError::NotTaken { .. })
            | Self::FileHangs { .. }
            | Self::DeviceHangs { .. } => true,
        }
    }
}

/// The blocking effects in flight. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    files: SingleFlight,
    devices: KeyedFlights<InterfaceName>,
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
        // src/host applies these, off the pass: nothing here waits for Windows.
        Action::SyncForwards(_) | Action::SyncRelay(_) => Ok(false),
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
    done.await
        .map_err(|error| ApplyError::FileHangs { path, error })??;
    Ok(true)
}
