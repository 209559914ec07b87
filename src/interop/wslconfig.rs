//! Windows' `.wslconfig`, as a mounted drive shows it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};

use super::{
    drives::Drives,
    ini::{self, Ini, integer},
    is_wsl,
};
use crate::{
    blocking::{LIMIT, Permit, run_blocking},
    fs::read_bounded,
    model::{IdleTimeouts, Mode},
};

/// Most Windows users whose folders are read.
const USERS: usize = 64;

/// Why nothing is known of a file on Windows.
pub(crate) const NO_DRIVE: &str = "no Windows drive is mounted here";

/// The file's name.
const FILE: &str = ".wslconfig";

/// Folders beside those of people, in lower case.
const NO_PEOPLE: [&str; 5] = [
    "all users",
    "default",
    "default user",
    "public",
    "wsiaccount",
];

/// The folders of Windows' users, on the first drive that has some.
#[derive(Debug)]
pub(crate) struct Users {
    root: PathBuf,
    /// Its letter on Windows.
    letter: char,
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
        let mut drives = ('c'..='z').map(|letter| (letter, drives.folder(letter)));
        let has_users = |drive: &Path| at(&drive.join("Users")).symlink_metadata().is_ok();
        let (letter, drive) = drives.find(|(_, drive)| has_users(drive))?;
        let folder = drive.join("Users");
        let entries = fs::read_dir(at(&folder)).into_iter().flatten().take(USERS);
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut folders: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        folders.sort();
        Some(Self {
            root: root.to_owned(),
            letter,
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
        Ok(self.only()?.map(|(_, ini)| ini))
    }

    /// What it says of stopping an idle distribution.
    ///
    /// # Errors
    /// As [`Users::wslconfig`].
    pub(crate) fn idle_timeouts(&self) -> Result<IdleTimeouts, String> {
        let Some((folder, ini)) = self.only()? else {
            let file = format!("%UserProfile%\\{FILE}");
            return Ok(IdleTimeouts {
                file,
                ..IdleTimeouts::default()
            });
        };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let letter = self.letter.to_ascii_uppercase();
        let timeout = |key| ini.get(key).and_then(integer);
        Ok(IdleTimeouts {
            file: format!("{letter}:\\Users\\{name}\\{FILE}"),
            instance_ms: timeout("general.instanceIdleTimeout"),
            machine_ms: timeout("wsl2.vmIdleTimeout"),
            changed: is_later(&below(&self.root, &folder.join(FILE)), machine_start()),
        })
    }

    fn only(&self) -> Result<Option<(&PathBuf, Ini)>, String> {
        let mut found = self.folders.iter().filter_map(|folder| {
            let bytes = read_bounded(&below(&self.root, &folder.join(FILE)), ini::MOST);
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
            (Some(found), None) => Ok(Some(found)),
            (Some((one, _)), Some((other, _))) => Err(format!(
                "{} and {} both have a .wslconfig; which one applies is unknown",
                name(one),
                name(other)
            )),
        }
    }

    /// Where the `.wslconfig` to show or edit is, or would be: that of the named user of
    /// Windows, else the only one, else in the only user's folder.
    ///
    /// # Errors
    /// Which one it is cannot be known.
    fn place(&self, user: Option<&str>) -> Result<PathBuf, PlaceError> {
        let name = |folder: &&PathBuf| {
            let name = folder.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        let at = |folder: &PathBuf| below(&self.root, folder);
        let people = self.folders.iter().filter(|folder| {
            let is_folder = at(folder)
                .symlink_metadata()
                .is_ok_and(|meta| meta.is_dir());
            is_folder && !NO_PEOPLE.contains(&name(folder).to_ascii_lowercase().as_str())
        });
        let people: Vec<&PathBuf> = people.collect();
        let names = |of: &[&PathBuf]| of.iter().map(name).collect::<Vec<_>>().join(", ");
        let chosen = if let Some(user) = user {
            let mut named = people
                .iter()
                .filter(|folder| name(folder).eq_ignore_ascii_case(user));
            let named = named.next().copied();
            named.ok_or_else(|| PlaceError::Unknown(user.to_owned(), names(&people)))?
        } else {
            let file = |folder: &PathBuf| at(folder).join(FILE).symlink_metadata();
            let denied = |folder: &&PathBuf| {
                file(folder).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
            };
            // Windows shows another user's folder to its administrators alone.
            let open: Vec<&PathBuf> = people.iter().copied().filter(|one| !denied(one)).collect();
            let with: Vec<&PathBuf> = open
                .iter()
                .copied()
                .filter(|one| file(one).is_ok())
                .collect();
            match (with.as_slice(), open.as_slice()) {
                ([only], _) | ([], [only]) => *only,
                ([], []) if people.is_empty() => {
                    return Err(PlaceError::NoUser(self.drive.join("Users")));
                }
                ([], []) => return Err(PlaceError::Denied(names(&people))),
                ([], several) | (several, _) => return Err(PlaceError::Several(names(several))),
            }
        };
        Ok(chosen.join(FILE))
    }

    /// Whether a folder of Windows' users cannot be read, so that what it has is unknown.
    fn hidden(&self) -> bool {
        self.folders.iter().any(|folder| {
            let file = below(&self.root, &folder.join(FILE));
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

/// When the virtual machine started. The elapsed time does not grow while Windows sleeps, so
/// the time it gives may be too late; the kernel made its device files at the start, and
/// nothing sets their time of change later.
fn machine_start() -> Option<SystemTime> {
    let elapsed = clock_gettime(ClockId::Boottime);
    let elapsed = Duration::from_secs(elapsed.tv_sec.try_into().ok()?);
    let by_clock = SystemTime::now().checked_sub(elapsed)?;
    let device = fs::metadata("/dev/null").and_then(|meta| meta.modified());
    Some(device.map_or(by_clock, |device| device.min(by_clock)))
}

/// Whether a file was changed after that; where its time is unknown it was not.
fn is_later(file: &Path, start: Option<SystemTime>) -> bool {
    let modified = fs::metadata(file).and_then(|meta| meta.modified());
    modified.is_ok_and(|modified| start.is_some_and(|start| modified > start))
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Why it is not known which `.wslconfig` is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No drive with users.
    #[error(
        "no Windows drive with users is mounted here: look for `enabled=false` in the section [automount] of /etc/wsl.conf, or run `sudo mount -t drvfs C: /mnt/c`"
    )]
    NoDrive,
    /// No user's folder.
    #[error("{} shows no user of Windows: the drive does not answer, or this user may not read it", .0.display())]
    NoUser(PathBuf),
    /// All folders are closed.
    #[error("this user may read none of the Windows users' folders ({0}); run it with sudo")]
    Denied(String),
    /// One of them.
    #[error(
        "several users of Windows may be meant ({0}); name the one that runs WSL with --user NAME"
    )]
    Several(String),
    /// No such user.
    #[error("Windows has no user's folder {0:?}; it has {1}")]
    Unknown(String, String),
}

/// Where `.wslconfig` is, or would be.
///
/// # Errors
/// See [`PlaceError`].
pub fn wslconfig_place(user: Option<&str>) -> Result<PathBuf, PlaceError> {
    let users = Users::below(Path::new("/"), &Drives::read());
    users.ok_or(PlaceError::NoDrive)?.place(user)
}

/// The folder of programs of the Windows user who runs WSL: the one to which the agent has
/// copied the relay before, else that of [`wslconfig_place`]. Blocks.
///
/// # Errors
/// See [`PlaceError`].
pub fn local_app_data() -> Result<PathBuf, PlaceError> {
    let users = Users::below(Path::new("/"), &Drives::read()).ok_or(PlaceError::NoDrive)?;
    let of = |folder: &Path| folder.join("AppData/Local");
    let mut known = users.folders.iter().map(|folder| of(folder));
    let mut known = known
        .by_ref()
        .filter(|folder| folder.join("wslmesh").is_dir());
    if let (Some(only), None) = (known.next(), known.next()) {
        return Ok(only);
    }
    let file = users.place(None)?;
    Ok(of(file.parent().unwrap_or(&file)))
}

/// What `.wslconfig` says of stopping an idle distribution. Blocks.
///
/// # Errors
/// Why that is unknown.
pub fn idle_timeouts() -> Result<IdleTimeouts, String> {
    let users = Users::below(Path::new("/"), &Drives::read());
    users.ok_or(NO_DRIVE)?.idle_timeouts()
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
