//! Where Windows' drives are mounted, and with which masks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::ini::{self, Ini};
use crate::{fs::read_bounded, model::DrivePath};

/// WSL's own mounts behind those that users see (microsoft/WSL: util.cpp, UtilFindMount).
const INTERNAL: &str = "/run/wsl/virtiofs-mounts";

/// Windows' drives.
#[derive(Debug, Clone)]
pub struct Drives {
    mounted: Vec<Mounted>,
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
}

impl Drives {
    /// The drives that are mounted now.
    #[must_use]
    pub fn read() -> Self {
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let conf = read_bounded(Path::new("/etc/wsl.conf"), ini::MOST).unwrap_or_default();
        Self::from_files(&mountinfo, &conf)
    }

    pub(crate) fn from_files(mountinfo: &[u8], conf: &[u8]) -> Self {
        Self {
            mounted: mounted(&String::from_utf8_lossy(mountinfo)),
            root: automount_root(conf),
        }
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

/// The drives in a mountinfo (proc_pid_mountinfo(5)). Only whole drives: others mount
/// folders of one.
fn mounted(mountinfo: &str) -> Vec<Mounted> {
    let mut found: Vec<Mounted> = Vec::new();
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
        found.retain(|drive| !drive.at.starts_with(&at));
        let mut system = system.splitn(3, ' ').map(unescaped);
        let mut next = || system.next().unwrap_or_default();
        let (kind, source, options) = (next(), next(), next());
        if let Some(letter) = letter(&kind, &source, &options)
            && root == "/"
            && !at.starts_with(INTERNAL)
        {
            let masks = options.split([',', ';']).filter(|option| {
                let name = option.split('=').next().unwrap_or_default();
                matches!(name, "umask" | "fmask" | "dmask")
            });
            let masks: Vec<&str> = masks.collect();
            found.push(Mounted {
                letter,
                at,
                masks: masks.join(","),
            });
        }
    }
    found
}

/// The drive behind a mount (microsoft/WSL: util.cpp, UtilFindMount and
/// UtilParsePlan9MountSource).
fn letter(kind: &str, source: &str, options: &str) -> Option<char> {
    let drive = match kind {
        "9p" => {
            let mut options = options.split(',');
            let name = options.find_map(|option| option.strip_prefix("aname=drvfs"))?;
            let path = name.split(';').find_map(|part| part.strip_prefix("path="));
            path?.trim_end_matches(['\\', '/']).strip_suffix(':')?
        }
        "drvfs" => source.trim_end_matches(['\\', '/']).strip_suffix(':')?,
        // drvfsC, or drvfsaC where the mount has administrator rights.
        "virtiofs" => {
            let tag = source.strip_prefix("drvfs")?;
            tag.strip_prefix('a')
                .filter(|rest| !rest.is_empty())
                .unwrap_or(tag)
        }
        _ => return None,
    };
    let mut letters = drive.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_alphabetic() => Some(letter.to_ascii_lowercase()),
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
fn automount_root(conf: &[u8]) -> PathBuf {
    let conf = Ini::wsl_conf(conf);
    let root = conf.get("automount.root");
    PathBuf::from(root.filter(|root| root.starts_with('/')).unwrap_or("/mnt"))
}

#[cfg(test)]
mod tests;
