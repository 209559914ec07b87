//! Changes the world, one file per kind of effect. Every effect reads,
//! compares, writes and reads back; one whose end is already there does
//! nothing and is no error.

mod mtu;
pub mod saved;
mod sysctl;
mod wireguard;

use std::{path::PathBuf, time::Duration};

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
    /// A link could not be looked at.
    #[error("{name}: {error}")]
    Link {
        /// The link.
        name: String,
        /// The kernel's reason.
        error: NetlinkError,
    },
    /// A link's MTU.
    #[error("{name}: MTU {mtu}: {error}")]
    Mtu {
        /// The link.
        name: String,
        /// The MTU that was asked for.
        mtu: u32,
        /// The kernel's reason.
        error: NetlinkError,
    },
    /// A link's MTU reads back as something else.
    #[error("{name}: asked for MTU {wanted} and read back {found}")]
    MtuNotTaken {
        /// The link.
        name: String,
        /// What was asked for.
        wanted: u32,
        /// What is there.
        found: u32,
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
    /// A kernel parameter reads back as something else.
    #[error("{key}: wrote {wanted:?} and read back {found:?}")]
    SysctlNotTaken {
        /// The parameter.
        key: String,
        /// What was written.
        wanted: String,
        /// What is there.
        found: String,
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
            Self::Mtu { .. } | Self::MtuNotTaken { .. } => Code::MtuRefused,
            Self::Sysctl { .. } | Self::SysctlNotTaken { .. } => Code::SysctlRefused,
            Self::WireGuard(WireGuardError::Moved { .. }) => Code::WireguardMoved,
            Self::WireGuard(_) | Self::Link { .. } | Self::DeviceHangs { .. } => {
                Code::WireguardRefused
            }
        }
    }

    /// Whether trying the same again later can help. What the kernel refuses
    /// for good is not tried again until something changes: an agent with
    /// nothing to do sleeps.
    #[must_use]
    pub fn retry_can_help(&self) -> bool {
        use rustix::io::Errno;
        let for_good = |errno: Option<i32>| {
            errno.is_some_and(|errno| {
                [
                    Errno::PERM,
                    Errno::ACCESS,
                    Errno::ROFS,
                    Errno::INVAL,
                    Errno::NOENT,
                    Errno::OPNOTSUPP,
                ]
                .contains(&Errno::from_raw_os_error(errno))
            })
        };
        match self {
            Self::File(error) => error.retry_can_help(),
            Self::Mtu { error, .. } | Self::Link { error, .. } => !for_good(error.errno()),
            Self::Sysctl { error, .. } => !for_good(error.raw_os_error()),
            Self::WireGuard(WireGuardError::Failed { error, .. }) => {
                !for_good(error.raw_os_error())
            }
            Self::WireGuard(WireGuardError::Moved { .. }) | Self::SysctlNotTaken { .. } => false,
            Self::WireGuard(WireGuardError::Gone(_) | WireGuardError::NotTaken { .. })
            | Self::MtuNotTaken { .. }
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

/// Carries out one action inside Linux. Returns whether anything was changed:
/// what it is about may have gone since it was planned.
///
/// # Errors
/// The effect's failure; the world is then as it was, or as another owner made it.
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
        // Windows and the relay are told by src/host, off the pass: nothing here
        // waits for them.
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
