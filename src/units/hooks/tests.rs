use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(this.folder()).unwrap();
        for folder in [
            this.0.path(),
            &this.0.path().join("hooks.d"),
            &this.folder(),
        ] {
            mode(folder, 0o755);
        }
        this
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("hooks.d/e")
    }

    fn put(&self, name: &str, bits: u32) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        mode(&path, bits);
        path
    }

    fn trust(&self, owner: u32) -> Trust {
        Trust {
            owner,
            top: self.0.path().canonicalize().unwrap(),
        }
    }

    /// Names that may be run, and the reasons against others.
    fn look(&self, owner: u32) -> (Vec<String>, Vec<String>) {
        let found = hooks(&self.folder(), &self.trust(owner));
        let (hooks, findings) = found.unwrap_or_else(|finding| (Vec::new(), vec![finding]));
        let root = format!("{}/", self.0.path().display());
        let said = |finding: &Finding| {
            assert_eq!(finding.code, Code::HookRefused);
            format!("{}: {}", finding.subject, finding.detail).replace(&root, "")
        };
        (
            hooks.into_iter().map(|hook| hook.name).collect(),
            findings.iter().map(said).collect(),
        )
    }
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn hooks_are_sorted_and_backups_left_out() {
    let folders = Folders::new();
    for name in ["20-b", "10-a.sh", "Z"] {
        folders.put(name, 0o755);
    }
    for name in [".hidden", "x~", "x.dpkg-old", "x.rpmsave", "x.bak"] {
        folders.put(name, 0o755);
    }
    folders.put("README", 0o644);
    assert_eq!(
        folders.look(us()),
        (
            ["10-a.sh", "20-b", "Z"].map(str::to_owned).into(),
            Vec::new()
        )
    );
}

#[test]
fn missing_or_empty_folder_has_no_hooks() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        hooks(&folder.path().join("hooks.d/e"), &Trust::root()),
        Ok((Vec::new(), Vec::new()))
    );
    let folders = Folders::new();
    mode(folders.0.path(), 0o777);
    assert_eq!(
        folders.look(us()),
        (Vec::new(), Vec::new()),
        "nothing in it"
    );
}

#[test]
fn hook_that_others_can_change_is_refused() {
    let folders = Folders::new();
    folders.put("fine", 0o700);
    folders.put("group", 0o775);
    folders.put("others", 0o757);
    folders.put("a b", 0o755);
    folders.put(&"n".repeat(65), 0o755);
    fs::create_dir(folders.folder().join("folder")).unwrap();
    symlink("nowhere", folders.folder().join("lost")).unwrap();
    symlink("fine", folders.folder().join("link")).unwrap();
    let (hooks, why) = folders.look(us());
    assert_eq!(hooks, ["fine", "link"]);
    let expected = [
        "hooks.d/e/a b: a hook's name has up to 64",
        "hooks.d/e/folder: it is not a regular file",
        "hooks.d/e/group: hooks.d/e/group is writable by others than its owner (chmod go-w hooks.d/e/group)",
        "hooks.d/e/lost: it leads nowhere",
        "hooks.d/e/nnn",
        "hooks.d/e/others: hooks.d/e/others is writable",
    ];
    assert_eq!(why.len(), expected.len(), "{why:#?}");
    for (why, expected) in why.iter().zip(expected) {
        assert!(why.starts_with(expected), "{why}\n not {expected}");
    }
}

#[test]
fn hook_of_another_owner_is_refused() {
    let folders = Folders::new();
    folders.put("fine", 0o755);
    // Root may give a file away; another user can only expect another owner.
    let owner = if us() == 0 {
        let owner = 4711;
        std::os::unix::fs::chown(folders.folder().join("fine"), Some(owner), None).unwrap();
        0
    } else {
        us() + 1
    };
    let (hooks, why) = folders.look(owner);
    assert_eq!(hooks, Vec::<String>::new());
    assert!(why[0].contains("and not to root (chown root "), "{why:?}");
}

#[test]
fn folder_that_others_can_change_has_no_hooks() {
    for open in ["", "hooks.d", "hooks.d/e"] {
        let folders = Folders::new();
        folders.put("fine", 0o755);
        mode(&folders.0.path().join(open), 0o775);
        let (hooks, why) = folders.look(us());
        assert_eq!(hooks, Vec::<String>::new(), "{open}");
        assert!(why[0].contains("no hook below it is run"), "{why:?}");
    }
}

#[test]
fn every_folder_above_a_linked_folder_is_checked() {
    for (bits, expected) in [(0o755, 1), (0o1777, 0)] {
        let folders = Folders::new();
        let middle = folders.0.path().join("middle");
        fs::create_dir_all(middle.join("real")).unwrap();
        fs::write(middle.join("real/10-dns"), "#!/bin/sh\n").unwrap();
        mode(&middle.join("real"), 0o755);
        mode(&middle.join("real/10-dns"), 0o755);
        mode(&middle, bits);
        fs::remove_dir(folders.folder()).unwrap();
        symlink("../middle/real", folders.folder()).unwrap();
        let (hooks, why) = folders.look(us());
        assert_eq!(hooks.len(), expected, "{why:?}");
        assert_eq!(why.len(), 1 - expected);
        assert!(
            why.iter()
                .all(|why| why.contains("middle is writable by others")),
            "{why:?}"
        );
    }
}

#[test]
fn symlink_in_a_folder_of_others_is_not_followed() {
    let folders = Folders::new();
    folders.put("fine", 0o755);
    let open = folders.0.path().join("open");
    fs::create_dir(&open).unwrap();
    symlink(folders.folder().join("fine"), open.join("link")).unwrap();
    mode(&open, 0o777);
    symlink(open.join("link"), folders.folder().join("there")).unwrap();
    symlink("round", folders.folder().join("round")).unwrap();
    let (hooks, why) = folders.look(us());
    assert_eq!((hooks, why.len()), (vec!["fine".to_owned()], 2));
    assert!(why[0].contains("too many symlinks"), "{why:?}");
    assert!(why[1].contains("open is writable by others"), "{why:?}");
}

#[test]
fn hook_is_checked_again_before_it_runs() {
    let folders = Folders::new();
    let path = folders.put("10-dns", 0o755);
    let trust = folders.trust(us());
    let found = hooks(&folders.folder(), &trust).unwrap().0.remove(0);
    assert_eq!(check_again(&found, &trust), Ok(Some(found.clone())));
    mode(&folders.folder(), 0o777);
    assert_eq!(
        check_again(&found, &trust).unwrap_err().code,
        Code::HookRefused
    );
    mode(&folders.folder(), 0o755);
    fs::remove_file(path).unwrap();
    assert_eq!(check_again(&found, &trust), Ok(None));
}

#[test]
fn symlink_out_of_the_folder_is_checked_up_to_the_root() {
    let (folders, elsewhere) = (Folders::new(), tempfile::tempdir().unwrap());
    let program = elsewhere.path().join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    mode(&program, 0o755);
    mode(elsewhere.path(), 0o777);
    symlink(&program, folders.folder().join("10-out")).unwrap();
    let (hooks, why) = folders.look(us());
    assert_eq!((hooks.len(), why.len()), (0, 1));
    assert!(why[0].contains("is writable by others"), "{why:?}");
}
