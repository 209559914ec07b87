use std::{os::unix::net::UnixListener, time::Instant};

use rustix::fs::mkfifoat;

use super::*;

#[test]
fn nothing_but_a_regular_file_is_read_and_nothing_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    mkfifoat(CWD, at("pipe"), 0o600.into()).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    let begin = Instant::now();
    for (name, expected) in [
        ("none", ResolvFile::Missing),
        ("folder", ResolvFile::Other("a folder")),
        ("pipe", ResolvFile::Other("a pipe")),
        ("socket", ResolvFile::Other("a socket")),
    ] {
        assert_eq!(resolver(&at(name)).file, expected, "{name}");
    }
    assert_eq!(
        resolver(Path::new("/dev/zero")).file,
        ResolvFile::Other("a device")
    );
    assert!(begin.elapsed().as_secs() < 5);
}

#[test]
fn files_and_links() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let line = b"nameserver 10.255.255.254\n";
    fs::write(at("good"), line).unwrap();
    std::os::unix::fs::symlink("good", at("link")).unwrap();
    std::os::unix::fs::symlink("/nowhere/wsl", at("dangling")).unwrap();
    let found = resolver(&at("link"));
    assert_eq!(found.link.as_deref(), Some("good"));
    assert_eq!(found.servers().len(), 1);
    assert!(!found.immutable);
    let found = resolver(&at("dangling"));
    assert_eq!(found.file, ResolvFile::Missing);
    assert_eq!(found.link.as_deref(), Some("/nowhere/wsl"));

    // The largest that is read, and one byte more.
    let mut large = line.to_vec();
    large.resize(RESOLV_CONF_MOST, b'#');
    fs::write(at("large"), &large).unwrap();
    assert_eq!(resolver(&at("large")).servers().len(), 1);
    large.push(b'#');
    fs::write(at("large"), &large).unwrap();
    assert_eq!(resolver(&at("large")).file, ResolvFile::TooLarge);
    large.resize(10 << 20, b'#');
    fs::write(at("large"), &large).unwrap();
    assert_eq!(resolver(&at("large")).file, ResolvFile::TooLarge);
}
