//! Owners and modes: who may change a file.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::walk::{LINKS, parts};
pub use super::walk::{OTHERS_WRITE, STICKY};

/// Bits of a mode that are permissions.
pub const PERMISSIONS: u32 = 0o7777;

/// Takes write permission of a file or folder of root from all others; a missing folder
/// is created if `make` says so. Other permissions stay. Returns what was done, `None` if
/// nothing had to be. What belongs to another user is refused: giving it to root would
/// make root trust what that user wrote.
///
/// The file itself is opened and changed, not its name, and a link is not
/// followed: a user who may write the folder above could lead us elsewhere.
///
/// # Errors
/// The system's reason.
pub fn secure(path: &Path, make: bool) -> io::Result<Option<String>> {
    let found = match super::open(path, OFlags::NOFOLLOW) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
            fs::create_dir_all(path)?;
            return Ok(Some(format!("made {}", path.display())));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    let before = found.metadata()?;
    if !before.is_file() && !before.is_dir() {
        return Err(io::Error::other("it is neither a file nor a folder"));
    }
    if before.uid() != 0 {
        let (uid, path) = (before.uid(), path.display());
        return Err(io::Error::other(format!(
            "belongs to user {uid}: look at what is in it, then run `chown root: {path}` or remove it"
        )));
    }
    let mode = before.mode() & PERMISSIONS;
    if mode & OTHERS_WRITE == 0 {
        return Ok(None);
    }
    let mode = mode & !OTHERS_WRITE;
    found.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(Some(format!("{} has mode {mode:o}", path.display())))
}

/// Who may be able to change a file that is trusted.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The user besides root.
    pub owner: u32,
    /// Folders above this one are not checked.
    pub top: PathBuf,
}

impl Trust {
    /// Root alone, from `/` on.
    pub fn root() -> Self {
        Self {
            owner: 0,
            top: PathBuf::from("/"),
        }
    }
}

/// Where a path leads, all symlinks resolved, if no other user can change that:
/// each folder on the way is checked, from `/` on, that of a symlink too. A
/// sticky folder such as /tmp is no better than another that others can write.
/// It blocks where a symlink leads to a file system that does not answer.
///
/// # Errors
/// Why it is not to be trusted, and the fix.
pub fn resolve_trusted(path: &Path, trust: &Trust) -> Result<PathBuf, String> {
    let nowhere =
        |error: io::Error| format!("it leads nowhere: {error} (the agent sees no home directory)");
    let mut at = PathBuf::from("/");
    let mut rest = parts(path);
    let mut links = 0;
    only_owner_writes(&at, &fs::metadata(&at).map_err(nowhere)?, trust)?;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let meta = fs::symlink_metadata(&next).map_err(nowhere)?;
        if meta.is_symlink() {
            links += 1;
            if links > LINKS {
                return Err("it leads nowhere: too many symlinks".to_owned());
            }
            let to = fs::read_link(&next).map_err(nowhere)?;
            if to.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.extend(parts(&to));
            continue;
        }
        if meta.is_dir() {
            only_owner_writes(&next, &meta, trust)?;
        }
        at = next;
    }
    Ok(at)
}

/// Checks that only a trusted user may write this file or folder.
///
/// # Errors
/// Who else may, and the fix.
pub fn only_owner_writes(path: &Path, meta: &Metadata, trust: &Trust) -> Result<(), String> {
    if path != trust.top && trust.top.starts_with(path) {
        return Ok(());
    }
    let shown = path.display();
    // A folder of root's above is as good as one of the owner's.
    if meta.uid() != trust.owner && meta.uid() != 0 {
        return Err(format!(
            "{shown} belongs to uid {} and not to root (chown root {shown})",
            meta.uid()
        ));
    }
    if meta.mode() & OTHERS_WRITE != 0 {
        return Err(format!(
            "{shown} is writable by others than its owner (chmod go-w {shown})"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
