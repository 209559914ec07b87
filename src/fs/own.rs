//! Owner and mode of wslmesh's own files and folders.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};

/// Write bits of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// Bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// Makes a file or folder root's, and lets nobody else write it; a folder that is
/// not there is made where `make` says so. What is only read stays as it is. Gives
/// back what was done, `None` where there was nothing to do.
///
/// The thing itself is opened and changed, not its name, and a link is not
/// followed: whoever may write the folder above could lead us elsewhere.
///
/// # Errors
/// The system's reason.
pub fn secure(path: &Path, make: bool) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let found = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) if make => {
            fs::create_dir_all(path)?;
            return Ok(Some(format!("made {}", path.display())));
        }
        Err(Errno::NOENT) => return Ok(None),
        found => fs::File::from(found?),
    };
    let before = found.metadata()?;
    if !before.is_file() && !before.is_dir() {
        return Err(io::Error::other("it is neither a file nor a folder"));
    }
    let mut done = Vec::new();
    if before.uid() != 0 {
        fchown(&found, Some(0), None)?;
        done.push("is root's".to_owned());
    }
    let mode = before.mode() & PERMISSIONS;
    if mode & OTHERS_WRITE != 0 {
        found.set_permissions(fs::Permissions::from_mode(mode & !OTHERS_WRITE))?;
        done.push(format!("has mode {:o}", mode & !OTHERS_WRITE));
    }
    let done = format!("{} {}", path.display(), done.join(" and "));
    Ok((before.uid() != 0 || mode & OTHERS_WRITE != 0).then_some(done))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & PERMISSIONS
    }

    #[test]
    fn modes_and_missing_folders() {
        let folder = tempfile::tempdir().unwrap();
        // Only root may give a file to root; as another user the owner is right
        // or refused.
        let root = rustix::process::geteuid().is_root();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        symlink(&file, &link).unwrap();
        assert!(secure(&link, true).is_err(), "a link was followed");
        assert_eq!(mode(&file), 0o666);
        match secure(&file, false) {
            Ok(done) => {
                assert!(root && done.unwrap().ends_with("has mode 644"));
                assert_eq!(mode(&file), 0o644);
                assert_eq!(secure(&file, false).unwrap(), None);
            }
            Err(error) => assert!(!root, "{error}"),
        }
        let state = folder.path().join("var/lib/wslmesh");
        assert_eq!(secure(&state, false).unwrap(), None);
        assert!(secure(&state, true).unwrap().unwrap().starts_with("made "));
        assert!(state.is_dir());
    }
}
