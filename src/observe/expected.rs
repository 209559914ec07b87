//! The tunnels that this machine is set up to have, whether they are there or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::{
    config::Settings, fs::read_bounded, model::InterfaceName, wireguard::networkd_devices,
};

/// Where systemd has units and their links, the first one in force (systemd.unit(5)).
const UNITS: [&str; 4] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
];

/// The options of tailscaled (EnvironmentFile= of its unit).
const TAILSCALED: &str = "etc/default/tailscaled";

/// Most bytes of that file.
const LARGEST: usize = 1 << 16;

/// The tunnels that are configured below `root`, each with the reason: those that the settings
/// name one by one, those of enabled units of wg-quick, networkd's, and Tailscale's. Blocks.
#[must_use]
pub fn expected_tunnels(root: &Path, settings: &Settings) -> BTreeMap<InterfaceName, String> {
    let mut tunnels = BTreeMap::new();
    let enabled = enabled_units(root);
    for unit in &enabled {
        let device = unit
            .strip_prefix("wg-quick@")
            .and_then(|unit| unit.strip_suffix(".service"));
        if let Some(device) = device.and_then(InterfaceName::new) {
            tunnels.insert(device, format!("{unit} is enabled"));
        }
    }
    if enabled.contains("systemd-networkd.service") {
        for device in networkd_devices(root) {
            let why = "systemd-networkd makes it".to_owned();
            tunnels.entry(device).or_insert(why);
        }
    }
    if enabled.contains("tailscaled.service")
        && let Some(device) = tailscale_device(root)
    {
        tunnels.insert(device, "tailscaled.service is enabled".to_owned());
    }
    for (section, patterns) in [
        ("wireguard", &settings.wireguard_interfaces),
        ("mtu", &settings.mtu_interfaces),
    ] {
        for device in patterns.iter().filter_map(|pattern| pattern.literal()) {
            let why = format!("it is one of the interfaces in [{section}]");
            tunnels.entry(device).or_insert(why);
        }
    }
    tunnels
}

/// The units that start with others, without those that are masked.
fn enabled_units(root: &Path) -> BTreeSet<String> {
    let mut enabled = BTreeSet::new();
    for folder in UNITS {
        for (name, path) in entries(&root.join(folder)) {
            if name.ends_with(".wants") || name.ends_with(".requires") {
                enabled.extend(entries(&path).map(|(unit, _)| unit));
            }
        }
    }
    enabled.retain(|unit| {
        let first = UNITS.iter().map(|folder| root.join(folder).join(unit));
        let target = first.filter_map(|path| fs::read_link(path).ok()).next();
        target.is_none_or(|target| target != Path::new("/dev/null"))
    });
    enabled
}

/// The names in a folder, with their paths; none where it cannot be read.
fn entries(folder: &Path) -> impl Iterator<Item = (String, std::path::PathBuf)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| {
        (
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        )
    })
}

/// The interface of tailscaled; `None` where it has none (`--tun=userspace-networking`).
fn tailscale_device(root: &Path) -> Option<InterfaceName> {
    let text = read_bounded(&root.join(TAILSCALED), LARGEST).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let mut chosen = lines.filter_map(|line| {
        let (_, rest) = line.split_once("-tun")?;
        let rest = rest.strip_prefix(['=', ' '])?;
        rest.split(['"', '\'', ' ', '\t']).next()
    });
    match chosen.next_back() {
        None => InterfaceName::new("tailscale0"),
        Some("userspace-networking") => None,
        Some(device) => InterfaceName::new(device),
    }
}

#[cfg(test)]
mod tests;
