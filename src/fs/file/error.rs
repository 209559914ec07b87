//! Why a file could not be read or replaced, and the fix.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a file could not be read or replaced; each text names the fix.
#[derive(Debug, Error)]
pub enum FileError {
    /// A directory is in the file's place.
    #[error("{path} is a directory; move it away or configure another path")]
    IsDirectory {
        /// The file, with its symlinks resolved.
        path: PathBuf,
    },
    /// A pipe, a socket or a device is in the file's place.
    #[error(
        "{path} is no regular file but a pipe, a socket or a device; move it away or configure another path"
    )]
    NotRegular {
        /// The file, with its symlinks resolved.
        path: PathBuf,
    },
    /// The file has or would have more than [`super::MAX_SIZE`] bytes.
    #[error("{path} would be bigger than 1 MiB; shorten it or configure another path")]
    TooBig {
        /// The file, with its symlinks resolved.
        path: PathBuf,
    },
    /// Symlinks that lead to each other, or too many of them.
    #[error("{path} is a symlink that leads in a circle; point it to a file or remove it")]
    SymlinkLoop {
        /// The path as configured, or the link in it.
        path: PathBuf,
    },
    /// The directory of the file does not exist.
    #[error("the directory of {path} does not exist; make it or configure another path")]
    ParentMissing {
        /// The file, with its symlinks resolved.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Permission denied.
    #[error(
        "no permission to {doing} {path}; run as root, and look for `chattr +i` on the file and for the unit's ReadWritePaths="
    )]
    NotPermitted {
        /// The file, with its symlinks resolved.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error(
        "cannot {doing} {path} on a read-only file system; remount it read-write, allow it in the unit's ReadWritePaths= or configure another path"
    )]
    ReadOnly {
        /// The file, with its symlinks resolved.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file system or the quota is full. The old file stays.
    #[error(
        "no space left to {doing} {path}; the old file stays; free some space or raise the quota"
    )]
    NoSpace {
        /// The file, with its symlinks resolved.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is a mount point, so that nothing can be renamed over it.
    #[error(
        "{path} is a mount point and cannot be replaced; mount its directory instead of the file"
    )]
    MountPoint {
        /// The file, with its symlinks resolved.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else wrote, made or removed the file meanwhile.
    #[error("{path} was changed by somebody else meanwhile; it is left alone and looked at again")]
    Changed {
        /// The file, with its symlinks resolved.
        path: PathBuf,
    },
    /// The new file could not get what the old one has. The old file stays.
    #[error(
        "cannot keep the {attribute} of {path}; the old file stays; give the file to the user that wslmesh runs as, or give the unit CAP_CHOWN and CAP_FOWNER"
    )]
    NotKept {
        /// The file, with its symlinks resolved.
        path: PathBuf,
        /// What would be lost, such as "owner".
        attribute: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the system reports.
    #[error("cannot {doing} {path}; look for disk errors in the kernel's log")]
    Io {
        /// The file, with its symlinks resolved.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    /// Whether trying again can help although nobody did anything about it.
    pub fn retry_can_help(&self) -> bool {
        match self {
            Self::NoSpace { .. } | Self::Changed { .. } | Self::Io { .. } => true,
            Self::IsDirectory { .. }
            | Self::NotRegular { .. }
            | Self::TooBig { .. }
            | Self::SymlinkLoop { .. }
            | Self::ParentMissing { .. }
            | Self::NotPermitted { .. }
            | Self::ReadOnly { .. }
            | Self::MountPoint { .. }
            | Self::NotKept { .. } => false,
        }
    }

    /// Names what the system said while we tried to `doing` the file.
    pub(super) fn from_io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        // tempfile wraps errors, so that only the kind is there for all.
        let kind = source.kind();
        let is = |kinds: &[ErrorKind]| kinds.contains(&kind);
        if Errno::from_io_error(&source) == Some(Errno::LOOP) {
            Self::SymlinkLoop { path }
        } else if is(&[ErrorKind::StorageFull, ErrorKind::QuotaExceeded]) {
            Self::NoSpace {
                path,
                doing,
                source,
            }
        } else if is(&[ErrorKind::ReadOnlyFilesystem]) {
            Self::ReadOnly {
                path,
                doing,
                source,
            }
        } else if is(&[ErrorKind::PermissionDenied]) {
            Self::NotPermitted {
                path,
                doing,
                source,
            }
        } else if is(&[ErrorKind::NotFound, ErrorKind::NotADirectory]) {
            Self::ParentMissing { path, source }
        } else if is(&[ErrorKind::IsADirectory]) {
            Self::IsDirectory { path }
        } else if is(&[ErrorKind::ResourceBusy]) {
            Self::MountPoint { path, source }
        } else if is(&[ErrorKind::AlreadyExists]) {
            // Only the rename that must not replace anything ends here.
            Self::Changed { path }
        } else {
            Self::Io {
                path,
                doing,
                source,
            }
        }
    }
}
