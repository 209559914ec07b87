//! Why a file could not be read or replaced, and the fix.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a file could not be read or replaced; the text names the fix.
#[derive(Debug, Error)]
#[error("{}{}", fault.text(path, doing), said(source.as_ref()))]
pub struct FileError {
    /// The file, with its symlinks resolved.
    pub path: PathBuf,
    /// What was tried, as a verb.
    pub doing: &'static str,
    /// What kept it from being done.
    pub fault: Fault,
    /// What the system said.
    pub source: Option<io::Error>,
}

/// What keeps a file from being read or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A directory is in the file's place.
    IsDirectory,
    /// A pipe, a socket or a device is in the file's place.
    NotRegular,
    /// The file has or would have more than [`super::MAX_SIZE`] bytes.
    TooBig,
    /// Symlinks that lead to each other, or too many of them.
    SymlinkLoop,
    /// A symlink that another user can have made, and that could lead anywhere.
    ForeignLink,
    /// Another user can write the directory of the file, or owns it.
    ForeignFolder,
    /// The directory of the file does not exist.
    ParentMissing,
    /// Permission denied.
    NotPermitted,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The file system or the quota is full. The old file stays.
    NoSpace,
    /// The file is a mount point, so that nothing can be renamed over it.
    MountPoint,
    /// Another program wrote, made or removed the file meanwhile.
    Changed,
    /// The new file could not get this attribute of the old one, such as
    /// "owner". The old file stays.
    NotKept(&'static str),
    /// Anything else that the system reports.
    Other,
}

impl Fault {
    fn text(self, path: &Path, doing: &str) -> String {
        let folder = path.parent().unwrap_or(path).display();
        let path = path.display();
        match self {
            Self::IsDirectory => {
                format!("{path} is a directory; move it away or configure another path")
            }
            Self::NotRegular => format!(
                "{path} is no regular file but a pipe, a socket or a device; move it away or configure another path"
            ),
            Self::TooBig => {
                format!("{path} would be bigger than 1 MiB; shorten it or configure another path")
            }
            Self::SymlinkLoop => format!(
                "{path} is a symlink that leads in a circle; point it to a file or remove it"
            ),
            Self::ForeignLink => format!(
                "{path} is a symlink in a directory that users other than root can write, so it is not followed; name its target in the configuration"
            ),
            Self::ForeignFolder => format!(
                "{path} is not written, because users other than root own {folder} or can write it; run `chown root: {folder}` and `chmod go-w {folder}`, or configure another path"
            ),
            Self::ParentMissing => {
                format!("the directory of {path} does not exist; make it or configure another path")
            }
            Self::NotPermitted => format!(
                "no permission to {doing} {path}; run as root, and look for `chattr +i` on the file and for the unit's ReadWritePaths="
            ),
            Self::ReadOnly => format!(
                "cannot {doing} {path} on a read-only file system; remount it read-write, allow it in the unit's ReadWritePaths= or configure another path"
            ),
            Self::NoSpace => format!(
                "no space left to {doing} {path}; the old file stays; free some space or raise the quota"
            ),
            Self::MountPoint => format!(
                "{path} is a mount point and cannot be replaced; mount its directory instead of the file"
            ),
            Self::Changed => format!(
                "{path} was changed by another program meanwhile; left alone and read again"
            ),
            Self::NotKept(attribute) => format!(
                "cannot keep the {attribute} of {path}; the old file stays; give the file to the user that wslmesh runs as, or give the unit CAP_CHOWN and CAP_FOWNER"
            ),
            Self::Other => {
                format!("cannot {doing} {path}; look for disk errors in the kernel's log")
            }
        }
    }
}

/// The system's words with its number.
fn said(source: Option<&io::Error>) -> String {
    source
        .map(|source| format!(" [{source}]"))
        .unwrap_or_default()
}

impl FileError {
    /// An error of which the system said nothing.
    pub fn new(path: &Path, fault: Fault) -> Self {
        Self {
            path: path.to_owned(),
            doing: "replace",
            fault,
            source: None,
        }
    }

    /// Whether the system found nothing there.
    pub(super) fn is_missing(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.kind() == ErrorKind::NotFound)
    }

    /// Names what the system said while we tried to `doing` the file.
    pub(super) fn from_io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        // tempfile wraps errors, so only the kind is available for all.
        let fault = match source.kind() {
            _ if Errno::from_io_error(&source) == Some(Errno::LOOP) => Fault::SymlinkLoop,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Fault::NoSpace,
            ErrorKind::ReadOnlyFilesystem => Fault::ReadOnly,
            ErrorKind::PermissionDenied => Fault::NotPermitted,
            ErrorKind::NotFound | ErrorKind::NotADirectory => Fault::ParentMissing,
            ErrorKind::IsADirectory => Fault::IsDirectory,
            ErrorKind::ResourceBusy => Fault::MountPoint,
            // Only the rename that must not replace anything ends here.
            ErrorKind::AlreadyExists => Fault::Changed,
            _ => Fault::Other,
        };
        Self {
            doing,
            source: Some(source),
            ..Self::new(path, fault)
        }
    }
}
