use std::fmt::Write as _;

use super::*;

#[test]
fn tables_are_sound() {
    for file in [WslFile::Config, WslFile::Conf] {
        let mut names: Vec<String> = file
            .keys()
            .iter()
            .map(|key| key.name.to_ascii_lowercase())
            .collect();
        for key in file.keys() {
            assert_eq!(file.find(key.name).unwrap().name, key.name);
            let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric());
            assert!(plain(key.section()) && plain(key.key()), "{}", key.name);
            assert!(key.about.ends_with('.'), "{}", key.name);
            // A default that is a value would be taken.
            let is_value = !key.default.is_empty() && !key.default.contains(' ');
            if is_value && !matches!(key.kind, Kind::Text | Kind::Path) {
                assert_eq!(key.kind.rejects(key.default), None, "{}", key.name);
            }
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
    assert!(CONFIG.len() > 50 && CONF.len() > 20);
}

#[test]
fn named_keys() {
    let config = |name: &str| WslFile::Config.find(name).map(|key| key.name);
    let conf = |name: &str| WslFile::Conf.find(name).map(|key| key.name);
    assert_eq!(config("MEMORY"), Ok("wsl2.memory"));
    assert_eq!(
        config("Experimental.NetworkingMode"),
        Ok("wsl2.networkingMode")
    );
    assert_eq!(conf("systemd"), Ok("boot.systemd"));
    let said = |result: Result<&str, KeyError>| result.unwrap_err().to_string();
    for (error, text) in [
        (
            said(config("memroy")),
            "memroy is no key of .wslconfig; perhaps wsl2.memory is meant",
        ),
        (
            said(config("general.networkingMode")),
            "perhaps wsl2.networkingMode is meant",
        ),
        (
            said(config("wsl2.instanceIdleTimeout")),
            "perhaps general.instanceIdleTimeout is meant",
        ),
        (
            said(config("staticIp")),
            "`wslmesh wslconfig show` lists all",
        ),
        (
            said(config("networkingMode.excludedInterfaces")),
            "not a WSL key, although guides name it",
        ),
        (
            said(config("systemd")),
            "boot.systemd is a key of /etc/wsl.conf, not of .wslconfig; run `sudo wslmesh wslconf set boot.systemd VALUE`",
        ),
        (
            said(conf("wsl2.memory")),
            "wsl2.memory is a key of .wslconfig, not of /etc/wsl.conf",
        ),
        (
            said(conf("enabled")),
            "enabled is in several sections; name one of automount.enabled, fileServer.enabled, gpu.enabled, interop.enabled",
        ),
        (said(conf("\u{1b}[2J")), "\\u{1b}[2J is no key"),
    ] {
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn faults_name_line_and_fix() {
    let text = "[wsl2]\nmemroy=4GB\nmemory=4gb\nMemory=8GB\nsystemd=true\nkernel=C:\\k\nswapFile=C:\\\\K\u{e4}se\n[boot]\nsystemd=true\nautoMemoryReclaim=gradual\n[wslg]\nx=y\n";
    let faults = WslFile::Config.faults(&Ini::wslconfig(text.as_bytes()), None);
    let found: Vec<(usize, bool, &str)> = faults
        .iter()
        .map(|fault| (fault.line, fault.warns, fault.fix.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (
                2,
                false,
                "Write memory into the section [wsl2], in place of line 2"
            ),
            (3, true, "Run `wslmesh wslconfig set wsl2.memory VALUE`"),
            (
                4,
                true,
                "Remove line 4, or line 3 if the later value is meant"
            ),
            (5, false, "Remove line 5"),
            (6, true, "Correct line 6, or remove it"),
            (7, true, "Use a path or name without other characters"),
            (
                9,
                false,
                "Run `sudo wslmesh wslconf set boot.systemd VALUE`, and remove line 9"
            ),
            (
                10,
                false,
                "Write autoMemoryReclaim into the section [experimental], in place of line 10"
            ),
            (12, false, "Remove line 12"),
        ]
    );
}

#[test]
fn macs() {
    for (text, right) in [
        ("00-15-5d-01-02-03", true),
        ("00:15:5D:01:02:03", true),
        ("00-15:5d-01-02-03", false),
        ("00-15-5d-01-02", false),
        ("00155d010203", false),
        ("0g-15-5d-01-02-03", false),
    ] {
        assert_eq!(Kind::Mac.rejects(text).is_none(), right, "{text}");
    }
}

#[test]
fn versions() {
    let key = |name| WslFile::Config.find(name).unwrap();
    for (name, version, known) in [
        ("memory", "2.0.0", true),
        ("instanceIdleTimeout", "2.5.7.0", false),
        ("instanceIdleTimeout", "2.5.10.0", true),
        ("instanceIdleTimeout", "2.10", true),
        ("isolateDistroCgroup", "2.9.4.0", false),
        ("isolateDistroCgroup", "2.9.5.0", true),
    ] {
        assert_eq!(key(name).is_in(Some(version)), known, "{name} {version}");
    }
    assert!(key("swiotlb").is_in(None));
    let ini = Ini::wslconfig(b"[general]\ninstanceIdleTimeout=-1\n");
    let faults = WslFile::Config.faults(&ini, Some("2.5.7.0"));
    assert_eq!(
        faults[0].detail,
        "[general] instanceIdleTimeout (line 2) needs WSL 2.5.10, and this is 2.5.7.0"
    );
    assert!(WslFile::Config.faults(&ini, Some("2.6.1.0")).is_empty());
}

/// docs/wsl-files.md: the part behind its heading "Keys" and the paragraph there.
fn documented() -> String {
    let mut page = String::new();
    for file in [WslFile::Config, WslFile::Conf] {
        write!(
            page,
            "\n### {file}\n\n| key | takes | default | since | |\n|---|---|---|---|---|\n"
        )
        .unwrap();
        for key in file.keys() {
            let code = |text: &str| match text {
                "" => String::new(),
                text if text.contains(' ') => text.to_owned(),
                text => format!("`{text}`"),
            };
            let (name, kind, default, since, about) =
                (key.name, key.kind, code(key.default), key.since, key.about);
            writeln!(
                page,
                "| `{name}` | {kind} | {default} | {since} | {about} |"
            )
            .unwrap();
        }
    }
    page.replace(
        "a size such as 4GB: digits and KB, MB, GB or TB, in capitals and without a blank",
        "a size",
    )
}

#[test]
fn the_documentation_is_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wsl-files.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let by_hand = written.split("\n### ").next().unwrap();
    let page = format!("{by_hand}{}", documented());
    if std::env::var_os("WSLMESH_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    } else {
        assert!(
            written == page,
            "docs/wsl-files.md is not current: WSLMESH_WRITE_DOCS=1 cargo test --lib keys"
        );
    }
}
