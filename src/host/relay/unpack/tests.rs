use super::*;

#[test]
fn name_has_the_hash_and_other_copies_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (source, place) = (folder.path().join("relay.exe"), folder.path().join("a/b"));
    fs::write(&source, b"abc").unwrap();
    fs::create_dir_all(&place).unwrap();
    let old = "wslmesh-relay-0123456789abcdef.exe";
    let half = "wslmesh-relay-0123456789abcdef.exe.77.new";
    let foreign = [
        "wslmesh-relay-mine.exe",
        "wslmesh-relay-0123456789abcdef.exe.old",
        "wslmesh-relay-0123456789abcdeF.exe",
        "staging",
    ];
    for name in foreign.iter().chain(&[old, half]) {
        fs::write(place.join(name), b"x").unwrap();
    }
    let path = unpack(&source, &place).unwrap();
    // SHA-256 of "abc" (FIPS 180-4's first example).
    assert_eq!(path, place.join("wslmesh-relay-ba7816bf8f01cfea.exe"));
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o755
    );
    let mut left: Vec<_> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = foreign.to_vec();
    expected.push("wslmesh-relay-ba7816bf8f01cfea.exe");
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn damaged_copy_is_replaced_and_a_good_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("relay.exe");
    fs::write(&source, b"abc").unwrap();
    let path = unpack(&source, folder.path()).unwrap();
    let made = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(unpack(&source, folder.path()).unwrap(), path);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), made);
    fs::write(&path, b"abd").unwrap();
    unpack(&source, folder.path()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abc");
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("relay.exe");
    let missing = unpack(&source, folder.path()).unwrap_err();
    assert!(matches!(&missing, RelayError::Missing(path) if *path == source));
    fs::write(&source, b"abc").unwrap();
    let blocked = unpack(&source, &source).unwrap_err();
    assert!(
        blocked.to_string().contains(&source.display().to_string()),
        "{blocked}"
    );
}
