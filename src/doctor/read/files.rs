//! Files whose owner and mode matter.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::{
    super::facts::{Guarded, Secrecy},
    root::Root,
};
use crate::{config::Settings, fs::own::PERMISSIONS, paths::Paths};

/// Most entries of a folder that are read.
const MOST: usize = 256;

/// Most users whose keys are looked at.
const HOMES: usize = 64;

/// Most bytes of a tunnel's configuration.
const TUNNEL: usize = 256 << 10;

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
    let keys = key_folders(root, home).flat_map(|(folder, start, end)| {
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
        state: state(&root.at(&path)).filter(|_| secrecy != Secrecy::Secret || is_key(root, &path)),
        real: real(root, &path),
        path,
        secrecy,
    })
    .collect()
}

/// Whether a file has a key: a tunnel's configuration may have it set by a command.
fn is_key(root: &Root, path: &str) -> bool {
    let is_tunnel = path.ends_with(".conf");
    // What cannot be read may have one.
    let text = is_tunnel.then(|| root.text(path, TUNNEL).ok().flatten());
    text.flatten()
        .is_none_or(|text| text.contains("PrivateKey"))
}

/// Where a path leads.
fn real(root: &Root, path: &str) -> String {
    let resolved = fs::canonicalize(root.at(path)).ok();
    let below = resolved
        .as_deref()
        .and_then(|to| to.strip_prefix(&root.0).ok());
    below.map_or_else(
        || path.to_owned(),
        |to| Path::new("/").join(to).display().to_string(),
    )
}

/// Where docker keeps its images and containers, if it is configured (docs.docker.com: dockerd,
/// "Daemon configuration file").
pub(super) fn data_root(root: &Root) -> Option<String> {
    let text = root.text_or_empty("/etc/docker/daemon.json", 64 << 10);
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(json.get("data-root")?.as_str()?.to_owned())
}

/// Folders of keys that this user cannot read.
pub(super) fn hidden_keys(root: &Root, home: Option<&str>) -> Vec<String> {
    let folders = key_folders(root, home).map(|(folder, ..)| folder);
    folders.filter(|folder| root.is_hidden(folder)).collect()
}

/// Owner and mode; a link counts as its target.
fn state(path: &Path) -> Option<(u32, u32)> {
    let found = fs::metadata(path).ok()?;
    Some((found.uid(), found.mode() & PERMISSIONS))
}

/// Folders of private keys, and how the keys' names begin and end: those of the host's ssh,
/// of WireGuard and of other tunnels.
const KEYS: [(&str, &str, &str); 8] = [
    ("/etc/ssh", "ssh_host_", "_key"),
    ("/etc/wireguard", "", ".conf"),
    ("/etc/amnezia/amneziawg", "", ".conf"),
    ("/etc/netbird", "", ".json"),
    ("/var/lib/netbird", "", ".json"),
    ("/var/lib/tailscale", "tailscaled.state", ""),
    ("/etc/nebula", "", ".key"),
    ("/var/lib/zerotier-one", "identity.secret", ""),
];

/// The same with the keys of users' ssh: of this one, and of those below /home. Public keys
/// end with .pub.
fn key_folders(
    root: &Root,
    home: Option<&str>,
) -> impl Iterator<Item = (String, &'static str, &'static str)> {
    let home = home.map(|home| home.trim_end_matches('/').to_owned());
    let others = root.names("/home", HOMES).into_iter();
    let others = others.map(|name| format!("/home/{name}"));
    let others = others.filter(|other| Some(other) != home.as_ref());
    let homes: Vec<String> = home.iter().cloned().chain(others).collect();
    let of_users = homes.into_iter();
    let of_users = of_users.map(|home| (format!("{home}/.ssh"), "id_", ""));
    let of_host = KEYS.map(|(folder, start, end)| (folder.to_owned(), start, end));
    of_users.chain(of_host)
}

#[cfg(test)]
mod tests;
