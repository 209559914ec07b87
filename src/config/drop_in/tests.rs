use super::*;
use crate::config::{Firewall, Protocol, Remarks};
use std::num::NonZeroU16;

fn forward(name: &str, listen: u16) -> Forward {
    Forward {
        name: name.into(),
        protocol: Protocol::Tcp,
        listen_address: "0.0.0.0".parse().unwrap(),
        listen_port: NonZeroU16::new(listen).unwrap().into(),
        connect_address: None,
        connect_port: "22".parse().unwrap(),
        firewall: Firewall::Full,
        backend: None,
        proxy_protocol: None,
        remarks: Remarks::default(),
    }
}

/// A folder with this configuration file in it.
fn written(text: &str) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, text).unwrap();
    (folder, Source::File(path))
}

fn add(source: &Source, forward: &Forward) -> Result<(Added, Settings), String> {
    let drop_in = DropIn::of(source, &forward.name).map_err(|error| error.to_string())?;
    drop_in.add(forward).map_err(|error| error.to_string())
}

const SSH: &str =
    "[mtu]\nvalue = 1280\n\n[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\n";

#[test]
fn added_forward_is_in_force_until_removed() {
    let (_folder, source) = written(SSH);
    let web = forward("web", 8080);
    let (added, settings) = add(&source, &web).unwrap();
    assert_eq!(added, Added::Written);
    assert_eq!(settings, Settings::load(&source).unwrap());
    assert_eq!(settings.forwards.last(), Some(&web));
    assert_eq!(add(&source, &web).unwrap().0, Added::Already);
    let drop_in = DropIn::of(&source, "web").unwrap();
    assert_eq!(drop_in.remove().unwrap(), None);
    let left = fs::read_dir(source.drop_ins()).unwrap().count();
    assert_eq!(
        (left, Settings::load(&source).unwrap().forwards.len()),
        (0, 1)
    );
}

#[test]
fn clash_names_the_place_and_writes_nothing() {
    let table = [
        (forward("ssh", 1), "w.toml:4; choose another name"),
        (forward("other", 2222), "is taken by forward \"ssh\" at"),
        (forward("../../x", 1), "letters, digits, - _ and . only"),
        (forward("", 1), "letters, digits, - _ and . only"),
    ];
    for (wanted, expected) in table {
        let (_folder, source) = written(SSH);
        let refused = add(&source, &wanted).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
        assert!(!source.drop_ins().exists(), "{expected}");
    }
    let (_folder, source) = written(SSH);
    add(&source, &forward("web", 80)).unwrap();
    let refused = add(&source, &forward("web", 81)).unwrap_err();
    assert!(
        refused.contains("forward-web.toml:2; choose another name"),
        "{refused}"
    );
    let refused = add(&source, &forward("two", 80)).unwrap_err();
    assert!(refused.contains("taken by forward \"web\" at"), "{refused}");
}

#[test]
fn configuration_with_errors_takes_no_forward() {
    let (_folder, source) = written("[mtu]\nvalue = 1\n");
    let refused = add(&source, &forward("web", 80)).unwrap_err();
    assert!(refused.contains("w.toml:2:9"), "{refused}");
    assert!(!source.drop_ins().exists());
}

#[test]
fn whole_configuration_is_checked_before_writing() {
    let (_folder, source) = written("[host]\nbackend = \"portproxy\"\n");
    let mut wireguard = forward("wireguard", 51820);
    wireguard.protocol = Protocol::Udp;
    let refused = add(&source, &wireguard).unwrap_err();
    assert!(refused.contains("portproxy is TCP only"), "{refused}");
    assert!(!source.drop_ins().exists());
}

#[test]
fn only_added_forwards_are_removed() {
    let (_folder, source) = written(SSH);
    let remove = |name: &str| {
        let removed = DropIn::of(&source, name).unwrap().remove();
        removed.map_err(|error| error.to_string())
    };
    let elsewhere = remove("ssh").unwrap_err();
    assert!(elsewhere.contains("w.toml:4 with an editor"), "{elsewhere}");
    assert!(
        remove("nothing")
            .unwrap_err()
            .contains("there is no forward")
    );
    add(&source, &forward("web", 80)).unwrap();
    let path = source.drop_ins().join("forward-web.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}[mtu]\nvalue = 1300\n")).unwrap();
    assert!(remove("web").unwrap_err().contains("has more in it"));
    assert!(path.exists());
    // A block of the same name elsewhere comes back into force.
    fs::write(&path, text.replace("\"web\"", "\"ssh\"")).unwrap();
    fs::rename(&path, source.drop_ins().join("forward-ssh.toml")).unwrap();
    let back = remove("ssh").unwrap().unwrap();
    assert_eq!((back.file, back.line), (source.main().to_owned(), 4));
}

#[test]
fn draft_has_the_place_of_its_file() {
    let (_folder, source) = written("");
    fs::create_dir(source.drop_ins()).unwrap();
    fs::write(source.drop_ins().join("z.toml"), "[mtu]\nvalue = 1300\n").unwrap();
    fs::write(source.drop_ins().join("a.toml"), "[mtu]\nvalue = 1400\n").unwrap();
    let value = |name: &str| {
        let path = source.drop_ins().join(name);
        let draft = Draft {
            path: &path,
            text: Some("[mtu]\nvalue = 1500\n"),
        };
        load(&source, Some(draft)).unwrap().settings.mtu
    };
    assert_eq!(
        (value("m.toml"), value("z.toml"), value("zz.toml")),
        (1300, 1500, 1500)
    );
}

#[test]
fn wireguard_devices_are_added() {
    let (_folder, source) = written("[wireguard]\ninterfaces = [\"wg*\"]\n");
    let names = ["mesh0", "office"].map(|name| InterfaceName::new(name).unwrap());
    for name in &names {
        let (path, settings) = add_wireguard(&source, std::slice::from_ref(name)).unwrap();
        assert!(settings.wireguard_interfaces.matches(name));
        assert_eq!(path, source.drop_ins().join(WIREGUARD));
    }
    let settings = Settings::load(&source).unwrap();
    let list: Vec<String> = (settings.wireguard_interfaces.iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(list, ["wg*", "mesh0", "office"]);
    // A later file has the last word.
    let later = source.drop_ins().join("zz.toml");
    fs::write(&later, "[wireguard]\ninterfaces = [\"wg*\"]\n").unwrap();
    let before = fs::read(source.drop_ins().join(WIREGUARD)).unwrap();
    let error = add_wireguard(&source, &names).unwrap_err().to_string();
    assert!(
        error.contains("mesh0") && error.contains("later file"),
        "{error}"
    );
    assert_eq!(fs::read(source.drop_ins().join(WIREGUARD)).unwrap(), before);
}
