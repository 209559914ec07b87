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
        ("/etc/wireguard/wg1.conf", 0o644),
        ("/home/b/.ssh/id_ed25519", 0o604),
        ("/var/lib/tailscale/tailscaled.state", 0o600),
        ("/var/lib/tailscale/files", 0o644),
        ("/var/lib/netbird/default.json", 0o660),
    ] {
        let key = if path.ends_with("wg1.conf") {
            "PostUp"
        } else {
            "PrivateKey"
        };
        write(&root, path, &format!("{key} = x\n"));
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
            "/home/b/.ssh/id_ed25519 Secret 604",
            "/etc/ssh/ssh_host_rsa_key Secret 600",
            "/etc/wireguard/wg0.conf Secret 640",
            // Its key comes from a command.
            "/etc/wireguard/wg1.conf Secret 0",
            "/var/lib/netbird/default.json Secret 660",
            "/var/lib/tailscale/tailscaled.state Secret 600",
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

#[test]
fn links_are_followed_to_where_a_key_is() {
    let (_folder, root) = machine(&[("/mnt/c/Users/ann/.ssh/id_rsa", "x")]);
    let home = root.at("/home/ann");
    fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::symlink(root.at("/mnt/c/Users/ann/.ssh"), home.join(".ssh")).unwrap();
    let found = guarded(&root, &[], None);
    let [key] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(key.path, "/home/ann/.ssh/id_rsa");
    assert_eq!(key.real, "/mnt/c/Users/ann/.ssh/id_rsa");
}

#[test]
fn data_root_of_docker() {
    for (text, at) in [
        ("{\"data-root\": \"/mnt/d/docker\"}", Some("/mnt/d/docker")),
        ("{\"data-root\": 1}", None),
        ("{", None),
    ] {
        let (_folder, root) = machine(&[("/etc/docker/daemon.json", text)]);
        assert_eq!(data_root(&root).as_deref(), at, "{text}");
    }
    assert_eq!(data_root(&machine(&[]).1), None);
}
