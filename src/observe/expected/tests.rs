use std::os::unix::fs::symlink;

use super::*;
use crate::config::settings;

/// A root with these files and these links.
fn root(files: &[(&str, &str)], links: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let make = |path: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for (path, text) in files {
        fs::write(make(path), text).unwrap();
    }
    for (path, to) in links {
        symlink(to, make(path)).unwrap();
    }
    root
}

fn expected(root: &tempfile::TempDir, text: &str) -> Vec<(String, String)> {
    let found = expected_tunnels(root.path(), &settings(text));
    let text = |(name, why): (InterfaceName, String)| (name.to_string(), why);
    found.into_iter().map(text).collect()
}

fn names(root: &tempfile::TempDir, text: &str) -> Vec<String> {
    expected(root, text)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

const WANTS: &str = "etc/systemd/system/multi-user.target.wants";
const TEMPLATE: &str = "/usr/lib/systemd/system/wg-quick@.service";
const ANY: &str = "/usr/lib/systemd/system/x.service";

#[test]
fn patterns_alone_expect_nothing() {
    assert_eq!(names(&root(&[], &[]), ""), [""; 0]);
    let text = "[mtu]\ninterfaces = [\"wg*\", \"nb0\"]\n[wireguard]\ninterfaces = [\"home\"]\n";
    assert_eq!(
        expected(&root(&[], &[]), text),
        [
            ("home", "it is one of the interfaces in [wireguard]"),
            ("nb0", "it is one of the interfaces in [mtu]"),
        ]
        .map(|(name, why)| (name.to_owned(), why.to_owned()))
    );
}

#[test]
fn enabled_units_are_expected_and_masked_ones_not() {
    let wg0 = format!("{WANTS}/wg-quick@wg0.service");
    let masked = format!("{WANTS}/wg-quick@old.service");
    let long = format!("{WANTS}/wg-quick@a-name-that-is-no-interface.service");
    let root = root(
        &[("usr/lib/systemd/system/tailscaled.service", "")],
        &[
            (&wg0, TEMPLATE),
            (&masked, TEMPLATE),
            ("etc/systemd/system/wg-quick@old.service", "/dev/null"),
            (&long, TEMPLATE),
            (
                "etc/systemd/system/my.target.requires/tailscaled.service",
                ANY,
            ),
        ],
    );
    let found = expected(&root, "");
    let found: Vec<_> = found.iter().map(|(name, why)| (&**name, &**why)).collect();
    assert_eq!(
        found,
        [
            ("tailscale0", "tailscaled.service is enabled"),
            ("wg0", "wg-quick@wg0.service is enabled"),
        ]
    );
}

#[test]
fn networkd_makes_those_of_its_files_where_it_is_enabled() {
    let netdev = |kind: &str, name: &str| format!("[NetDev]\nName={name}\nKind={kind}\n");
    let (mesh, bridge) = (netdev("wireguard", "mesh0"), netdev("bridge", "br0"));
    let (vendor, ours) = (netdev("wireguard", "vendor"), netdev("dummy", "vendor"));
    let files = [
        ("etc/systemd/network/10-mesh.netdev", &*mesh),
        ("etc/systemd/network/20-br.netdev", &*bridge),
        // The same file name beats that below /usr/lib.
        ("etc/systemd/network/30-v.netdev", &*ours),
        ("usr/lib/systemd/network/30-v.netdev", &*vendor),
    ];
    assert_eq!(names(&root(&files, &[]), ""), [""; 0]);
    let enabled = format!("{WANTS}/systemd-networkd.service");
    assert_eq!(names(&root(&files, &[(&enabled, ANY)]), ""), ["mesh0"]);
}

#[test]
fn tailscales_interface_is_that_of_its_options() {
    let enabled = format!("{WANTS}/tailscaled.service");
    for (options, expected) in [
        ("PORT=\"41641\"\nFLAGS=\"\"\n", Some("tailscale0")),
        ("FLAGS=\"--tun=userspace-networking\"\n", None),
        ("FLAGS='-verbose 1 -tun ts1'\n", Some("ts1")),
        (
            "#FLAGS=\"--tun=no\"\nFLAGS=\"--tun=ts2 --x\"\n",
            Some("ts2"),
        ),
    ] {
        let root = root(&[(TAILSCALED, options)], &[(&enabled, ANY)]);
        let found = names(&root, "");
        assert_eq!(found.first().map(String::as_str), expected, "{options}");
    }
}
