use std::fs;

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
fn shipped_files_are_in_the_order_of_their_names() {
    let library = tempfile::tempdir().unwrap();
    let missing = shipped(library.path()).unwrap_err().to_string();
    assert!(missing.contains("windows/wslmesh-relay.exe"), "{missing}");
    fs::create_dir(library.path().join("windows")).unwrap();
    fs::write(library.path().join("windows").join(RELAY), b"MZ").unwrap();
    let files = shipped(library.path()).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["forward.ps1", "setup.ps1", RELAY]);
}
