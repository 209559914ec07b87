//! Files whose owner and mode matter.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::{
    super::facts::{Guarded, Secrecy},
    root::Root,
};
use crate::{config::Settings, paths::Paths};

/// Most entries of a folder that are read.
const MOST: usize = 256;

/// Bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// Folders of wslmesh's own files. A configuration elsewhere (`--config`) belongs to
/// its user.
const FOLDERS: &[&str] = &["/etc/wslmesh", "/run/wslmesh", "/usr/lib/wslmesh"];

/// wslmesh's own files and folders. Who can write a folder can replace what is in
/// it, so folders count too.
pub(super) fn own(settings: Option<&Settings>, paths: &Paths) -> Vec<(String, Secrecy)> {
    let folders = [Path::new("/etc/wslmesh"), &paths.state, &paths.runtime];
    let folder = |path: &Path| (path.display().to_string(), Secrecy::OwnFolder);
    let mut own: Vec<(String, Secrecy)> = folders.into_iter().map(folder).collect();
    if let Some(settings) = settings {
        let files = settings.files.iter().chain([&settings.config_file]);
        let ours = files.filter(|file| FOLDERS.iter().any(|folder| file.starts_with(folder)));
        own.extend(ours.map(|file| (file.display().to_string(), Secrecy::Own)));
    }
    own
}

/// Owner and mode of wslmesh's own files and of private keys.
pub(super) fn guarded(root: &Root, own: &[(String, Secrecy)], home: Option<&str>) -> Vec<Guarded> {
    let one = |path: String, secrecy| Guarded {
        state: state(&root.at(&path)),
        path,
        secrecy,
    };
    let own = own.iter().map(|(path, kind)| one(path.clone(), *kind));
    let keys = keys(root, home).into_iter();
    let keys = keys.map(|path| one(path, Secrecy::Secret));
    own.chain(keys).collect()
}

/// Folders of keys that this user cannot read.
pub(super) fn hidden_keys(root: &Root, home: Option<&str>) -> Vec<String> {
    let mut folders = key_folders(home);
    folders.retain(|(folder, _)| root.is_hidden(folder));
    folders.into_iter().map(|(folder, _)| folder).collect()
}

/// Owner and mode; a link counts as its target.
fn state(path: &Path) -> Option<(u32, u32)> {
    let found = fs::metadata(path).ok()?;
    Some((found.uid(), found.mode() & PERMISSIONS))
}

/// A folder, and which names in it are private keys.
type KeyFolder = (String, fn(&str) -> bool);

/// Where private keys are and how they are named: ssh's of this user and of the
/// host, and WireGuard's configurations.
fn key_folders(home: Option<&str>) -> Vec<KeyFolder> {
    let of_user = home.map(|home| -> KeyFolder {
        (format!("{}/.ssh", home.trim_end_matches('/')), |name| {
            name.starts_with("id_") && !name.ends_with(".pub")
        })
    });
    let of_host: [KeyFolder; 2] = [
        ("/etc/ssh".to_owned(), |name| {
            name.starts_with("ssh_host_") && name.ends_with("_key")
        }),
        ("/etc/wireguard".to_owned(), |name| name.ends_with(".conf")),
    ];
    of_user.into_iter().chain(of_host).collect()
}

fn keys(root: &Root, home: Option<&str>) -> Vec<String> {
    let mut keys = Vec::new();
    for (folder, is_key) in key_folders(home) {
        let names = root.names(&folder, MOST).into_iter();
        let ours = names.filter(|name| is_key(name));
        keys.extend(ours.map(|name| format!("{folder}/{name}")));
    }
    keys
}

#[cfg(test)]
mod tests;
