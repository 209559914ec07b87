use super::*;

struct Machine {
    folder: tempfile::TempDir,
    saved: Saved,
}

impl Machine {
    /// WSL's file, and where /etc/resolv.conf would be.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("wsl"), "nameserver 10.255.255.254\n").unwrap();
        let saved = Saved::new(&folder.path().join("state"));
        Self { folder, saved }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("etc/resolv.conf")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("wsl")
    }

    fn link(&self) -> Result<(), ResolvConfError> {
        link(&self.path(), &self.target(), &self.saved)
    }

    /// What is saved, put back.
    fn unlink(&self) -> bool {
        let was = self.saved.load().unwrap().resolv_conf.unwrap();
        unlink(&self.path(), &was).unwrap()
    }

    /// No temporary file stays.
    fn tidy(&self) {
        let names = fs::read_dir(self.folder.path().join("etc")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == "resolv.conf"), "{names:?}");
    }
}

#[test]
fn what_names_no_server_is_linked_and_put_back() {
    type Make = fn(&Path);
    let rows: &[(&str, Make, Make)] = &[
        (
            "missing",
            |_| {},
            |path| assert!(path.symlink_metadata().is_err()),
        ),
        (
            "dangling",
            |path| symlink("/nowhere/wsl", path).unwrap(),
            |path| assert_eq!(fs::read_link(path).unwrap(), Path::new("/nowhere/wsl")),
        ),
        (
            "empty",
            |path| fs::write(path, "").unwrap(),
            |path| assert_eq!(fs::read_to_string(path).unwrap(), ""),
        ),
        (
            "without a server",
            |path| fs::write(path, "search lan\n").unwrap(),
            |path| assert_eq!(fs::read_to_string(path).unwrap(), "search lan\n"),
        ),
    ];
    for (what, make, as_before) in rows {
        let machine = Machine::new();
        make(&machine.path());
        machine
            .link()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(
            fs::read_link(machine.path()).unwrap(),
            machine.target(),
            "{what}"
        );
        machine.tidy();
        assert!(
            matches!(machine.link(), Err(ResolvConfError::Left(_))),
            "{what}: done"
        );
        assert!(machine.unlink(), "{what}");
        as_before(&machine.path());
        machine.tidy();
        assert!(!machine.unlink(), "{what}: it is no link of ours any more");
    }
}

#[test]
fn everything_else_is_left() {
    type Make = fn(&Path);
    let large = |path: &Path| fs::write(path, "#".repeat(10 << 20)).unwrap();
    let rows: &[(&str, Make)] = &[
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a pipe", |path| {
            rustix::fs::mkfifoat(CWD, path, 0o600.into()).unwrap();
        }),
        ("10 MB", large),
        ("a list of servers", |path| {
            fs::write(path, "nameserver 10.0.0.1\n").unwrap()
        }),
        ("no text", |path| fs::write(path, b"\xff\xfe").unwrap()),
    ];
    for (what, make) in rows {
        let machine = Machine::new();
        make(&machine.path());
        let before = resolver(&machine.path());
        assert!(
            matches!(machine.link(), Err(ResolvConfError::Left(_))),
            "{what}"
        );
        assert_eq!(resolver(&machine.path()), before, "{what}");
        assert_eq!(machine.saved.load().unwrap().resolv_conf, None, "{what}");
        machine.tidy();
    }
    // Through a link it is another program's file, as that of all distributions.
    let machine = Machine::new();
    fs::write(machine.target(), "").unwrap();
    symlink(machine.target(), machine.path()).unwrap();
    assert!(matches!(machine.link(), Err(ResolvConfError::Left(_))));
}

#[test]
fn without_wsls_file_nothing_is_linked() {
    let machine = Machine::new();
    fs::remove_file(machine.target()).unwrap();
    let error = machine.link().unwrap_err().to_string();
    assert!(
        error.contains("does not exist; run `wsl.exe --shutdown`"),
        "{error}"
    );
    assert!(machine.path().symlink_metadata().is_err());
    assert_eq!(machine.saved.load().unwrap().resolv_conf, None);
}

#[test]
fn what_another_program_made_meanwhile_stays() {
    let machine = Machine::new();
    let found = resolver(&machine.path());
    fs::write(machine.path(), "nameserver 10.0.0.1\n").unwrap();
    let make = |temporary: &Path| symlink(machine.target(), temporary);
    let error = replace(&machine.path(), &found, make).unwrap_err();
    assert!(matches!(error, ResolvConfError::Changed(_)), "{error}");
    machine.tidy();

    let found = resolver(&machine.path());
    fs::write(machine.path(), "nameserver 10.0.0.2\n").unwrap();
    let error = replace(&machine.path(), &found, make).unwrap_err();
    assert!(matches!(error, ResolvConfError::Changed(_)), "{error}");
    let now = fs::read_to_string(machine.path()).unwrap();
    assert_eq!(now, "nameserver 10.0.0.2\n");
    machine.tidy();
}
