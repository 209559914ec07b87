//! The temporary file beside the target, and those that a killed run left.
//!
//! A writer holds a lock (flock) on its temporary file as long as it lives; the
//! kernel drops the lock with the process. A temporary file that can be locked
//! therefore has no writer.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile};

/// The random chars at the end of a name; tempfile takes letters and digits.
const RANDOM: usize = 6;

/// How often a file is created again that another run took for stale.
const ATTEMPTS: usize = 8;

/// `.wslmesh-NAME.`, in front of the random chars.
fn prefix(target: &OsStr) -> OsString {
    let mut prefix = OsString::from(".wslmesh-");
    prefix.push(target);
    prefix.push(".");
    prefix
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
            .tempfile_in(directory)?;
        // Between making and locking it, a cleaner may get hold of it. Any other
        // failure means that there are no locks here, for cleaners neither.
        if rustix::fs::flock(temp.as_file(), FlockOperation::NonBlockingLockExclusive)
            == Err(Errno::WOULDBLOCK)
        {
            continue;
        }
        if rustix::fs::fstat(temp.as_file())?.st_nlink > 0 {
            return Ok(temp);
        }
    }
    Err(io::Error::other(
        "temporary files are removed as soon as they are made",
    ))
}

/// Removes what killed runs left for this target. What cannot be removed is
/// passed over: it does no harm, and the next run tries again.
pub(super) fn remove_stale(directory: &Path, target: &OsStr) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries
        .flatten()
        .filter(|entry| is_ours(&entry.file_name(), target))
    {
        let _removed = remove_unlocked(&entry.path());
    }
}

fn remove_unlocked(path: &Path) -> Result<(), Errno> {
    // Opening a device can have effects, so the type is looked at before.
    let listed = rustix::fs::lstat(path)?;
    if !FileType::from_raw_mode(listed.st_mode).is_file() {
        return Ok(());
    }
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // The writer may have renamed it in the meantime; with the lock in our
    // hands no writer renames it any more.
    let (opened, named) = (rustix::fs::fstat(&file)?, rustix::fs::lstat(path)?);
    if (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino) {
        rustix::fs::unlink(path)?;
    }
    Ok(())
}
