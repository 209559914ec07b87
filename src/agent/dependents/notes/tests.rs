use super::*;

const KEY: FactKey = FactKey::MeshIpWireguard;

fn notes() -> Notes {
    let mut notes = Notes::default();
    notes
        .record(FactKey::WslIp)
        .all("172.28.16.5".to_owned(), None);
    notes
        .record(KEY)
        .all("10.9.0.1".to_owned(), Some("wg0".to_owned()));
    notes
}

/// The file of a version without tunnels.
#[derive(Deserialize, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
struct Earlier {
    notified: Option<std::net::IpAddr>,
    others: BTreeMap<Subject, EarlierLast>,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
struct EarlierLast {
    address: std::net::IpAddr,
    instead_of: Option<std::net::IpAddr>,
}

#[test]
fn earlier_versions_read_it_and_theirs_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dependents.json");
    let mut notes = notes();
    let change = Change {
        key: FactKey::WslIp,
        interface: "eth0".to_owned(),
        old: "172.28.16.5".to_owned(),
        new: "172.28.16.6".to_owned(),
        known: BTreeMap::new(),
    };
    let before = notes.clone();
    notes.begun("a.service", [&change].into_iter());
    notes.doubt(&[("a.service".to_owned(), vec![FactKey::WslIp])], &before);
    notes.save(&path);
    let earlier: Earlier = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(earlier.notified, Some([172, 28, 16, 5].into()));
    let last = &earlier.others["a.service"];
    assert_eq!(last.address, std::net::IpAddr::from([172, 28, 16, 6]));
    assert_eq!(last.instead_of, Some([172, 28, 16, 5].into()));
    assert_eq!(Notes::read(&path), notes);

    let theirs = r#"{"notified":"172.28.16.5","others":{"a.service":{"address":"172.28.16.6","instead-of":null}}}"#;
    fs::write(&path, theirs).unwrap();
    let mut read = Notes::read(&path);
    assert_eq!(read.record(KEY), &Record::default());
    let record = read.record(FactKey::WslIp);
    assert_eq!(record.notified.as_deref(), Some("172.28.16.5"));
    assert_eq!(record.known("172.28.16.6")["a.service"], "172.28.16.6");
}

#[test]
fn a_lost_tunnel_keeps_its_name() {
    let mut notes = notes();
    for nothing in [None, Some(String::new())] {
        notes.record(KEY).all(String::new(), nothing);
        assert_eq!(notes.record(KEY).interface.as_deref(), Some("wg0"));
    }
}

#[test]
fn a_broken_file_and_an_unwritable_folder_are_tolerated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dependents.json");
    for broken in ["{\"notified\": 5", "{\"mesh\":{\"NO_KEY\":{}}}"] {
        fs::write(&path, broken).unwrap();
        assert_eq!(Notes::read(&path), Notes::default());
        assert!(!path.exists(), "it is moved aside");
    }
    let aside = fs::read_dir(folder.path()).unwrap();
    let mut aside: Vec<_> = aside.map(|entry| entry.unwrap().file_name()).collect();
    aside.sort();
    assert_eq!(
        aside,
        ["dependents.json.damaged.1", "dependents.json.damaged.2"]
    );
    Notes::default().save(Path::new("/proc/none/dependents.json"));
}

#[test]
fn the_notes_folder_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone/dependents.json");
    notes().save(&path);
    assert!(fs::read_to_string(path).unwrap().contains("10.9.0.1"));
}
