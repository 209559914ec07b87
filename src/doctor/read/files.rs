//! Files whose owner and mode matter.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::{
    super::facts::{Guarded, Secrecy},
    root::Root,
};
use crate::{config::Settings, fs::own::PERMISSIONS, paths::Paths};

/// Most entries of a folder that are read.
const MOST: usize = 256;

/// Folders of wslmesh's own files. A configuration elsewhere (`--config`) belongs to
/// its user.
const FOLDERS: &[&str] = &["/etc/wslmesh", "/run/wslmesh", "/usr/lib/wslmesh"];

/// wslmesh's own files and folders. Who can write a folder can replace what is in
/// it, so folders count too.
pub(super) fn own(settings: Option<&Settings>, paths: &Paths) -> Vec<(String, Secrecy)> {
    let folders = [Path::new("/etc/wslmesh"), &paths.state, &paths.runtime];
    let folders = folders.map(|path| (path, Secrecy::OwnFolder));
    let files = settings.into_iter().flat_map(|settings| {
        let files = settings.files.iter().chain([&settings.config_file]);
        files.filter(|file| FOLDERS.iter().any(|folder| file.starts_with(folder)))
    });
    let files = files.map(|file| (file.as_path(), Secrecy::Own));
    let own = folders.into_iter().chain(files);
    own.map(|(path, secrecy)| (path.display().to_string(), secrecy))
        .collect()
}

/// Owner and mode of wslmesh's own files and of private keys.
pub(super) fn guarded(root: &Root, own: &[(String, Secrecy)], home: Option<&str>) -> Vec<Guarded> {
    let keys = key_folders(home).flat_map(|(folder, start, end)| {
        let mut names = root.names(&folder, MOST);
        names.retain(|name| {
            name.starts_with(start) && name.ends_with(end) && !name.ends_with(".pub")
        });
        let paths = names
            .into_iter()
            .map(move |name| format!("{folder}/{name}"));
        paths.map(|path| (path, Secrecy::Secret))
    });
    let all = own.iter().cloned().chain(keys);
    all.map(|(path, secrecy)| Guarded {
        state: state(&root.at(&path)),
        path,
        secrecy,
    })
    .collect()
}

/// Folders of keys that this user cannot read.
pub(super) fn hidden_keys(root: &Root, home: Option<&str>) -> Vec<String> {
    let folders = key_folders(home).map(|(folder, ..)| folder);
    folders.filter(|folder| root.is_hidden(folder)).collect()
}

/// Owner and mode; a link counts as its target.
fn state(path: &Path) -> Option<(u32, u32)> {
    let found = fs::metadata(path).ok()?;
    Some((found.uid(), found.mode() & PERMISSIONS))
}

/// Where private keys are and how their names begin and end: ssh's of this user and of
/// the host, and WireGuard's configurations. Public keys end with .pub.
fn key_folders(home: Option<&str>) -> impl Iterator<Item = (String, &'static str, &'static str)> {
    let of_user = home.map(|home| (format!("{}/.ssh", home.trim_end_matches('/')), "id_", ""));
    let of_host = [
        ("/etc/ssh".to_owned(), "ssh_host_", "_key"),
        ("/etc/wireguard".to_owned(), "", ".conf"),
    ];
    of_user.into_iter().chain(of_host)
}

#[cfg(test)]
mod tests;
