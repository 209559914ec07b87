use super::*;
use crate::doctor::tests::{machine, write};

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
    assert_eq!(now().userspace, Some("wireguard-go"));
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
    assert!(disk(&root).is_some());
}
