use super::*;

/// A drive with these files of users, by their paths.
fn machine(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Drives) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("mnt/d/Users/Public")).unwrap();
    for (path, bytes) in files {
        let path = folder.path().join("mnt/d/Users").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    (folder, Drives::of(b"", b"", |_| None))
}

fn requested(files: &[(&str, &[u8])]) -> Option<Mode> {
    let (folder, drives) = machine(files);
    Users::below(folder.path(), &drives)?.requested_mode()
}

#[test]
fn the_requested_mode() {
    const FILE: &str = "ann/.wslconfig";
    let table: &[(&[u8], Mode)] = &[
        (b"[wsl2]\r\nnetworkingMode=Mirrored\r\n", Mode::Mirrored),
        (b"[wsl2]\nnetworkingmode = \"VirtioProxy\"", Mode::Consomme),
        (b"[experimental]\nnetworkingMode=none", Mode::None),
        (
            b"[experimental]\nnetworkingMode=nat\n[wsl2]\nnetworkingMode=mirrored",
            Mode::Nat,
        ),
        // WSL rejects the word and keeps its default.
        (b"[wsl2]\nnetworkingMode=mirror", Mode::Nat),
        (b"[wsl2]\nmemory=4GB", Mode::Nat),
        (b"[wsl2\nnetworkingMode=mirrored", Mode::Nat),
        (b"", Mode::Nat),
    ];
    for (bytes, mode) in table {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(requested(&[(FILE, bytes)]), Some(*mode), "{text}");
    }
    assert_eq!(requested(&[]), Some(Mode::Nat), "no file");
    let mirrored: &[u8] = b"[wsl2]\nnetworkingMode=mirrored";
    let two = [(FILE, mirrored), ("bob/.wslconfig", mirrored)];
    assert_eq!(requested(&two), None, "whose?");
    let nothing = tempfile::tempdir().unwrap();
    let drives = Drives::of(b"", b"", |_| None);
    assert!(Users::below(nothing.path(), &drives).is_none(), "no drive");
}

#[test]
fn the_file_to_edit() {
    let place = |files: &[(&str, &[u8])], user| {
        let (folder, drives) = machine(files);
        let users = Users::below(folder.path(), &drives).unwrap();
        let place = users.place(user).map_err(|error| error.to_string());
        place.map(|path| path.display().to_string())
    };
    let ann: (&str, &[u8]) = ("ann/.wslconfig", b"");
    let bob: (&str, &[u8]) = ("bob/notes.txt", b"");
    let default: (&str, &[u8]) = ("Default/NTUSER.DAT", b"");
    let ini: (&str, &[u8]) = ("desktop.ini", b"");
    let ok = |path: &str| Ok(format!("/mnt/d/Users/{path}/.wslconfig"));
    assert_eq!(place(&[bob, default, ini], None), ok("bob"), "absent");
    assert_eq!(place(&[ann, bob], None), ok("ann"), "the only one");
    assert_eq!(place(&[ann, bob], Some("BOB")), ok("bob"), "named");
    let said = |result: Result<String, String>| result.unwrap_err();
    let other: (&str, &[u8]) = ("bob/.wslconfig", b"");
    let several = said(place(&[ann, other], None));
    assert!(several.contains("(ann, bob); name the one"), "{several}");
    let several = said(place(&[("ann/a", b""), bob], None));
    assert!(several.contains("(ann, bob); name the one"), "{several}");
    let unknown = said(place(&[ann, bob], Some("../bob")));
    assert!(unknown.contains("has ann, bob"), "{unknown}");
    let none = said(place(&[ini], None));
    assert!(none.contains("shows no user of Windows"), "{none}");
}

#[test]
fn what_it_says_of_an_idle_distribution() {
    let read = |files: &[(&str, &[u8])], modified: Option<u64>| {
        let (folder, drives) = machine(files);
        if let Some(seconds) = modified {
            let file = fs::File::open(folder.path().join("mnt/d/Users/ann/.wslconfig")).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
        }
        Users::below(folder.path(), &drives)
            .unwrap()
            .idle_timeouts()
    };
    let text: &[u8] = b"[wsl2]\r\nvmIdleTimeout=never\r\n[general]\r\ninstanceIdleTimeout=-1\r\n";
    let file = [("ann/.wslconfig", text)];
    let old = IdleTimeouts {
        file: "D:\\Users\\ann\\.wslconfig".to_owned(),
        instance_ms: Some(-1),
        machine_ms: None,
        changed: false,
    };
    // Long before this machine started, just now, and in the future.
    assert_eq!(read(&file, Some(1_000_000_000)), Ok(old.clone()));
    let changed = IdleTimeouts {
        changed: true,
        ..old
    };
    assert_eq!(read(&file, None), Ok(changed.clone()));
    assert_eq!(read(&file, Some(40_000_000_000)), Ok(changed));
    let none = read(&[], None).unwrap();
    assert_eq!(none.file, "%UserProfile%\\.wslconfig");
    assert_eq!((none.instance_ms, none.changed), (None, false));
    assert!(read(&[("ann/.wslconfig", text), ("bob/.wslconfig", text)], None).is_err());
}
