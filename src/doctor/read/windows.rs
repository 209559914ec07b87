//! What Windows' drives show, and the way to its programs. A drive may hang, so this
//! is read apart from the rest.

use std::{env, path::Path};

use super::{
    super::facts::{Interop, Read},
    root::Root,
};
use crate::interop::{
    self,
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

/// The .wslconfig on a Windows drive mounted below this folder, and whether
/// `wslmesh host install` has left its folder there.
pub(super) fn drive(root: &Root, mounts: &str) -> (Read<Ini>, bool) {
    let mounts = mounts.trim_end_matches('/');
    let mut drives = ('c'..='z').map(|letter| format!("{mounts}/{letter}"));
    match drives.find(|drive| root.exists(&format!("{drive}/Users"))) {
        Some(drive) => (
            wslconfig(root, &drive),
            root.exists(&format!("{drive}/Program Files/wslmesh")),
        ),
        None => (Err("no Windows drive is mounted here".to_owned()), false),
    }
}

/// The only `.wslconfig` that can be read. Which Windows user runs this virtual
/// machine is unknown, so of several none is used.
fn wslconfig(root: &Root, drive: &str) -> Read<Ini> {
    let folder = format!("{drive}/Users");
    let users = root.names(&folder, USERS);
    let mut found = users.iter().filter_map(|user| {
        let bytes = root.bytes(&format!("{folder}/{user}/.wslconfig"), ini::MOST);
        Some((user, Ini::decode(&bytes.ok()??)))
    });
    match (found.next(), found.next()) {
        (None, _) if users.is_empty() => Err(format!("{folder} shows no user of Windows")),
        (Some((one, _)), Some((other, _))) => Err(format!(
            "{one} and {other} both have a .wslconfig; which one applies is unknown"
        )),
        (found, _) => Ok(found.map(|(_, ini)| ini)),
    }
}

#[cfg(test)]
mod tests;
