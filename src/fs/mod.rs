//! Files: replaced atomically, read within bounds, and whose they are.

pub mod file;
pub mod own;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};

/// Opens a regular file for reading, through its symlinks. Nothing else is opened
/// for long: a pipe in a file's place would never end.
///
/// # Errors
/// The system's reason; [`io::ErrorKind::InvalidInput`] where it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        // A socket, or a device without a driver (open(2)).
        Err(Errno::NXIO | Errno::NODEV) => return Err(other()),
        opened => File::from(opened?),
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
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    open_regular(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
