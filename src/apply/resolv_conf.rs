//! Links /etc/resolv.conf to the file that WSL writes, as WSL does when the distribution
//! starts (microsoft/WSL: src/linux/init/config.cpp, ConfigCreateResolvConfSymlink), where
//! it names no server; and undoes that.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::saved::{ResolvConfBefore, ResolvConfWas, Saved, SavedError};
use crate::{
    fs::{PathError, cannot, file, read_bounded},
    model::{ResolvFile, Resolver},
    observe::resolver,
};

/// Most bytes of a file that is kept for `wslmesh restore`: one that names no server has
/// few.
const KEPT: usize = 16 << 10;

/// Why the file was not linked, or the link not taken back.
#[derive(Debug, thiserror::Error)]
pub enum ResolvConfError {
    /// What is there is no list of servers that lost them.
    #[error("{0}; it is left as it is")]
    Left(String),
    /// WSL's own file cannot serve either.
    #[error("{} cannot serve: {why}; run `wsl.exe --shutdown` on Windows", path.display())]
    Target {
        /// WSL's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `chattr +i`.
    #[error("{} cannot be changed: run `sudo chattr -i {}`, then this again", .0.display(), .0.display())]
    Immutable(PathBuf),
    /// Another program was faster.
    #[error("{} was changed meanwhile, and is as that left it; run this again", .0.display())]
    Changed(PathBuf),
    /// What was there could not be saved.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// The system's reason.
    #[error(transparent)]
    Path(#[from] PathError),
    /// What was there could not be written again.
    #[error(transparent)]
    File(#[from] file::FileError),
}

/// Links a file that names no server to WSL's, and notes what was there.
///
/// # Errors
/// See [`ResolvConfError`]; the file is then as it was.
pub fn link(path: &Path, target: &Path, saved: &Saved) -> Result<(), ResolvConfError> {
    let found = resolver(path);
    let before = before(path, &found)?;
    let theirs = resolver(target);
    if let Some(why) = theirs.broken() {
        let why = why.replace("/etc/resolv.conf", "it");
        let path = target.to_owned();
        return Err(ResolvConfError::Target { path, why });
    }
    if found.immutable {
        return Err(ResolvConfError::Immutable(path.to_owned()));
    }
    let to = target.display().to_string();
    let was = ResolvConfWas { before, target: to };
    saved.update(|values| values.resolv_conf = Some(was))?;
    replace(path, &found, |temporary| symlink(target, temporary))?;
    match resolver(path).broken() {
        None => Ok(()),
        Some(_) => Err(ResolvConfError::Changed(path.to_owned())),
    }
}

/// What is there, as it is kept.
fn before(path: &Path, found: &Resolver) -> Result<Option<ResolvConfBefore>, ResolvConfError> {
    let Some(why) = found.broken() else {
        let text = format!("{} names a server", path.display());
        return Err(ResolvConfError::Left(text));
    };
    match (&found.file, &found.link) {
        (ResolvFile::Missing, None) => Ok(None),
        (ResolvFile::Missing, Some(to)) => Ok(Some(ResolvConfBefore::Link(to.clone()))),
        // Through a link it is another's file.
        (ResolvFile::Read(_), None) => {
            let bytes = read_bounded(path, KEPT + 1).map_err(cannot("read", path))?;
            match String::from_utf8(bytes) {
                Ok(text) if text.len() <= KEPT => Ok(Some(ResolvConfBefore::File(text))),
                _ => Err(ResolvConfError::Left(why)),
            }
        }
        _ => Err(ResolvConfError::Left(why)),
    }
}

/// Puts back what was there before the link, if that still leads where it was made to;
/// says whether it did.
///
/// # Errors
/// See [`ResolvConfError`].
pub fn unlink(path: &Path, was: &ResolvConfWas) -> Result<bool, ResolvConfError> {
    let found = resolver(path);
    if found.link.as_ref() != Some(&was.target) {
        return Ok(false);
    }
    match &was.before {
        None => fs::remove_file(path).map_err(cannot("remove", path))?,
        Some(ResolvConfBefore::Link(to)) => {
            replace(path, &found, |temporary| symlink(to, temporary))?;
        }
        Some(ResolvConfBefore::File(text)) => {
            replace(path, &found, |temporary| fs::write(temporary, text))?;
        }
    }
    Ok(true)
}

/// Puts something new into the place of what was found there, whole or not at all.
fn replace(
    path: &Path,
    found: &Resolver,
    make: impl Fn(&Path) -> io::Result<()>,
) -> Result<(), ResolvConfError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".wslmesh-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    make(&temporary).map_err(cannot("write", &temporary))?;
    let is_there = found.file != ResolvFile::Missing || found.link.is_some();
    let done = exchange(path, &temporary, found, is_there);
    // What was there, or what was made; a name that is gone already is as well.
    fs::remove_file(&temporary).unwrap_or_default();
    done
}

fn exchange(
    path: &Path,
    temporary: &Path,
    found: &Resolver,
    is_there: bool,
) -> Result<(), ResolvConfError> {
    let how = match is_there {
        true => RenameFlags::EXCHANGE,
        false => RenameFlags::NOREPLACE,
    };
    let swap = || renameat_with(CWD, temporary, CWD, path, how);
    match swap() {
        Ok(()) => {}
        Err(Errno::EXIST | Errno::NOENT) => {
            return Err(ResolvConfError::Changed(path.to_owned()));
        }
        Err(errno) => return Err(cannot("replace", path)(errno.into()).into()),
    }
    // What was taken away must be what was found.
    if is_there && resolver(temporary) != *found {
        swap().map_err(|errno| cannot("replace", path)(errno.into()))?;
        return Err(ResolvConfError::Changed(path.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
