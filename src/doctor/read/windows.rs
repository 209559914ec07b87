//! What Windows' drives show, and the way to its programs. A drive may hang, so this
//! is read apart from the rest.

use std::{env, path::Path};

use super::{
    super::facts::{Disk, Interop, Read},
    machine,
    root::Root,
};
use crate::{
    interop::{self, Drives, WslFile, ini::Ini},
    model::IdleTimeouts,
};

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
    /// What that says of stopping an idle distribution.
    pub(super) idle: Result<IdleTimeouts, String>,
    /// Files that look as if they were meant, where there is none.
    pub(super) near: Vec<String>,
    /// Whether `wslmesh host install` has left its folder there.
    pub(super) installed: bool,
    /// Its file system, with where it is mounted.
    pub(super) disk: Option<(String, Disk)>,
}

impl Drive {
    /// Nothing is known of it, for this reason.
    pub(super) fn unread(why: String) -> Self {
        Self {
            wslconfig: Err(why.clone()),
            idle: Err(why),
            near: Vec::new(),
            installed: false,
            disk: None,
        }
    }
}

/// Reads the first drive of Windows that has users.
pub(super) fn drive(root: &Root, drives: &Drives) -> Drive {
    let Some(users) = interop::Users::below(&root.0, drives) else {
        return Drive::unread(interop::NO_DRIVE.to_owned());
    };
    let wslconfig = users.wslconfig();
    let near = match wslconfig {
        // Only where there is none can another name be meant.
        Ok(Some(_)) => Vec::new(),
        Ok(None) | Err(_) => {
            let (folders, near) = (users.folders.iter(), WslFile::Config.near());
            let near = folders.flat_map(|folder| root.existing(&folder.to_string_lossy(), near));
            near.collect()
        }
    };
    let folder = users.drive.join("Program Files/wslmesh");
    Drive {
        wslconfig,
        idle: users.idle_timeouts(),
        near,
        installed: root.exists(&folder.to_string_lossy()),
        disk: machine::disk(&root.at(&users.drive.to_string_lossy()))
            .map(|disk| (users.drive.display().to_string(), disk)),
    }
}

#[cfg(test)]
mod tests;
