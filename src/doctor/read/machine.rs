//! Memory, disk and what the kernel offers.

use std::collections::BTreeMap;

use super::{
    super::facts::{Disk, Kernel, Memory, Resources},
    root::Root,
};

/// Most bytes of the kernel's lists of modules.
const LIST: usize = 2 << 20;

/// Memory and disk.
pub(super) fn resources(root: &Root) -> Resources {
    let text = root.text("/proc/meminfo", 64 << 10);
    let mib = |blocks: u64, size: u64| blocks.saturating_mul(size) >> 20;
    Resources {
        memory: text.content().and_then(|text| memory(text)),
        disk: rustix::fs::statvfs(root.at("/")).ok().map(|disk| Disk {
            total: mib(disk.f_blocks, disk.f_frsize),
            available: mib(disk.f_bavail, disk.f_frsize),
            inodes: disk.f_files,
            inodes_free: disk.f_favail,
        }),
    }
}

/// `MemTotal:  8048676 kB` and so on (proc_meminfo(5)).
fn memory(text: &str) -> Option<Memory> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let values: BTreeMap<&str, u64> = lines
        .filter_map(|(name, rest)| {
            let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
            Some((name, kib >> 10))
        })
        .collect();
    let of = |name| values.get(name).copied();
    Some(Memory {
        total: of("MemTotal")?,
        available: of("MemAvailable")?,
        swap: of("SwapTotal").unwrap_or(0),
        swap_free: of("SwapFree").unwrap_or(0),
    })
}

/// What the kernel offers; `release` names the folder of its modules.
pub(super) fn kernel(root: &Root, release: &str) -> Kernel {
    let folder = format!("/lib/modules/{release}");
    let listed = |name: &str| {
        let text = root.text(&format!("{folder}/{name}"), LIST);
        text.content()
            .is_some_and(|text| text.contains("/wireguard.ko"))
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
    let installed = |name: &&&str| {
        folders
            .iter()
            .any(|folder| root.exists(&format!("{folder}/{name}")))
    };
    Kernel {
        wireguard,
        userspace: programs
            .iter()
            .find(installed)
            .map(|name| (*name).to_owned()),
        tun: root.exists("/dev/net/tun"),
        bridge_filter: root.exists("/proc/sys/net/bridge"),
        modules: !release.is_empty() && root.at(&folder).is_dir(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::testing::{machine, write};

    #[test]
    fn memory_in_mib() {
        let text = "MemTotal:        2097152 kB\nMemFree: 1 kB\nMemAvailable:    1048576 kB\nSwapTotal:       1024 kB\nHugePages_Total:       0\n";
        let found = memory(text).unwrap();
        assert_eq!(
            (found.total, found.available, found.swap, found.swap_free),
            (2048, 1024, 1, 0)
        );
        assert!(memory("MemTotal: x kB\n").is_none() && memory("").is_none());
    }

    #[test]
    fn wireguard_in_the_kernel_or_as_a_program() {
        let (_folder, root) = machine(&[]);
        let write = |path: &str, text: &str| write(&root, path, text);
        let now = || kernel(&root, "6.6.1");
        assert!(now().wireguard.is_none() && !now().modules && !now().tun);
        write("/usr/bin/wireguard-go", "");
        assert_eq!(now().userspace.as_deref(), Some("wireguard-go"));
        write(
            "/lib/modules/6.6.1/modules.dep",
            "kernel/drivers/net/wireguard/wireguard.ko.xz: a\n",
        );
        assert!(now().wireguard == Some("a module") && now().modules);
        write(
            "/lib/modules/6.6.1/modules.builtin",
            "kernel/drivers/net/wireguard/wireguard.ko\n",
        );
        assert_eq!(now().wireguard, Some("built in"));
        write("/sys/module/wireguard/x", "");
        assert_eq!(now().wireguard, Some("loaded"));
        assert!(resources(&root).disk.is_some() && resources(&root).memory.is_none());
    }
}
