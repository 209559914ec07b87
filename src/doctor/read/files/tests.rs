use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::doctor::tests::{machine, write};

fn chmod(root: &Root, path: &str, mode: u32) {
    fs::set_permissions(root.at(path), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_and_own_files() {
    let (_folder, root) = machine(&[]);
    for (path, mode) in [
        ("/home/a/.ssh/id_rsa", 0o644),
        ("/home/a/.ssh/id_rsa.pub", 0o644),
        ("/home/a/.ssh/config", 0o644),
        ("/etc/ssh/ssh_host_rsa_key", 0o600),
        ("/etc/wireguard/wg0.conf", 0o640),
    ] {
        write(&root, path, "");
        chmod(&root, path, mode);
    }
    let own = [("/etc/wslmesh".to_owned(), Secrecy::OwnFolder)];
    let found = guarded(&root, &own, Some("/home/a/"));
    let listed: Vec<String> = found
        .iter()
        .map(|file| {
            format!(
                "{} {:?} {:o}",
                file.path,
                file.secrecy,
                file.state.map_or(0, |s| s.1)
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            "/etc/wslmesh OwnFolder 0",
            "/home/a/.ssh/id_rsa Secret 644",
            "/etc/ssh/ssh_host_rsa_key Secret 600",
            "/etc/wireguard/wg0.conf Secret 640",
        ]
    );
    assert!(found[0].state.is_none());
}

#[test]
fn folders_that_cannot_be_read_are_named() {
    let (_folder, root) = machine(&[("/etc/wireguard/wg0.conf", "")]);
    assert_eq!(hidden_keys(&root, Some("/home/a")), [""; 0]);
    chmod(&root, "/etc/wireguard", 0o000);
    let hidden = hidden_keys(&root, Some("/home/a"));
    chmod(&root, "/etc/wireguard", 0o700);
    // Nothing is hidden from root.
    if rustix::process::geteuid().is_root() {
        assert_eq!(hidden, [""; 0]);
    } else {
        assert_eq!(hidden, ["/etc/wireguard"]);
    }
}
