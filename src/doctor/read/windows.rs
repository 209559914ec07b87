//! What Windows' drives show, and the way to its programs. A drive may hang, so this
//! is read apart from the rest.

use std::{env, path::Path};

use super::{
    super::facts::{Interop, Read},
    root::Root,
};
use crate::interop::{
    self, Drives,
    ini::{self, Ini},
};

/// Most Windows users whose folders are read.
const USERS: usize = 64;

/// The way to Windows programs, without calling one.
pub(super) fn interop(root: &Root) -> Interop {
    let found = interop::Interop::find();
    Interop {
        entry: ["WSLInterop", "WSLInterop-late"].iter().find_map(|name| {
            let state = root.line(&format!("/proc/sys/fs/binfmt_misc/{name}"))?;
            Some(((*name).to_owned(), state == "enabled"))
        }),
        init: root.exists("/init"),
        way: found
            .map(|way| way.to_string())
            .map_err(|error| (error.code(), error.to_string())),
        named: env::var("WSL_INTEROP").ok().map(|path| {
            let exists = Path::new(&path).exists();
            (path, exists)
        }),
    }
}

/// What a Windows drive shows.
pub(super) struct Drive {
    pub(super) wslconfig: Read<Ini>,
    /// Files that look as if they were meant, where there is none.
    pub(super) near: Vec<String>,
    /// Whether `wslmesh host install` has left its folder there.
    pub(super) installed: bool,
}

impl Drive {
    /// Nothing is known of it, for this reason.
    pub(super) fn unread(why: String) -> Self {
        Self {
            wslconfig: Err(why),
            near: Vec::new(),
            installed: false,
        }
    }
}

/// Names that WSL does not read and that editors and guides make of `.wslconfig`.
const NEAR: &[&str] = &[
    ".wslconfig.txt",
    "wslconfig",
    "wslconfig.txt",
    ".wslconf",
    ".wsl.conf",
];

/// Reads the first drive of Windows that has users.
pub(super) fn drive(root: &Root, drives: &Drives) -> Drive {
    let folder = |letter| drives.folder(letter).to_string_lossy().into_owned();
    let mut drives = ('c'..='z').map(folder);
    match drives.find(|drive| root.exists(&format!("{drive}/Users"))) {
        Some(drive) => {
            let (wslconfig, near) = wslconfig(root, &drive);
            Drive {
                wslconfig,
                near,
                installed: root.exists(&format!("{drive}/Program Files/wslmesh")),
            }
        }
        None => Drive::unread("no Windows drive is mounted here".to_owned()),
    }
}

/// The only `.wslconfig` that can be read, and files that look as if they were meant
/// where there is none. Which Windows user runs this virtual machine is unknown, so of
/// several none is used.
fn wslconfig(root: &Root, drive: &str) -> (Read<Ini>, Vec<String>) {
    let folder = format!("{drive}/Users");
    let users = root.names(&folder, USERS);
    let mut found = users.iter().filter_map(|user| {
        let bytes = root.bytes(&format!("{folder}/{user}/.wslconfig"), ini::MOST);
        Some((user, Ini::wslconfig(&bytes.ok()??)))
    });
    let file = match (found.next(), found.next()) {
        (None, _) if users.is_empty() => Err(format!("{folder} shows no user of Windows")),
        (None, _) => Ok(None),
        (Some((_, ini)), None) => return (Ok(Some(ini)), Vec::new()),
        (Some((one, _)), Some((other, _))) => Err(format!(
            "{one} and {other} both have a .wslconfig; which one applies is unknown"
        )),
    };
    let near = users.iter();
    let near = near.flat_map(|user| root.existing(&format!("{folder}/{user}"), NEAR));
    (file, near.collect())
}

#[cfg(test)]
mod tests;
