//! Replaces a file's content atomically and keeps everything else about it.
//!
//! A reader, or a restart after a crash at any moment, finds the old content or
//! the new one, never a mixture: the new content is written to a temporary file
//! beside the target, brought to disk and renamed over it. Hard links to the
//! old file keep the old content, as with every rename.

mod attributes;
mod error;
mod temporary;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::{
    fs::{CWD, Mode, OFlags, RenameFlags, renameat_with},
    io::Errno,
};

use super::walk::{Place, Stop};
pub use error::{Fault, FileError};

/// The largest content that is read or written, in bytes (1 MiB).
pub const MAX_SIZE: usize = 1 << 20;

/// The mode of a file that did not exist, whatever the umask.
const NEW_MODE: u32 = 0o644;

/// Reads a regular file through its symlinks; None if there is none, which
/// includes a symlink without a target. Hand the content to [`replace`], which
/// notices whether another program wrote since. A symlink that another user can have
/// made is not followed.
///
/// # Errors
/// [`FileError`] when the path names something other than a regular file of
/// at most [`MAX_SIZE`] bytes, or when it cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let place = match find(path) {
        Err(error) if error.is_missing() => return Ok(None),
        place => place?,
    };
    Ok(Current::open(&place)?.map(|current| current.content))
}

/// Gives a file of our own new content, whatever it has; a file that does not
/// exist is made with this mode. As [`replace`] otherwise.
///
/// # Errors
/// See [`replace`].
pub fn write(path: &Path, new: &[u8], mode: u32) -> Result<(), FileError> {
    replace_if(path, new, mode, |_| true)
}

/// As [`write`], for a file that other users read: into a folder only that no other user can
/// write, where each of them could put another one in its place.
///
/// # Errors
/// [`Fault::ForeignFolder`]; see [`replace`].
pub fn publish(path: &Path, new: &[u8], mode: u32) -> Result<(), FileError> {
    replace_at(&find_own(path)?, new, mode, |_| true)
}

/// Removes a file that was written by [`publish`], if there is one.
///
/// # Errors
/// See [`publish`].
pub fn withdraw(path: &Path) -> Result<(), FileError> {
    let place = find_own(path)?;
    match fs::remove_file(place.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::from_io(place.shown(), "remove", error))
        }
        _ => Ok(()),
    }
}

/// Moves a damaged file aside, to a name that is free, and gives that back.
///
/// # Errors
/// The file cannot be renamed.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let mut to = path.as_os_str().to_owned();
        to.push(format!(".damaged.{number}"));
        match renameat_with(CWD, path, CWD, &to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => number += 1,
            moved => return Ok(moved.map(|()| to.into())?),
        }
    }
}

/// Gives a file new content, or makes it (mode 0644) when `expected` is None.
///
/// Mode, owner, group, POSIX ACL and SELinux label stay, and so does a symlink:
/// its target is replaced. A file that already has the new content is not
/// written. What a killed run left behind is removed. Blocks for two fsyncs.
///
/// # Errors
/// [`Fault::Changed`] when the file is not as `expected`; else what kept
/// the file from being replaced. The old file then stays as it was, and no
/// temporary file is left, except when only the sync or the read-back after
/// the rename failed.
pub fn replace(path: &Path, expected: Option<&[u8]>, new: &[u8]) -> Result<(), FileError> {
    replace_if(path, new, NEW_MODE, |found| found == expected)
}

/// Writes new content into a file that has the expected one, in place, for where it cannot
/// be replaced: Windows' drives may keep a temporary file from getting the old one's mode
/// or name, and a mount point keeps its file. A run that is killed here leaves a part of
/// each: keep the old content elsewhere before.
///
/// # Errors
/// [`Fault::Changed`] when the file has or gets another content; else what kept it from
/// being written.
pub fn overwrite(path: &Path, expected: &[u8], new: &[u8]) -> Result<(), FileError> {
    let place = find(path)?;
    let target = place.shown();
    let failed = |doing| move |source| FileError::from_io(target, doing, source);
    if content(&Current::open(&place)?) != Some(expected) {
        return Err(FileError::new(target, Fault::Changed));
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(place.path(), flags, Mode::empty());
    let mut file: File = file.map_err(|errno| failed("open")(errno.into()))?.into();
    must_be_regular(target, &file.metadata().map_err(failed("open"))?)?;
    file.write_all(new).map_err(failed("write"))?;
    file.set_len(new.len() as u64).map_err(failed("write"))?;
    file.sync_all().map_err(failed("write"))?;
    match content(&Current::open(&place)?) == Some(new) {
        true => Ok(()),
        false => Err(FileError::new(target, Fault::Changed)),
    }
}

/// Removes a file that has this content.
///
/// # Errors
/// [`Fault::Changed`] when it has another one; else what kept it from being removed.
pub fn remove(path: &Path, expected: &[u8]) -> Result<(), FileError> {
    let place = find(path)?;
    if content(&Current::open(&place)?) != Some(expected) {
        return Err(FileError::new(place.shown(), Fault::Changed));
    }
    let failed = |source| FileError::from_io(place.shown(), "remove", source);
    fs::remove_file(place.path()).map_err(failed)?;
    sync_directory(&place.folder()).map_err(failed)
}

fn replace_if(
    path: &Path,
    new: &[u8],
    mode: u32,
    expected: impl FnOnce(Option<&[u8]>) -> bool,
) -> Result<(), FileError> {
    replace_at(&find(path)?, new, mode, expected)
}

fn replace_at(
    place: &Place,
    new: &[u8],
    mode: u32,
    expected: impl FnOnce(Option<&[u8]>) -> bool,
) -> Result<(), FileError> {
    let target = place.shown();
    let current = Current::open(place)?;
    let found = content(&current);
    if found == Some(new) {
        return Ok(());
    }
    if !expected(found) {
        return Err(FileError::new(target, Fault::Changed));
    }
    if new.len() > MAX_SIZE {
        return Err(FileError::new(target, Fault::TooBig));
    }
    let failed = |doing| move |source| FileError::from_io(target, doing, source);
    let (directory, name) = (&place.folder(), place.name());
    temporary::remove_stale(directory, name);
    let temp =
        temporary::create(directory, name).map_err(failed("make a temporary file beside"))?;
    temp.as_file().write_all(new).map_err(failed("write"))?;
    match &current {
        Some(current) => attributes::copy(&current.file, temp.as_file(), target)?,
        None => attributes::set_mode(temp.as_file(), mode).map_err(failed("set the mode of"))?,
    }
    temp.as_file().sync_all().map_err(failed("write"))?;

    // Again, as late as possible: writing may have taken a while.
    if content(&Current::open(place)?) != found {
        return Err(FileError::new(target, Fault::Changed));
    }
    let renamed = match current {
        Some(_) => temp.persist(place.path()),
        None => temp.persist_noclobber(place.path()),
    };
    // Keeps the lock until we are done, so that no run takes the file for stale.
    let _written = renamed.map_err(|e| failed("replace")(e.error))?;
    sync_directory(directory).map_err(failed("bring to disk"))?;
    if content(&Current::open(place)?) == Some(new) {
        Ok(())
    } else {
        Err(FileError::new(target, Fault::Changed))
    }
}

/// An existing file, open, with its content.
struct Current {
    file: File,
    content: Vec<u8>,
}

fn content(current: &Option<Current>) -> Option<&[u8]> {
    current.as_ref().map(|current| current.content.as_slice())
}

impl Current {
    /// Opens a file that is no symlink; None if it does not exist.
    fn open(place: &Place) -> Result<Option<Self>, FileError> {
        let (path, at) = (place.shown(), place.path());
        let failed = |source| FileError::from_io(path, "read", source);
        // Opening a device can have effects, so the type is looked at before.
        let opened = match fs::symlink_metadata(&at) {
            Ok(meta) => {
                must_be_regular(path, &meta).map(|()| super::open(&at, OFlags::NOFOLLOW))?
            }
            Err(error) => Err(error),
        };
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        must_be_regular(path, &file.metadata().map_err(failed)?)?;
        let mut content = Vec::new();
        // One byte more distinguishes a file that is too big from one that just fits.
        let mut some = (&file).take(MAX_SIZE as u64 + 1);
        some.read_to_end(&mut content).map_err(failed)?;
        if content.len() > MAX_SIZE {
            return Err(FileError::new(path, Fault::TooBig));
        }
        Ok(Some(Self { file, content }))
    }
}

fn must_be_regular(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    let fault = match meta.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => Fault::IsDirectory,
        _ => Fault::NotRegular,
    };
    Err(FileError::new(path, fault))
}

/// Where a path leads, in a folder that no other user can write.
fn find_own(path: &Path) -> Result<Place, FileError> {
    let place = find(path)?;
    match place.is_in_own_folder() {
        true => Ok(place),
        false => Err(FileError::new(place.shown(), Fault::ForeignFolder)),
    }
}

/// Where a path leads.
fn find(path: &Path) -> Result<Place, FileError> {
    Place::find(path).map_err(|stop| match stop {
        Stop::ForeignLink(link) => FileError::new(&link, Fault::ForeignLink),
        Stop::Loop => FileError::new(path, Fault::SymlinkLoop),
        Stop::Folder => FileError::new(path, Fault::IsDirectory),
        // Nothing is where the path leads: the whole of it is to be corrected.
        Stop::System(_, errno @ (Errno::NOENT | Errno::NOTDIR)) => {
            FileError::from_io(path, "look up", errno.into())
        }
        Stop::System(at, errno) => FileError::from_io(&at, "look up", errno.into()),
    })
}

/// Makes a rename outlast a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // fsync(2): the file system has no such thing for a directory.
        Err(e) if Errno::from_io_error(&e) == Some(Errno::INVAL) => Ok(()),
        done => done,
    }
}
