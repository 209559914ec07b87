use super::*;
use crate::doctor::tests::{machine, write};

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
    assert!(disk(&root.at("/")).is_some());
}
