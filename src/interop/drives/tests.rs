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
        assert_eq!(automount_root(conf.as_bytes()), Path::new(root), "{conf:?}");
    }
}

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
            "90 72 0:46 / /run/wsl/virtiofs-mounts/x rw - virtiofs drvfsC rw\n",
            None,
        ),
        // A folder of the drive, as docker binds them.
        ("90 72 0:46 /Users /c rw - drvfs C:\\134 rw\n", None),
        ("not a mount - 9p", None),
    ];
    for (mountinfo, at) in table {
        let drives = Drives::from_files(mountinfo.as_bytes(), b"[automount]\nroot=/guess\n");
        let at = at.unwrap_or("/guess/c");
        assert_eq!(drives.folder('C'), Path::new(at), "{mountinfo}");
        let path = DrivePath::new("C:\\Users\\ann").unwrap();
        assert_eq!(drives.on_linux(&path), Path::new(at).join("Users/ann"));
    }
    let hidden = format!("{c}91 72 0:50 / /mnt rw - tmpfs none rw\n");
    let drives = Drives::from_files(hidden.as_bytes(), b"[automount]\nroot=/guess\n");
    assert_eq!(drives.folder('c'), Path::new("/guess/c"));
}

#[test]
fn masks_are_named() {
    let mountinfo = "90 72 0:46 / /mnt/c rw - 9p C:\\134 rw,aname=drvfs;path=C:\\134;uid=1000;umask=77;fmask=11,access=client\n";
    let drives = Drives::from_files(mountinfo.as_bytes(), b"");
    let reason = drives.reason(Path::new("/mnt/c/Windows"));
    assert_eq!(reason, "the drive is mounted with umask=77,fmask=11");
    let reason = drives.reason(Path::new("/mnt/cc"));
    assert_eq!(reason, "the drive belongs to the default user");
}
