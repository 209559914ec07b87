//! Endpoints by name in WireGuard's configuration: the kernel keeps addresses alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use wireguard_control::Key;

use crate::{
    fs::read_bounded,
    model::{EndpointName, InterfaceName, PeerId, PublicKey},
};

/// Where wg-quick(8) has a file for each device, by its name.
const WG_QUICK: &str = "etc/wireguard";

/// Where systemd.netdev(5) has files that name their device, the first one in force;
/// netplan writes to the second.
const NETWORKD: [&str; 2] = ["etc/systemd/network", "run/systemd/network"];

/// And packages.
const VENDOR: [&str; 2] = ["usr/local/lib/systemd/network", "usr/lib/systemd/network"];

/// Most bytes of a file: a thousand peers have 200 kB.
const LARGEST: usize = 1 << 20;

/// Most files of a folder.
const FILES: usize = 256;

/// The names by which the configuration below `root` has the endpoints of these devices'
/// peers. What cannot be read has none. Blocks.
#[must_use]
pub fn endpoint_names(root: &Path, devices: &[InterfaceName]) -> BTreeMap<PeerId, EndpointName> {
    let mut names = BTreeMap::new();
    for device in devices {
        let path = root.join(WG_QUICK).join(format!("{device}.conf"));
        let networkd = NETWORKD
            .iter()
            .flat_map(|folder| netdevs(&root.join(folder)));
        let mut texts = read(&path).into_iter().chain(networkd.filter(|text| {
            let named = value_of(text, "netdev", "name");
            named.as_deref() == Some(device.as_str())
        }));
        let found = texts.next().map(|text| parse(&text)).unwrap_or_default();
        names.extend(
            found
                .into_iter()
                .map(|(key, name)| ((device.clone(), key), name)),
        );
    }
    names
}

/// The WireGuard devices that systemd.netdev(5) files below `root` describe. Of several files
/// of one name the first folder's is in force. Blocks.
#[must_use]
pub fn networkd_devices(root: &Path) -> Vec<InterfaceName> {
    let (mut known, mut devices) = (BTreeSet::new(), Vec::new());
    for folder in NETWORKD.iter().chain(&VENDOR) {
        for path in netdev_files(&root.join(folder)) {
            if !known.insert(path.file_name().map(ToOwned::to_owned)) {
                continue;
            }
            let Some(text) = read(&path) else { continue };
            let kind = value_of(&text, "netdev", "kind");
            let name = value_of(&text, "netdev", "name");
            let name = name.filter(|_| kind.as_deref() == Some("wireguard"));
            devices.extend(name.as_deref().and_then(InterfaceName::new));
        }
    }
    devices
}

/// The text of a file that fits.
fn read(path: &Path) -> Option<String> {
    let bytes = read_bounded(path, LARGEST).ok()?;
    (bytes.len() < LARGEST).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// The texts of a folder's netdev files.
fn netdevs(folder: &Path) -> impl Iterator<Item = String> + use<> {
    netdev_files(folder)
        .into_iter()
        .filter_map(|path| read(&path))
}

fn netdev_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_netdev = |path: &PathBuf| path.extension().is_some_and(|end| end == "netdev");
    let mut paths: Vec<PathBuf> = paths.filter(is_netdev).take(FILES).collect();
    paths.sort();
    paths
}

/// The entries as wg(8) and systemd.netdev(5) have them: section, key and value, the first
/// two in lower case.
fn entries(text: &str) -> impl Iterator<Item = (String, usize, String, &str)> {
    let (mut section, mut number) = (String::new(), 0);
    text.lines().filter_map(move |line| {
        let line = line.split(['#', ';']).next()?.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_ascii_lowercase();
            number += 1;
            return None;
        }
        let (key, value) = line.split_once('=')?;
        let key = key.trim().to_ascii_lowercase();
        Some((section.clone(), number, key, value.trim()))
    })
}

fn value_of(text: &str, section: &str, key: &str) -> Option<String> {
    let mut all = entries(text);
    let found = all.find(|(within, _, name, _)| within == section && name == key);
    found.map(|(_, _, _, value)| value.to_owned())
}

/// The peers of a configuration whose endpoint is a name. One of several equal keys in a
/// section is in force: the last.
fn parse(text: &str) -> BTreeMap<PublicKey, EndpointName> {
    let mut peers: BTreeMap<usize, (Option<PublicKey>, Option<EndpointName>)> = BTreeMap::new();
    for (section, number, key, value) in entries(text) {
        if !matches!(&*section, "peer" | "wireguardpeer") {
            continue;
        }
        let peer = peers.entry(number).or_default();
        match &*key {
            "publickey" => {
                peer.0 = Key::from_base64(value)
                    .ok()
                    .map(|key| PublicKey::new(key.0))
            }
            "endpoint" => peer.1 = EndpointName::parse(value),
            _ => {}
        }
    }
    let whole = peers.into_values().filter_map(|(key, name)| key.zip(name));
    whole.collect()
}

#[cfg(test)]
mod tests;
