//! Where a path leads, found folder by folder with descriptors.
//!
//! Between looking at a path and using it, who owns a folder on the way could put
//! something else there. So each folder is held open while the next one is opened in
//! it, and a symlink is followed only where no other user can have made it.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat},
    io::Errno,
};

/// Most symlinks on one path, as for the kernel (path_resolution(7)).
pub(super) const LINKS: usize = 40;

/// Write bits of group and others.
pub const OTHERS_WRITE: u32 = 0o022;

/// The sticky bit: only its owner renames or removes a file in such a folder.
pub const STICKY: u32 = 0o1000;

/// A name in a folder that is held open.
#[derive(Debug)]
pub(super) struct Place {
    folder: OwnedFd,
    name: OsString,
    /// The path without symlinks, for people.
    shown: PathBuf,
}

/// Why a path was not walked to its end; with the place where that was.
#[derive(Debug)]
pub(super) enum Stop {
    /// Another user could have made the symlink here.
    ForeignLink(PathBuf),
    /// Too many symlinks.
    Loop,
    /// The path names a folder: `/` or `..`.
    Folder,
    /// The system's reason.
    System(PathBuf, Errno),
}

impl Place {
    /// Walks a path, relative ones from the working directory. What it leads to may be
    /// missing, the folder may not.
    pub(super) fn find(path: &Path) -> Result<Self, Stop> {
        let mut folder = Folder::start(path)?;
        let mut rest = parts(path);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            let shown = folder.shown.join(&part);
            let failed = |errno| Stop::System(shown.clone(), errno);
            let entry = match folder.open(&part) {
                Ok(entry) => Some(entry),
                Err(Errno::NOENT) if rest.is_empty() => None,
                Err(errno) => return Err(failed(errno)),
            };
            let stat = entry.as_ref().map(fstat).transpose().map_err(failed)?;
            let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
            if let (Some(entry), Some(stat), Some(FileType::Symlink)) = (&entry, &stat, kind) {
                links += 1;
                if links > LINKS {
                    return Err(Stop::Loop);
                }
                let above = fstat(&folder.fd).map_err(failed)?;
                if !is_trusted(&above, stat) {
                    return Err(Stop::ForeignLink(shown));
                }
                let to = readlinkat(entry, "", Vec::new()).map_err(failed)?;
                let to = PathBuf::from(OsString::from_vec(to.into_bytes()));
                if to.is_absolute() {
                    folder = Folder::start(&to)?;
                }
                rest.extend(parts(&to));
                continue;
            }
            match entry {
                Some(fd) if part == ".." => {
                    folder.shown.pop();
                    folder.fd = fd;
                }
                Some(fd) if !rest.is_empty() => {
                    if kind != Some(FileType::Directory) {
                        return Err(failed(Errno::NOTDIR));
                    }
                    folder = Folder { fd, shown };
                }
                Some(_) | None => {
                    return Ok(Self {
                        folder: folder.fd,
                        name: part,
                        shown,
                    });
                }
            }
        }
        Err(Stop::Folder)
    }

    /// The path of the place for system calls, whatever its folder is called by now.
    pub(super) fn path(&self) -> PathBuf {
        self.folder().join(&self.name)
    }

    /// The same of its folder.
    pub(super) fn folder(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()))
    }

    /// Whether only root or our own user can put something into its folder.
    pub(super) fn is_in_own_folder(&self) -> bool {
        fstat(&self.folder).is_ok_and(|folder| is_ours(&folder) && !is_open(&folder))
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The path as people write it.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }
}

struct Folder {
    fd: OwnedFd,
    shown: PathBuf,
}

impl Folder {
    /// Where a path begins.
    fn start(path: &Path) -> Result<Self, Stop> {
        let shown = PathBuf::from(if path.is_absolute() { "/" } else { "" });
        let at = if path.is_absolute() { "/" } else { "." };
        match openat(CWD, at, HELD | OFlags::DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, shown }),
            Err(errno) => Err(Stop::System(shown, errno)),
        }
    }

    fn open(&self, part: &OsStr) -> Result<OwnedFd, Errno> {
        openat(&self.fd, part, HELD | OFlags::NOFOLLOW, Mode::empty())
    }
}

/// Held, not opened: that has no effect on a device or a pipe.
const HELD: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The parts of a path, the last one first.
pub(super) fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    let counts = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    let counted = parts.filter(counts);
    counted.map(|part| part.as_os_str().to_owned()).collect()
}

/// Whether only root or our own user can have put this link into this folder.
fn is_trusted(folder: &Stat, link: &Stat) -> bool {
    let sticky = folder.st_mode & STICKY != 0 && is_ours(link);
    is_ours(folder) && (!is_open(folder) || sticky)
}

/// Whether it belongs to root or our own user.
fn is_ours(stat: &Stat) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stat.st_uid == 0 || stat.st_uid == own
}

/// Whether others than its owner may write it.
fn is_open(stat: &Stat) -> bool {
    stat.st_mode & OTHERS_WRITE != 0
}
