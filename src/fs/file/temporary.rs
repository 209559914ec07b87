//! The temporary file beside the target, and those that a killed run left.
//!
//! A writer holds a lock (flock) on its temporary file as long as it lives; the
//! kernel drops the lock with the process. A temporary file that can be locked
//! therefore has no writer.

use std::ffi::{OsStr, OsString};
use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use tempfile::{Builder, NamedTempFile};

use crate::fs::open;

/// The random chars at the end of a name; tempfile takes letters and digits.
const RANDOM: usize = 6;

/// How often a file is created again that another run took for stale.
const ATTEMPTS: usize = 8;

/// `.wslmesh-NAME.`, in front of the random chars.
fn prefix(target: &OsStr) -> OsString {
    [OsStr::new(".wslmesh-"), target, OsStr::new(".")]
        .into_iter()
        .collect()
}

/// Whether this is the name of a temporary file for that target.
fn is_ours(name: &OsStr, target: &OsStr) -> bool {
    name.as_bytes()
        .strip_prefix(prefix(target).as_bytes())
        .is_some_and(|random| {
            random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric)
        })
}

/// Makes a temporary file (O_EXCL, mode 0600) and locks it. It is deleted on
/// drop.
pub(super) fn create(directory: &Path, target: &OsStr) -> io::Result<NamedTempFile> {
    for _ in 0..ATTEMPTS {
        let temp = Builder::new()
            .prefix(&prefix(target))
            .rand_bytes(RANDOM)
            .tempfile_in(directory)
            .map_err(without_path)?;
        // Between making and locking it, a cleaner may get hold of it. Any other
        // failure means that there are no locks here, for cleaners neither.
        let taken = matches!(temp.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !taken && temp.as_file().metadata()?.nlink() > 0 {
            return Ok(temp);
        }
    }
    Err(io::Error::other(
        "temporary files are removed as soon as they are made",
    ))
}

/// tempfile's error without its path, which goes by a descriptor here.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((text, _)) => io::Error::new(error.kind(), text.to_owned()),
        None => error,
    }
}

/// Removes what killed runs left for this target. What cannot be removed is
/// passed over: it does no harm, and the next run tries again.
pub(super) fn remove_stale(directory: &Path, target: &OsStr) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if is_ours(&entry.file_name(), target) {
            let _removed = remove_unlocked(&entry.path());
        }
    }
}

fn remove_unlocked(path: &Path) -> io::Result<()> {
    // Opening a device can have effects, so the type is looked at before.
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(());
    }
    let file = open(path, OFlags::NOFOLLOW)?;
    file.try_lock()?;
    // The writer may have renamed it in the meantime; with the lock in our
    // hands no writer renames it any more.
    let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    if (opened.dev(), opened.ino()) == (named.dev(), named.ino()) {
        fs::remove_file(path)?;
    }
    Ok(())
}
