use super::*;

#[test]
fn automount_roots() {
    let table = [
        ("", "/mnt"),
        ("[automount]\nroot = /windir/\n", "/windir/"),
        (
            "[AutoMount]\r\nRoot=\"/w\" # mine\r\nroot=/second\r\n",
            "/w",
        ),
        ("[boot]\nroot=/no\n[automount]\nenabled=true\n", "/mnt"),
        ("[automount]\nroot=relative\n", "/mnt"),
        ("#[automount]\nroot=/no\n", "/mnt"),
    ];
    for (conf, root) in table {
        assert_eq!(
            automount_root(&Ini::wsl_conf(conf.as_bytes())),
            Path::new(root),
            "{conf:?}"
        );
    }
}

const SHARE: &str = "{1c64b8d1-9d52-4b4e-9b4e-3f3c0b0a7a11}";

#[test]
fn drives_are_where_they_are_mounted() {
    let p9 = |at: &str, name: &str| {
        format!(
            "90 72 0:46 / {at} rw,noatime - 9p C:\\134 rw,dirsync,aname={name},mmap,access=client,trans=fd\n"
        )
    };
    let c = p9(
        "/mnt/c",
        "drvfs;path=C:\\134;uid=1000;gid=1000;umask=77;fmask=11;symlinkroot=/mnt/",
    );
    let table = [
        ("", None),
        (c.as_str(), Some("/mnt/c")),
        // By fstab: a folder with any name.
        (
            &p9("/srv/win\\040c", "drvfs;path=C:;uid=0"),
            Some("/srv/win c"),
        ),
        (&p9("/mnt/x", "drvfs;path=D:\\134"), None),
        (&p9("/mnt/x", "drvfs;path=C:\\134Users"), None),
        (
            &p9("/usr/lib/wsl/drivers", "drivers;fmask=222;dmask=222"),
            None,
        ),
        (
            "90 72 0:46 / /mnt/c rw - drvfs C:\\134 rw,uid=1000\n",
            Some("/mnt/c"),
        ),
        (
            "90 72 0:46 / /mnt/c rw - virtiofs drvfsC rw\n",
            Some("/mnt/c"),
        ),
        (
            "90 72 0:46 / /mnt/c rw shared:1 - virtiofs drvfsaC rw\n",
            Some("/mnt/c"),
        ),
        (
            "90 72 0:46 / /mnt/c rw - virtiofs drvfsC0 rw\n",
            Some("/mnt/c"),
        ),
        (
            "90 72 0:46 / /mnt/c rw - virtiofs drvfsaC12 rw\n",
            Some("/mnt/c"),
        ),
        (
            "90 72 0:46 / /run/wsl/virtiofs-mounts/x rw - virtiofs drvfsC rw\n",
            None,
        ),
        // Since WSL 2.8 a share's name is a GUID.
        (
            &format!("90 72 0:46 / /mnt/c rw - virtiofs {SHARE} rw\n"),
            Some("/mnt/c"),
        ),
        (
            &format!("90 72 0:46 /Users /c rw - virtiofs {SHARE} rw\n"),
            None,
        ),
        (
            &format!(
                "90 72 0:46 / /mnt/x rw - virtiofs {} rw\n",
                SHARE.replace('1', "2")
            ),
            None,
        ),
        ("90 72 0:46 / /mnt/c rw - virtiofs ../C rw\n", None),
        // After 2.9.4 it is a folder of one device, which has a mount of its own.
        (
            &format!(
                "89 72 0:46 / /run/wsl/virtiofs-mounts/drvfsa rw - virtiofs drvfsa rw\n\
                 90 72 0:46 /{SHARE} /mnt/c rw - virtiofs drvfsa rw\n"
            ),
            Some("/mnt/c"),
        ),
        (
            &format!("90 72 0:46 /{SHARE}/Users /mnt/c rw - virtiofs drvfs rw\n"),
            None,
        ),
        // A folder of the drive, as docker binds them.
        ("90 72 0:46 /Users /c rw - drvfs C:\\134 rw\n", None),
        ("not a mount - 9p", None),
    ];
    for (mountinfo, at) in table {
        let shown = |share: &str| match share {
            SHARE => Some("C:\\".to_owned()),
            "../C" => panic!("no share has this name"),
            _ => None,
        };
        let drives = Drives::of(mountinfo.as_bytes(), b"[automount]\nroot=/guess\n", shown);
        if at.is_some() {
            assert!(drives.hold("/mnt/c/x") || drives.hold("/srv/win c/x"));
        }
        let at = at.unwrap_or("/guess/c");
        assert_eq!(drives.folder('C'), Path::new(at), "{mountinfo}");
        let path = DrivePath::new("C:\\Users\\ann").unwrap();
        assert_eq!(drives.on_linux(&path), Path::new(at).join("Users/ann"));
    }
    let hidden = format!("{c}91 72 0:50 / /mnt rw - tmpfs none rw\n");
    let drives = Drives::of(hidden.as_bytes(), b"[automount]\nroot=/guess\n", |_| None);
    assert_eq!(drives.folder('c'), Path::new("/guess/c"));
}

#[test]
fn masks_are_named() {
    let mountinfo = "90 72 0:46 / /mnt/c rw - 9p C:\\134 rw,aname=drvfs;path=C:\\134;uid=1000;umask=77;fmask=11,access=client\n";
    let drives = Drives::of(mountinfo.as_bytes(), b"", |_| None);
    let reason = drives.reason(Path::new("/mnt/c/Windows"));
    assert_eq!(reason, "the drive is mounted with umask=77,fmask=11");
    let reason = drives.reason(Path::new("/mnt/cc"));
    assert_eq!(reason, "the drive belongs to the default user");
}

#[test]
fn folders_of_drives_are_on_them() {
    let p9 = |root: &str, at: &str, more: &str| {
        format!("90 72 0:46 {root} {at} rw - 9p C:\\134 rw,aname=drvfs;path=C:\\134;{more}\n")
    };
    let shown = |share: &str| (share == SHARE).then(|| "D:".to_owned());
    let share =
        |folder: &str| format!("91 72 0:47 /{SHARE}{folder} /srv/d rw - virtiofs drvfs rw\n");
    let mountinfo = [
        p9("/", "/mnt/c", "uid=1000;metadata;umask=22"),
        p9("/Users/ann/db", "/var/lib/pg", "uid=1000"),
        share("/Users"),
        "92 72 0:48 / /home rw - ext4 /dev/sdc rw\n".to_owned(),
    ];
    let mountinfo = mountinfo.concat();
    let of = |conf: &str| Drives::of(mountinfo.as_bytes(), conf.as_bytes(), shown);
    let drives = of("");
    for (path, drive) in [
        ("/mnt/c/x", Some(None)),
        ("/var/lib/pg/base/1", Some(Some("C: (/var/lib/pg)"))),
        ("/srv/d", Some(Some("D: (/srv/d)"))),
        ("/home/ann", None),
        ("/var/lib/pgx", None),
    ] {
        assert_eq!(drives.hold(path), drive.is_some(), "{path}");
        let lacks = drives.without_metadata(path);
        assert_eq!(lacks.as_deref(), drive.flatten(), "{path}");
    }
    // No folder is taken for the drive.
    assert_eq!(drives.folder('d'), Path::new("/mnt/d"));
    let drives = of("[automount]\noptions = \"metadata,umask=22\"\n");
    assert_eq!(
        drives.without_metadata("/srv/d"),
        None,
        "only Windows knows"
    );
    assert!(drives.without_metadata("/var/lib/pg").is_some());
}
