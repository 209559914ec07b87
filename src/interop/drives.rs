//! Where Windows' drives are mounted, and with which masks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::ini::{self, Ini};
use crate::{
    fs::read_bounded,
    model::{DrivePath, guid},
};

/// WSL's own mounts behind those that users see (microsoft/WSL: util.cpp, UtilFindMount).
const INTERNAL: &str = "/run/wsl/virtiofs-mounts";

/// Links from the names of virtiofs shares, which are GUIDs since WSL 2.8, to what they
/// show (microsoft/WSL: drvfs.cpp, SaveVirtiofsTagMapping).
const SHARES: &str = "run/wsl/virtiofs";

/// Most bytes of a mountinfo that are read.
const MOUNTINFO: usize = 4 << 20;

/// Windows' drives.
#[derive(Debug, Clone)]
pub struct Drives {
    mounted: Vec<Mounted>,
    /// Mounts of a drive's folder: by fstab, or of a container.
    parts: Vec<Mounted>,
    /// A drive that no mount names is looked for here, by its letter.
    root: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    /// In lower case.
    letter: char,
    at: PathBuf,
    /// The options that decide who may do what, as `umask=77,fmask=11`.
    masks: String,
    /// Whether Linux' owners and modes are kept there; elsewhere `chmod` has no effect.
    metadata: bool,
}

impl Drives {
    /// The drives that are mounted now.
    #[must_use]
    pub fn read() -> Self {
        Self::below(Path::new("/"))
    }

    /// The same from the files below a root.
    pub(crate) fn below(root: &Path) -> Self {
        let mountinfo = read_bounded(&root.join("proc/self/mountinfo"), MOUNTINFO);
        Self::of_process(&mountinfo.unwrap_or_default(), root)
    }

    /// Those that a process of another mount namespace has, by its mountinfo.
    pub(crate) fn of_process(mountinfo: &[u8], root: &Path) -> Self {
        let shown = |share: &str| {
            let to = fs::read_link(root.join(SHARES).join(share)).ok()?;
            Some(to.to_string_lossy().into_owned())
        };
        let conf = read_bounded(&root.join("etc/wsl.conf"), ini::MOST).unwrap_or_default();
        Self::of(mountinfo, &conf, shown)
    }

    /// The same from these files; `shown` is what a virtiofs share shows.
    pub(crate) fn of(
        mountinfo: &[u8],
        conf: &[u8],
        shown: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let conf = Ini::wsl_conf(conf);
        let options = conf.get("automount.options").unwrap_or_default();
        let mountinfo = String::from_utf8_lossy(mountinfo);
        let all = mounted(&mountinfo, has_metadata(options), shown);
        let (mounted, parts) = all.into_iter().partition(|(_, is_whole)| *is_whole);
        let plain = |all: Vec<(Mounted, bool)>| all.into_iter().map(|(one, _)| one).collect();
        Self {
            mounted: plain(mounted),
            parts: plain(parts),
            root: automount_root(&conf),
        }
    }

    /// Whether none is mounted.
    pub(crate) fn none(&self) -> bool {
        self.mounted.is_empty()
    }

    /// Whether a path is on one of them.
    pub(crate) fn hold(&self, path: &str) -> bool {
        self.of_path(path).is_some()
    }

    fn of_path(&self, path: &str) -> Option<&Mounted> {
        let mut all = self.parts.iter().chain(&self.mounted);
        all.find(|drive| Path::new(path).starts_with(&drive.at))
    }

    /// The drive of a path where `chmod` has no effect, as `C: (/mnt/c)`.
    pub(crate) fn without_metadata(&self, path: &str) -> Option<String> {
        let drive = self.of_path(path).filter(|drive| !drive.metadata)?;
        let letter = drive.letter.to_ascii_uppercase();
        Some(format!("{letter}: ({})", drive.at.display()))
    }

    /// The folder of a drive: where it is mounted, else where WSL would mount it.
    pub(crate) fn folder(&self, letter: char) -> PathBuf {
        let letter = letter.to_ascii_lowercase();
        let mounted = self.mounted.iter().find(|drive| drive.letter == letter);
        let guess = || self.root.join(letter.to_string());
        mounted.map_or_else(guess, |drive| drive.at.clone())
    }

    /// Where a path of a drive is in Linux.
    #[must_use]
    pub fn on_linux(&self, path: &DrivePath) -> PathBuf {
        path.on_linux(&self.folder(path.letter()))
    }

    /// The folder in which WSL mounts drives.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Why root may not use a path of a drive, for people.
    #[must_use]
    pub fn reason(&self, path: &Path) -> String {
        let mut drives = self.mounted.iter();
        match drives.find(|drive| path.starts_with(&drive.at) && !drive.masks.is_empty()) {
            Some(drive) => format!("the drive is mounted with {}", drive.masks),
            None => "the drive belongs to the default user".to_owned(),
        }
    }
}

/// Whether mount options of drives keep Linux' owners and modes (Microsoft Learn: "Advanced
/// settings configuration in WSL", automount options).
fn has_metadata(options: &str) -> bool {
    options
        .split([',', ';'])
        .any(|option| option.trim() == "metadata")
}

/// The drives in a mountinfo (proc_pid_mountinfo(5)), and whether each is a whole one: others
/// mount folders of one. `metadata` is what /etc/wsl.conf says, where a mount does not.
fn mounted(
    mountinfo: &str,
    metadata: bool,
    shown: impl Fn(&str) -> Option<String>,
) -> Vec<(Mounted, bool)> {
    let mut found: Vec<(Mounted, bool)> = Vec::new();
    for line in mountinfo.lines() {
        let Some((place, system)) = line.split_once(" - ") else {
            continue;
        };
        let mut place = place.split(' ').skip(3);
        let (Some(root), Some(at)) = (place.next(), place.next()) else {
            continue;
        };
        let at = PathBuf::from(unescaped(at));
        // A later mount hides what was there.
        found.retain(|(drive, _)| !drive.at.starts_with(&at));
        let mut system = system.splitn(3, ' ').map(unescaped);
        let mut next = || system.next().unwrap_or_default();
        let (kind, source, options) = (next(), next(), next());
        let shown = |share: &str| shown(guid(share).is_some().then_some(share)?);
        if let Some((letter, is_whole)) = letter(&kind, &source, root, &options, shown)
            && !at.starts_with(INTERNAL)
        {
            let masks = options.split([',', ';']).filter(|option| {
                let name = option.split('=').next().unwrap_or_default();
                matches!(name, "umask" | "fmask" | "dmask")
            });
            let masks: Vec<&str> = masks.collect();
            let drive = Mounted {
                letter,
                at,
                masks: masks.join(","),
                // Virtiofs leaves it to Windows' end (microsoft/WSL: drvfs.cpp, MountVirtioFs).
                metadata: match kind.as_str() {
                    "9p" => has_metadata(&options),
                    _ => metadata || has_metadata(&options),
                },
            };
            found.push((drive, is_whole));
        }
    }
    found
}

/// The drive behind a mount, and whether it is all of it (microsoft/WSL: util.cpp,
/// UtilFindMount and UtilParsePlan9MountSource; drvfs.cpp, QueryVirtiofsMountSource).
fn letter(
    kind: &str,
    source: &str,
    root: &str,
    options: &str,
    shown: impl Fn(&str) -> Option<String>,
) -> Option<(char, bool)> {
    let (shows, root) = match kind {
        "9p" => {
            let mut options = options.split(',');
            let name = options.find_map(|option| option.strip_prefix("aname=drvfs"))?;
            let path = name
                .split(';')
                .find_map(|part| part.strip_prefix("path="))?;
            (path.to_owned(), root)
        }
        "drvfs" => (source.to_owned(), root),
        // A folder of the device that has all shares (WSL after 2.9.4).
        "virtiofs" if matches!(source, "drvfs" | "drvfsa") => {
            let (share, folder) = root.strip_prefix('/')?.split_once('/').unzip();
            let share = share.or_else(|| root.strip_prefix('/'))?;
            (shown(share)?, folder.unwrap_or("/"))
        }
        // A share whose name is a GUID; before WSL 2.8 drvfsC1, or drvfsaC1 where it has
        // administrator rights, by letter and number.
        "virtiofs" => match source.strip_prefix("drvfs") {
            Some(tag) => {
                let tag = tag.trim_end_matches(|c: char| c.is_ascii_digit());
                let letter = tag.strip_prefix('a').filter(|rest| !rest.is_empty());
                (format!("{}:", letter.unwrap_or(tag)), root)
            }
            None => (shown(source)?, root),
        },
        _ => return None,
    };
    let (drive, folder) = shows.split_once(':')?;
    let is_whole = root == "/" && folder.trim_end_matches(['\\', '/']).is_empty();
    let mut letters = drive.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_alphabetic() => {
            Some((letter.to_ascii_lowercase(), is_whole))
        }
        _ => None,
    }
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                plain.push(char::from(code));
                plain.push_str(rest);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The folder in which WSL mounts drives: `[automount] root=` of /etc/wsl.conf, else
/// /mnt.
fn automount_root(conf: &Ini) -> PathBuf {
    let root = conf.get("automount.root");
    PathBuf::from(root.filter(|root| root.starts_with('/')).unwrap_or("/mnt"))
}

#[cfg(test)]
mod tests;
