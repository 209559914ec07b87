//! Files: replaced atomically, read within bounds, and whose they are.

pub mod file;
pub mod history;
pub mod own;
mod walk;

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// Opens for reading, and waits for no one to open the other end of a pipe.
///
/// # Errors
/// The system's reason.
pub fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Opens a regular file for reading, through its symlinks. Nothing else is opened
/// for long: a pipe in a file's place would never end.
///
/// # Errors
/// The system's reason; [`io::ErrorKind::InvalidInput`] where it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    let file = match open(path, OFlags::empty()) {
        // A socket, or a device without a driver (open(2)).
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NXIO | Errno::NODEV)) => {
            return Err(other());
        }
        opened => opened?,
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(other())
    }
}

/// The first `most` bytes of a regular file.
///
/// # Errors
/// See [`open_regular`].
pub fn read_bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What could not be done with a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct PathError {
    /// What was tried, as a verb.
    pub doing: &'static str,
    /// With which path.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

/// Names what was tried, and with which path, for a reason of the system's.
pub fn cannot(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> PathError {
    move |source| PathError {
        doing,
        path: path.to_owned(),
        source,
    }
}
