//! Replacing files of every kind, and what must survive it.

mod faults;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::fs::{FileType, FlockOperation, Mode, XattrFlags};
use tempfile::TempDir;

use crate::fs::file::*;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// The temporary files in a directory.
fn temporary_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path());
    entries
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(".wslmesh-"))
        })
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_new_file_is_made_and_read_back() {
    let dir = directory();
    let path = dir.path().join("net.conf");
    assert_eq!(read(&path).expect("readable"), None);
    replace(&path, None, b"one\n").expect("made");
    assert_eq!(read(&path).expect("readable").expect("there"), b"one\n");
    assert_eq!(mode(&path), 0o644);
    assert!(temporary_files(dir.path()).is_empty());
}

#[test]
fn mode_owner_and_group_are_kept() {
    let root = rustix::process::geteuid().is_root();
    for mode_bits in [0o600, 0o640, 0o664, 0o444, 0o4750, 0o2755] {
        let dir = directory();
        let path = dir.path().join("net.conf");
        fs::write(&path, "old").expect("written");
        if root {
            std::os::unix::fs::chown(&path, Some(1234), Some(5678)).expect("chown");
        }
        chmod(&path, mode_bits);
        let before = fs::metadata(&path).expect("metadata");
        replace(&path, Some(b"old"), b"new").expect("replaced");
        let after = fs::metadata(&path).expect("metadata");
        assert_eq!(
            (after.mode(), after.uid(), after.gid()),
            (before.mode(), before.uid(), before.gid())
        );
        assert_ne!(after.ino(), before.ino(), "a rename, not a write in place");
        assert_eq!(fs::read(&path).expect("readable"), b"new");
    }
}

/// The kernel's form of an ACL (version 2): tag, permissions, id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn an_acl_is_kept_and_none_is_invented() {
    const NO_USER: u32 = u32::MAX;
    let list = acl(&[
        (1, 6, NO_USER),
        (2, 4, 1234),
        (4, 0, NO_USER),
        (16, 4, NO_USER),
        (32, 0, NO_USER),
    ]);
    let dir = directory();
    let (with, without) = (dir.path().join("with"), dir.path().join("without"));
    fs::write(&with, "old").expect("written");
    fs::write(&without, "old").expect("written");
    if rustix::fs::setxattr(&with, "system.posix_acl_access", &list, XattrFlags::empty())
        == Err(Errno::OPNOTSUPP)
    {
        println!("skipped: the file system of the temporary directory has no ACLs");
        return;
    }
    // Every new file in the directory gets this one.
    rustix::fs::setxattr(
        dir.path(),
        "system.posix_acl_default",
        &list,
        XattrFlags::empty(),
    )
    .expect("a default ACL");

    let read_acl = |path: &Path| {
        let mut value = vec![0; 256];
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..])
            .map(|len| value[..len].to_vec())
    };
    let modes = (mode(&with), mode(&without));
    replace(&with, Some(b"old"), b"new").expect("replaced");
    replace(&without, Some(b"old"), b"new").expect("replaced");
    assert_eq!(read_acl(&with), Ok(list));
    assert_eq!(read_acl(&without), Err(Errno::NODATA));
    assert_eq!((mode(&with), mode(&without)), modes);
}

#[test]
fn a_symlink_stays_and_its_target_is_replaced() {
    let dir = directory();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).expect("a directory");
    let real = inner.join("real");
    symlink("real", inner.join("second")).expect("a link");
    let cases = [
        ("absolute", real.as_path()),
        ("relative", Path::new("inner/real")),
        ("chain", Path::new("inner/second")),
    ];
    for (name, to) in cases {
        fs::write(&real, "old").expect("written");
        let link = dir.path().join(name);
        symlink(to, &link).expect("a link");
        let old = read(&link).expect("readable").expect("there");
        replace(&link, Some(&old), b"new").expect("replaced");
        assert_eq!(fs::read_link(&link).expect("still a link"), to, "{name}");
        assert_eq!(fs::read(&real).expect("readable"), b"new", "{name}");
    }
    // A relative link counts from its own directory, not from ours.
    symlink("../beside", inner.join("up")).expect("a link");
    replace(&inner.join("up"), None, b"new").expect("made");
    assert_eq!(
        fs::read(dir.path().join("beside")).expect("readable"),
        b"new"
    );
}

#[test]
fn the_target_of_a_dangling_symlink_is_made() {
    let dir = directory();
    let link = dir.path().join("link");
    symlink("target", &link).expect("a link");
    assert_eq!(read(&link).expect("readable"), None);
    replace(&link, None, b"new").expect("made");
    assert_eq!(
        fs::read_link(&link).expect("still a link"),
        Path::new("target")
    );
    assert_eq!(
        fs::read(dir.path().join("target")).expect("readable"),
        b"new"
    );
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let dir = directory();
    let at = |name: &str| dir.path().join(name);
    symlink("loop-b", at("loop-a")).expect("a link");
    symlink("loop-a", at("loop-b")).expect("a link");
    fs::create_dir(at("directory")).expect("a directory");
    symlink("directory", at("link")).expect("a link");
    let pipe = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, pipe, 0).expect("a pipe");
    let _socket = UnixListener::bind(at("socket")).expect("a socket");
    fs::write(at("file"), "").expect("a file");
    type Expected = fn(&FileError) -> bool;
    let cases: [(PathBuf, Expected); 9] = [
        (at("directory"), |e| e.fault == Fault::IsDirectory),
        (at("link"), |e| e.fault == Fault::IsDirectory),
        (PathBuf::from("/"), |e| e.fault == Fault::IsDirectory),
        (at("pipe"), |e| e.fault == Fault::NotRegular),
        (at("socket"), |e| e.fault == Fault::NotRegular),
        (PathBuf::from("/dev/null"), |e| e.fault == Fault::NotRegular),
        (at("loop-a"), |e| e.fault == Fault::SymlinkLoop),
        (at("missing/file"), |e| e.fault == Fault::ParentMissing),
        (at("file/file"), |e| e.fault == Fault::ParentMissing),
    ];
    for (path, expected) in cases {
        let error = replace(&path, None, b"new").expect_err("refused");
        assert!(expected(&error), "{path:?}: {error:?}");
        assert!(
            error.to_string().contains(&*dir.path().to_string_lossy())
                || !path.starts_with(dir.path()),
            "{error}"
        );
    }
    assert!(
        read(&at("pipe")).unwrap_err().fault == Fault::NotRegular,
        "and reading does not hang"
    );
    assert!(temporary_files(dir.path()).is_empty());
}

#[test]
fn too_big_is_refused_both_ways() {
    let dir = directory();
    let path = dir.path().join("big");
    File::create(&path)
        .expect("a file")
        .set_len(MAX_SIZE as u64)
        .expect("extended");
    assert_eq!(
        read(&path).expect("it just fits").expect("there").len(),
        MAX_SIZE
    );
    File::create(&path)
        .expect("a file")
        .set_len(MAX_SIZE as u64 + 1)
        .expect("extended");
    assert!(read(&path).unwrap_err().fault == Fault::TooBig);
    assert!(
        replace(&dir.path().join("new"), None, &vec![0; MAX_SIZE + 1])
            .unwrap_err()
            .fault
            == Fault::TooBig
    );
}

#[test]
fn change_of_another_program_is_left_alone() {
    let dir = directory();
    let path = dir.path().join("net.conf");
    let changed = |expected: Option<&[u8]>| {
        let error = replace(&path, expected, b"ours").expect_err("refused");
        assert_eq!(error.fault, Fault::Changed, "{error:?}");
    };
    changed(Some(b"it was there"));
    fs::write(&path, "theirs").expect("written");
    changed(None);
    changed(Some(b"what we read"));
    assert_eq!(fs::read(&path).expect("readable"), b"theirs");
    assert!(temporary_files(dir.path()).is_empty());
}

#[test]
fn equal_content_is_not_written() {
    let dir = directory();
    let path = dir.path().join("net.conf");
    fs::write(&path, "same").expect("written");
    let facts = |path: &Path| {
        let m = fs::metadata(path).expect("metadata");
        (m.ino(), m.mtime(), m.mtime_nsec(), m.ctime_nsec())
    };
    let before = (facts(&path), facts(dir.path()));
    replace(&path, Some(b"same"), b"same").expect("nothing to do");
    assert_eq!((facts(&path), facts(dir.path())), before);
}

#[test]
fn only_stale_temporary_files_of_this_target_go() {
    let dir = directory();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("outside"), "").expect("written");
    let stale = [".wslmesh-a.abc123", ".wslmesh-a.ZZZZZZ"];
    let kept = [
        ".wslmesh-a.live00",
        ".wslmesh-a.toolong",
        ".wslmesh-a.b.abc123",
        ".wslmesh-b.abc123",
        ".wslmesh-a.abc12",
        ".wslmesh-a.abc1_3",
        "wslmesh-a.abc123",
    ];
    for name in stale.iter().chain(&kept) {
        fs::write(at(name), "x").expect("written");
    }
    fs::create_dir(at(".wslmesh-a.folder")).expect("a directory");
    symlink("outside", at(".wslmesh-a.linked")).expect("a link");
    let live = File::open(at(".wslmesh-a.live00")).expect("open");
    rustix::fs::flock(&live, FlockOperation::NonBlockingLockExclusive).expect("locked");

    replace(&at("a"), None, b"new").expect("made");
    for name in stale {
        assert!(!at(name).exists(), "{name}");
    }
    for name in kept {
        assert!(at(name).exists(), "{name}");
    }
    assert!(
        at(".wslmesh-a.folder").is_dir()
            && at(".wslmesh-a.linked").is_symlink()
            && at("outside").exists()
    );

    // Closing would not do: a child that another test is just starting still
    // shares the lock until it executes its program.
    rustix::fs::flock(&live, FlockOperation::Unlock).expect("unlocked");
    replace(&at("a"), Some(b"new"), b"newer").expect("replaced");
    assert!(!at(".wslmesh-a.live00").exists(), "its writer has ended");
}

#[test]
fn a_symlink_that_others_can_have_made_is_not_followed() {
    let dir = directory();
    let (shared, inner) = (dir.path().join("shared"), dir.path().join("inner"));
    for folder in [&shared, &inner] {
        fs::create_dir(folder).expect("a directory");
    }
    fs::write(inner.join("real"), "old").expect("written");
    // A link to the file, and one to its folder.
    symlink("../inner/real", shared.join("file")).expect("a link");
    symlink("../inner", shared.join("folder")).expect("a link");
    let paths = [shared.join("file"), shared.join("folder/real")];
    for path in &paths {
        replace(path, Some(b"old"), b"new").expect("our own link");
        replace(path, Some(b"new"), b"old").expect("our own link");
    }
    let refused = |mode_bits| {
        chmod(&shared, mode_bits);
        for path in &paths {
            for error in [
                read(path).map(drop).expect_err("refused"),
                replace(path, Some(b"old"), b"new").expect_err("refused"),
            ] {
                assert!(error.fault == Fault::ForeignLink, "{path:?}: {error:?}");
                assert!(
                    error.to_string().starts_with(&*shared.to_string_lossy()),
                    "{error}"
                );
            }
        }
        assert_eq!(fs::read(inner.join("real")).expect("readable"), b"old");
    };
    refused(0o777);
    refused(0o775);
    chmod(&shared, 0o1777);
    read(&paths[0]).expect("no other user can replace our link there");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&shared, Some(1234), None).expect("chown");
        refused(0o755);
        // A file there is read and replaced as before.
        fs::write(shared.join("plain"), "old").expect("written");
        replace(&shared.join("plain"), Some(b"old"), b"new").expect("replaced");
    }
}

#[test]
fn what_is_published_goes_into_own_folders_alone() {
    let dir = directory();
    let path = dir.path().join("x.prom");
    publish(&path, b"one\n", 0o644).expect("written");
    assert_eq!(mode(&path), 0o644);
    for open in [0o775, 0o757, 0o1777] {
        chmod(dir.path(), open);
        let refused = publish(&path, b"two\n", 0o644).expect_err("refused");
        assert_eq!(refused.fault, Fault::ForeignFolder);
        let shown = dir.path().display();
        let fix = format!("`chown root: {shown}` and `chmod go-w {shown}`");
        assert!(refused.to_string().contains(&fix), "{refused}");
        withdraw(&path).expect_err("refused");
    }
    assert_eq!(fs::read(&path).expect("there"), b"one\n");
    chmod(dir.path(), 0o755);
    withdraw(&path).expect("removed");
    withdraw(&path).expect("nothing to do");
    assert!(!path.exists());
}
