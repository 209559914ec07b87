use super::*;
use crate::fs::file::Fault;

fn set(history: &History, path: &Path, new: &[u8]) -> Edit {
    let before = file::read(path).unwrap();
    let edit = history.keep(path, before.as_deref(), new).unwrap();
    file::replace(path, before.as_deref(), new).unwrap();
    edit
}

/// Undoes the last edit, if there is one.
fn undo(history: &History, path: &Path) -> Option<Option<Vec<u8>>> {
    let now = file::read(path).unwrap();
    let edit = history.last(path, now.as_deref()).unwrap()?;
    match (&edit.before, &now) {
        (Some(before), now) => file::replace(path, now.as_deref(), before).unwrap(),
        (None, now) => file::remove(path, now.as_deref().unwrap()).unwrap(),
    }
    edit.forget().unwrap();
    Some(file::read(path).unwrap())
}

#[test]
fn undoes_one_edit_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::new(folder.path().join("a/b"));
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    assert_eq!(undo(&history, &one), None);
    set(&history, &one, b"1");
    set(&history, &two, b"x\xff\0");
    set(&history, &one, b"2\r\n");
    assert_eq!(undo(&history, &one), Some(Some(b"1".to_vec())));
    assert_eq!(undo(&history, &one), Some(None), "absent again");
    assert_eq!(undo(&history, &one), None);
    assert_eq!(undo(&history, &two), Some(None));
}

#[test]
fn an_edit_that_was_never_made_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::new(folder.path().join("history"));
    let path = folder.path().join("one");
    set(&history, &path, b"1");
    history.keep(&path, Some(b"1"), b"2").unwrap();
    // Killed while it was kept.
    fs::create_dir(folder.path().join("history/3")).unwrap();
    assert_eq!(undo(&history, &path), Some(None));
    assert_eq!(undo(&history, &path), None);
}

#[test]
fn another_programs_change_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::new(folder.path().join("history"));
    let path = folder.path().join("one");
    set(&history, &path, b"1");
    fs::write(&path, "theirs").unwrap();
    let edit = history.last(&path, Some(b"theirs")).unwrap().unwrap();
    assert_eq!(edit.after, b"1");
    let error = file::remove(&path, &edit.after).unwrap_err();
    assert_eq!(error.fault, Fault::Changed);
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
}

#[test]
fn the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::new(folder.path().join("history"));
    let path = folder.path().join("one");
    for number in 0..MOST + 3 {
        set(&history, &path, number.to_string().as_bytes());
    }
    let numbers = history.numbers().unwrap();
    assert_eq!((numbers.len(), numbers.first()), (MOST, Some(&4)));
    // Those of root's folder are for root.
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &str| {
        fs::metadata(folder.path().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("history/5"), mode("history/5/after")), (0o700, 0o600));
}
