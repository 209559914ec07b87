use super::*;

#[test]
fn hashes_are_those_of_the_standard() {
    // FIPS 180-2, appendix B.1.
    let hash = Shipped::new("x", b"abc".to_vec()).sha256;
    assert_eq!(
        hash,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn uninstall_uses_the_setup_of_an_install() {
    let library = tempfile::tempdir().unwrap();
    fs::create_dir(library.path().join("windows")).unwrap();
    fs::write(library.path().join("windows").join(RELAY), b"MZ").unwrap();
    let remover = remover();
    assert_eq!(remover.name, Script::Setup.file_name());
    assert!(shipped(library.path()).unwrap().contains(&remover));
}

#[test]
fn shipped_files_are_written_once() {
    let library = tempfile::tempdir().unwrap();
    let missing = shipped(library.path()).unwrap_err().to_string();
    assert!(missing.contains("windows/wslmesh-relay.exe"), "{missing}");
    fs::create_dir(library.path().join("windows")).unwrap();
    fs::write(library.path().join("windows").join(RELAY), b"MZ").unwrap();
    let files = shipped(library.path()).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["forward.ps1", "setup.ps1", RELAY]);

    let state = tempfile::tempdir().unwrap();
    let staging = Staging::permanent_at(state.path().join("windows")).unwrap();
    let folder = staging.path();
    let inode = |name: &str| fs::metadata(folder.join(name)).unwrap().ino();
    staging.put(&files).unwrap();
    let first = inode(RELAY);
    staging.put(&files).unwrap();
    assert_eq!(inode(RELAY), first);
    fs::write(folder.join(RELAY), b"other").unwrap();
    staging.put(&files).unwrap();
    assert_eq!(fs::read(folder.join(RELAY)).unwrap(), b"MZ");
    let script = staging.host_script().unwrap();
    assert_eq!(fs::read_to_string(script).unwrap(), Script::Host.text());
}

#[test]
fn folder_that_others_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode));
    mode(0o755).unwrap();
    assert!(is_ours(folder.path()).is_ok());
    mode(0o775).unwrap();
    assert!(matches!(is_ours(folder.path()), Err(StagingError::Open(_))));
    mode(0o757).unwrap();
    assert!(matches!(is_ours(folder.path()), Err(StagingError::Open(_))));
    mode(0o755).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    assert!(matches!(is_ours(&link), Err(StagingError::Open(_))));
}

#[test]
fn a_temporary_folder_goes_and_makes_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let staging = Staging::temporary_beside(&home.path().join("state/windows")).unwrap();
    let inside = staging.path().starts_with(home.path());
    let mode = fs::metadata(staging.path()).unwrap().mode() & 0o777;
    assert_eq!((inside, mode), (true, 0o755));
    staging.host_script().unwrap();
    drop(staging);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
