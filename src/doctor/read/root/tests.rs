use super::*;

#[test]
fn only_regular_files_are_read_and_not_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root(folder.path().to_owned());
    fs::create_dir(root.at("/etc")).unwrap();
    fs::write(root.at("/etc/a"), " one \ntwo").unwrap();
    let pipe = root.at("/etc/pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    assert_eq!(root.text("/etc/a", 3), Ok(Some(" on".into())));
    assert_eq!(root.line("/etc/a"), Some("one".into()));
    assert_eq!(root.bytes("/etc/none", 9), Ok(None));
    for path in ["/etc", "/etc/pipe", "/dev/null"] {
        let got = root.bytes(path, 9);
        assert!(path == "/dev/null" || got.is_err(), "{path}: {got:?}");
    }
    assert_eq!(root.names("/etc", 9), ["a", "pipe"]);
    assert_eq!(root.names("/none", 9), [""; 0]);
    assert!(root.exists("/etc/pipe") && !root.exists("/etc/none"));
}
