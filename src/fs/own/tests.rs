use std::os::unix::fs::symlink;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & PERMISSIONS
}

#[test]
fn modes_and_missing_folders() {
    let folder = tempfile::tempdir().unwrap();
    // Only root may give a file to root; as another user the owner is right
    // or refused.
    let root = rustix::process::geteuid().is_root();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    symlink(&file, &link).unwrap();
    assert!(secure(&link, true).is_err(), "a link was followed");
    assert_eq!(mode(&file), 0o666);
    match secure(&file, false) {
        Ok(done) => {
            assert!(root && done.unwrap().ends_with("has mode 644"));
            assert_eq!(mode(&file), 0o644);
            assert_eq!(secure(&file, false).unwrap(), None);
        }
        Err(error) => assert!(!root, "{error}"),
    }
    if root {
        std::os::unix::fs::chown(&file, Some(1234), None).unwrap();
        let refused = secure(&file, false).unwrap_err().to_string();
        assert!(
            refused.starts_with("belongs to user 1234: look"),
            "{refused}"
        );
        assert_eq!(fs::metadata(&file).unwrap().uid(), 1234, "it was adopted");
    }
    let state = folder.path().join("var/lib/wslmesh");
    assert_eq!(secure(&state, false).unwrap(), None);
    assert!(secure(&state, true).unwrap().unwrap().starts_with("made "));
    assert!(state.is_dir());
}
