//! The disk and what the kernel offers.

use std::path::Path;

use super::{
    super::facts::{Disk, Kernel},
    root::Root,
};

/// Most bytes of the kernel's lists of modules.
const LIST: usize = 2 << 20;

/// The file system of this path.
pub(super) fn disk(path: &Path) -> Option<Disk> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let mib = |blocks: u64| blocks.saturating_mul(disk.f_frsize) >> 20;
    Some(Disk {
        total: mib(disk.f_blocks),
        available: mib(disk.f_bavail),
        inodes: disk.f_files,
        inodes_free: disk.f_favail,
    })
}

/// What the kernel offers; `release` names the folder of its modules.
pub(super) fn kernel(root: &Root, release: &str) -> Kernel {
    let folder = format!("/lib/modules/{release}");
    let listed = |name: &str| {
        let list = root.text_or_empty(&format!("{folder}/{name}"), LIST);
        list.contains("/wireguard.ko")
    };
    let wireguard = if root.exists("/sys/module/wireguard") {
        Some("loaded")
    } else if listed("modules.builtin") {
        Some("built in")
    } else if listed("modules.dep") {
        Some("a module")
    } else {
        None
    };
    let programs = ["wireguard-go", "boringtun-cli", "boringtun"];
    let folders = ["/usr/bin", "/usr/local/bin", "/usr/sbin"];
    let installed = |name: &&str| {
        let mut paths = folders.iter().map(|folder| format!("{folder}/{name}"));
        paths.any(|path| root.exists(&path))
    };
    Kernel {
        wireguard,
        userspace: programs.into_iter().find(installed),
        tun: root.exists("/dev/net/tun"),
        bridge_filter: root.exists("/proc/sys/net/bridge"),
        modules: !release.is_empty() && root.at(&folder).is_dir(),
    }
}

#[cfg(test)]
mod tests;
