use super::*;

#[test]
fn drive_paths_map_to_where_the_drive_is_mounted() {
    let table = [
        (
            r"C:\Program Files\wslmesh\wslmesh-relay.exe",
            "/srv/drive/Program Files/wslmesh/wslmesh-relay.exe",
        ),
        (
            r"d:\Users\J\u{f6}rg\AppData\Local\",
            "/srv/drive/Users/J/u{f6}rg/AppData/Local",
        ),
        (
            "C:\\Users\\J\u{f6}rg $(x) 'y'",
            "/srv/drive/Users/J\u{f6}rg $(x) 'y'",
        ),
    ];
    for (windows, linux) in table {
        let path = DrivePath::new(windows).unwrap();
        assert_eq!(path.on_linux(Path::new("/srv/drive")), Path::new(linux));
    }
    let base = DrivePath::new(r"C:\a").unwrap();
    assert_eq!(base.join("b.exe").unwrap().as_str(), r"C:\a\b.exe");
    assert!(base.join("..").is_err());
}

#[test]
fn other_paths_are_refused() {
    let long = format!("C:\\{}", "a".repeat(LONGEST));
    for text in [
        "",
        "C:",
        "C:\\",
        "C:relative",
        "\\\\server\\share",
        "\\\\?\\C:\\a",
        "/mnt/c/a",
        "CC:\\a",
        "1:\\a",
        "C:\\a\\..\\b",
        "C:\\a\\.. \\b",
        "C:\\a\\...\\b",
        "C:\\a\\.\\b",
        "C:\\a\\\\b",
        "C:\\a/b",
        "C:\\a:stream",
        "C:\\a\nb",
        "C:\\a\u{202e}b",
        "C:\\a\"b",
        "C:\\a*",
        long.as_str(),
    ] {
        assert!(DrivePath::new(text).is_err(), "{text:?}");
    }
}
