//! Which files are loaded, and in which order: names, masks, owners and modes.

use super::*;

#[test]
fn unreadable_files_are_named_with_the_fix() {
    assert_eq!(
        load(b"ok = 1\n\xff\xfe\0").unwrap_err(),
        "w.toml:2: is not UTF-8 text; save it as UTF-8, or name another file with --config"
    );
    assert!(load(b"\0\x01\x02").unwrap_err().starts_with("w.toml:1:"));
    assert!(
        load(&vec![b'#'; (1 << 20) + 1])
            .unwrap_err()
            .contains("more than any configuration")
    );

    let folder = tempfile::tempdir().unwrap();
    let message = Settings::load(&Source::File(folder.path().to_owned()))
        .unwrap_err()
        .to_string();
    assert!(message.contains("is not a regular file"), "{message}");

    let missing = folder.path().join("none.toml");
    let message = Settings::load(&Source::File(missing))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("none.toml: there is no such file") && message.contains("--config"),
        "{message}"
    );

    let closed = folder.path().join("closed.toml");
    fs::write(&closed, "").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    // root reads it all the same; then the file is merely empty.
    match Settings::load(&Source::File(closed)) {
        Ok(settings) => {
            assert!(rustix::process::geteuid().is_root() && settings.forwards.is_empty())
        }
        Err(error) => assert!(
            error.to_string().contains("correct its permissions"),
            "{error}"
        ),
    }
}

#[test]
fn hidden_files_are_skipped_and_masks_hide() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    let drop_ins = folder.path().join("w.toml.d");
    fs::write(&main, "[mtu]\nvalue = 1300\n").unwrap();
    fs::create_dir(&drop_ins).unwrap();
    // An editor's lock, and its backup.
    symlink("user@host.1:2", drop_ins.join(".#10.toml")).unwrap();
    fs::write(drop_ins.join(".10.toml"), "nonsense").unwrap();
    symlink("/dev/null", drop_ins.join("20.toml")).unwrap();
    let value = || Settings::load(&Source::File(main.clone())).unwrap().mtu;
    assert_eq!(value(), 1300);
    symlink("/dev/null", drop_ins.join("w.toml")).unwrap();
    assert_eq!(value(), 1280, "the name is masked");
    fs::write(drop_ins.join("x.toml"), "[mtu]\nvalue = 1400\n").unwrap();
    assert_eq!(value(), 1400);
    for mask in ["w.toml", "x.toml"] {
        fs::remove_file(drop_ins.join(mask)).unwrap();
    }
    assert_eq!(value(), 1300);
    fs::remove_file(&main).unwrap();
    symlink("/dev/null", &main).unwrap();
    assert_eq!(value(), 1280, "the main file itself is a mask");
    fs::remove_file(&main).unwrap();
    fs::write(&main, "\u{feff}[mtu]\r\nvalue = 1300\r\n").unwrap();
    assert_eq!(value(), 1300, "as an editor on Windows saves it");
}

#[test]
fn what_others_can_write_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    let drop_ins = folder.path().join("w.toml.d");
    let file = drop_ins.join("1.toml");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&main, "").unwrap();
    fs::write(&file, "").unwrap();
    if !rustix::process::geteuid().is_root() {
        // Only root can give files away, and only its configuration matters.
        return;
    }
    let load = || Settings::load(&Source::File(main.clone())).map_err(|error| error.to_string());
    load().unwrap();
    let mask = drop_ins.join("2.toml");
    symlink("/dev/null", &mask).unwrap();
    for path in [&main, &file, &drop_ins, &mask] {
        lchown(path, Some(1234), None).unwrap();
        let text = load().unwrap_err();
        let shown = path.display();
        assert!(
            text.contains(&format!(
                "is not loaded: {shown} belongs to user 1234; look at what is in it, then run `chown -h root: {shown}`"
            )),
            "{text}"
        );
        lchown(path, Some(0), None).unwrap();
    }
    fs::remove_file(mask).unwrap();
    let top = folder.path().to_owned();
    let (theirs, roots) = (Some(1234), Some(0));
    for (path, group, mode, loads) in [
        (&main, theirs, 0o664, false),
        (&main, roots, 0o664, true),
        (&main, roots, 0o646, false),
        (&main, theirs, 0o644, true),
        (&file, theirs, 0o664, false),
        (&drop_ins, theirs, 0o775, false),
        (&drop_ins, roots, 0o775, true),
        (&drop_ins, roots, 0o757, false),
        (&drop_ins, roots, 0o1777, true),
        (&top, roots, 0o777, false),
        (&top, theirs, 0o1777, true),
        (&top, theirs, 0o755, true),
    ] {
        let before = fs::metadata(path).unwrap().permissions();
        lchown(path, None, group).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let shown = path.display();
        match load() {
            Ok(_) => assert!(loads, "{shown} {group:?} {mode:o}"),
            Err(text) => assert!(
                !loads && text.contains(&format!("others than root can write {shown} (mode {mode:o}); look at what is in it, then run `chmod go-w {shown}`")),
                "{shown} {group:?} {mode:o}: {text}"
            ),
        }
        lchown(path, None, roots).unwrap();
        fs::set_permissions(path, before).unwrap();
    }
    // In a sticky folder anyone may make a link to a file of root's.
    fs::set_permissions(&drop_ins, fs::Permissions::from_mode(0o1777)).unwrap();
    let link = drop_ins.join("3.toml");
    symlink(&main, &link).unwrap();
    load().unwrap();
    lchown(&link, theirs, None).unwrap();
    let text = load().unwrap_err();
    assert!(text.contains("3.toml belongs to user 1234"), "{text}");
    fs::remove_file(link).unwrap();
    load().unwrap();
}

#[test]
fn drop_ins_override_key_by_key_and_forwards_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    let drop_ins = folder.path().join("w.toml.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&main, "[mtu]\nvalue = 1400\nunderlay = \"leave\"\n[[forward]]\nname=\"a\"\nprotocol=\"tcp\"\nlisten-port=1\n[[forward]]\nname=\"b\"\nprotocol=\"tcp\"\nlisten-port=2\n").unwrap();
    fs::write(drop_ins.join("20.toml"), "[mtu]\nvalue = 1300\n").unwrap();
    fs::write(
        drop_ins.join("10.toml"),
        "[mtu]\nvalue = 1290\n[[forward]]\nname=\"a\"\nprotocol=\"tcp\"\nlisten-port=3\n",
    )
    .unwrap();
    fs::write(drop_ins.join("30.toml.bak"), "nonsense").unwrap();
    let settings = Settings::load(&Source::File(main)).unwrap();
    assert_eq!((settings.mtu, settings.underlay), (1300, Underlay::Leave));
    let forwards: Vec<_> = settings
        .forwards
        .iter()
        .map(|f| (f.name.as_str(), f.listen_port.first().get()))
        .collect();
    assert_eq!(forwards, [("b", 2), ("a", 3)]);
    assert_eq!(settings.files.len(), 3);
}

#[test]
fn later_file_replaces_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    let drop_ins = folder.path().join("w.toml.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&main, "[dependents]\nunits = [\"a\", \"b\"]\n").unwrap();
    let units = |text: &str| {
        fs::write(drop_ins.join("10.toml"), text).unwrap();
        let settings = Settings::load(&Source::File(main.clone())).unwrap();
        let text = |dependent: &Dependent| format!("{} {}", dependent.action, dependent.unit);
        settings.dependents.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(
        units("[dependents]\nhook-timeout = \"5s\"\n"),
        ["reload-or-restart a.service", "reload-or-restart b.service"]
    );
    assert_eq!(
        units("[dependents]\nunits = [{ name = \"b\", action = \"reload\" }]\n"),
        ["reload b.service"]
    );
    assert_eq!(units("[dependents]\nunits = []\n"), Vec::<String>::new());
}
