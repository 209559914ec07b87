//! Windows' `.wslconfig`, as a mounted drive shows it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    drives::Drives,
    ini::{self, Ini},
    is_wsl,
};
use crate::{
    blocking::{LIMIT, Permit, run_blocking},
    fs::read_bounded,
    model::Mode,
};

/// Most Windows users whose folders are read.
const USERS: usize = 64;

/// The folders of Windows' users, on the first drive that has some.
#[derive(Debug)]
pub(crate) struct Users {
    root: PathBuf,
    /// Where the drive is mounted.
    pub(crate) drive: PathBuf,
    /// Their folders, sorted.
    pub(crate) folders: Vec<PathBuf>,
}

impl Users {
    /// Finds them below a root, to which their paths are relative all the same; `None`
    /// where no drive with users is mounted.
    pub(crate) fn below(root: &Path, drives: &Drives) -> Option<Self> {
        let at = |path: &Path| below(root, path);
        let mut drives = ('c'..='z').map(|letter| drives.folder(letter));
        let drive = drives.find(|drive| at(&drive.join("Users")).symlink_metadata().is_ok())?;
        let folder = drive.join("Users");
        let entries = fs::read_dir(at(&folder)).into_iter().flatten().take(USERS);
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut folders: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        folders.sort();
        Some(Self {
            root: root.to_owned(),
            drive,
            folders,
        })
    }

    /// The only `.wslconfig` that can be read; `None` where there is none. Which Windows
    /// user runs this virtual machine is unknown, so of several none is used.
    ///
    /// # Errors
    /// Why it is not known what applies.
    pub(crate) fn wslconfig(&self) -> Result<Option<Ini>, String> {
        let mut found = self.folders.iter().filter_map(|folder| {
            let bytes = read_bounded(&below(&self.root, &folder.join(".wslconfig")), ini::MOST);
            Some((folder, Ini::wslconfig(&bytes.ok()?)))
        });
        let name = |folder: &PathBuf| {
            let name = folder.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        match (found.next(), found.next()) {
            (None, _) if self.folders.is_empty() => Err(format!(
                "{} shows no user of Windows",
                self.drive.join("Users").display()
            )),
            (None, _) => Ok(None),
            (Some((_, ini)), None) => Ok(Some(ini)),
            (Some((one, _)), Some((other, _))) => Err(format!(
                "{} and {} both have a .wslconfig; which one applies is unknown",
                name(one),
                name(other)
            )),
        }
    }

    /// Whether a folder of Windows' users cannot be read, so that what it has is unknown.
    fn hidden(&self) -> bool {
        self.folders.iter().any(|folder| {
            let file = below(&self.root, &folder.join(".wslconfig"));
            let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            file.symlink_metadata().is_err_and(denied)
        })
    }

    fn requested_mode(&self) -> Option<Mode> {
        match self.wslconfig().ok()? {
            Some(ini) => Some(ini.networking_mode().unwrap_or(Mode::Nat)),
            None => (!self.hidden()).then_some(Mode::Nat),
        }
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The networking mode that `.wslconfig` asks for, NAT where it names none; `None` where
/// that cannot be known.
pub async fn requested_mode(permit: Permit) -> Option<Mode> {
    if !is_wsl() {
        return None;
    }
    let read = || Users::below(Path::new("/"), &Drives::read())?.requested_mode();
    run_blocking(permit, LIMIT, read).await.ok().flatten()
}

#[cfg(test)]
mod tests;
