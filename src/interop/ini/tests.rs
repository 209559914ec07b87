use super::*;

fn conf(text: &str) -> Ini {
    Ini::wsl_conf(text.as_bytes())
}

fn config(text: &str) -> Ini {
    Ini::wslconfig(text.as_bytes())
}

/// Line and problem of each bad line.
fn bad(ini: &Ini) -> Vec<(usize, Problem)> {
    ini.bad.iter().map(|bad| (bad.line, bad.problem)).collect()
}

#[test]
fn reads_what_wsl_reads() {
    let ini = conf(
        "# mine\r\n[Boot]\r\nSystemd = true # yes\r\nsystemd=false\r\n\r\n[network] # net\r\n\tgenerateResolvConf=\"false\"\r\n",
    );
    assert_eq!(ini.get("boot.systemd"), Some("true"));
    assert_eq!(ini.get("NETWORK.generateresolvconf"), Some("false"));
    assert_eq!(ini.bad, []);
    let written: Vec<String> = ini.entries.iter().map(Entry::to_string).collect();
    assert_eq!(
        written,
        [
            "[Boot] Systemd (line 3)",
            "[Boot] systemd (line 4)",
            "[network] generateResolvConf (line 7)"
        ]
    );
}

#[test]
fn values() {
    for (text, value) in [
        ("a b # c", "a b"),
        ("\" a # b \" # c", " a # b "),
        ("a \"b \" c\t", "a b  c"),
        (r#"say \"hi\""#, "say \"hi\""),
        (r"a\\b\tc\nd\be", "a\\b\tc\nd\u{8}e"),
        ("a \\\nb\nc=d", "a b"),
        // A carriage return behind the backslash is left out, and the newline ends it.
        ("a \\\r\nb=d", "a "),
        ("", ""),
        ("a=b", "a=b"),
        ("\\\n", ""),
        ("\"a\\\nb\"", "ab"),
        ("f\u{e4}r", "f\u{e4}r"),
    ] {
        let ini = conf(&format!("[boot]\nkey ={text}\n"));
        assert_eq!(ini.get("boot.key"), Some(value), "{text:?}: {ini:?}");
    }
    // Windows turns CRLF into LF before it looks.
    assert_eq!(
        config("[wsl2]\r\na=b\\\r\n c\r\n").get("wsl2.a"),
        Some("b c")
    );
}

#[test]
fn wsl_conf_ends_at_its_first_bad_line() {
    for (line, problem) in [
        ("static_ip = 1", Problem::Key),
        ("networkingMode.excluded=1", Problem::Key),
        ("nonsense", Problem::Key),
        ("; note", Problem::Start),
        ("1=2", Problem::Start),
        ("=2", Problem::Start),
        ("\u{e4}=2", Problem::Start),
        ("[ boot ]", Problem::Section),
        ("[boot ]", Problem::Section),
        ("[]", Problem::Section),
        ("[boot", Problem::Section),
        ("[boot-2]", Problem::Section),
        ("[boot] systemd=true", Problem::BehindSection),
        ("command=\"a", Problem::Quote),
        ("command=a\" # b", Problem::Quote),
        (r"command=C:\wsl", Problem::Escape),
        ("command=a\\", Problem::Escape),
    ] {
        let end = if line.ends_with('\\') {
            ""
        } else {
            "\n[boot]\nsystemd=true\n"
        };
        let ini = conf(&format!("[user]\ndefault=me\n{line}{end}"));
        assert_eq!(bad(&ini), [(3, problem)], "{line:?}");
        assert_eq!(ini.bad[0].text, line);
        assert_eq!(ini.get("user.default"), Some("me"), "{line:?}");
        assert_eq!(ini.get("boot.systemd"), None, "{line:?}");
    }
}

#[test]
fn wslconfig_goes_on_behind_bad_lines() {
    let ini = config(
        "[wsl2]\n; note\nkernel=C:\\wsl\\k\nmemory=4GB\nnetworkingMode.excludedInterfaces=a\nswap=0\n",
    );
    assert_eq!(
        bad(&ini),
        [(2, Problem::Start), (3, Problem::Escape), (5, Problem::Key)]
    );
    assert_eq!(ini.get("wsl2.memory"), Some("4GB"));
    assert_eq!(ini.get("wsl2.swap"), Some("0"));
    assert_eq!(ini.get("wsl2.kernel"), None);
}

#[test]
fn keys_behind_a_bad_section_count_as_wsl_counts_them() {
    for (text, memory) in [
        // The bracket is followed by no letter: the old section goes on.
        ("[wsl2]\n[ experimental]\nmemory=1GB", Some("1GB")),
        ("[wsl2]\n[-]\nmemory=1GB", Some("1GB")),
        // The first letters of the new name, as many as the old one has.
        ("[wsl2]\n[wsl2 ]\nmemory=1GB", Some("1GB")),
        ("[wsl2]\n[wsl2b ]\nmemory=1GB", Some("1GB")),
        ("[wsl2]\n[experimental ]\nmemory=1GB", None),
        ("[experimental]\n[wsl2 ]\nmemory=1GB", None),
        ("[wsl2 ]\nmemory=1GB", None),
        ("memory=1GB", None),
        ("[wsl2] x\n[wsl2]\nmemory=1GB", Some("1GB")),
    ] {
        assert_eq!(config(text).get("wsl2.memory"), memory, "{text:?}");
    }
}

#[test]
fn keys_that_moved_are_found_in_either_section() {
    let ini = config("[experimental]\nnetworkingMode=nat\n[wsl2]\nnetworkingMode=mirrored\n");
    assert_eq!(ini.get("wsl2.networkingMode"), Some("nat"));
    let ini = config("[experimental]\nsparseVhd=true\n");
    assert_eq!(ini.get("wsl2.sparseVhd"), None);
}

#[test]
fn encodings() {
    const TEXT: &str = "\u{feff}# f\u{fc}r mich\r\n[Boot]\r\nSystemd = true\r\n";
    let plain = TEXT.trim_start_matches('\u{feff}');
    let wide =
        |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> { TEXT.encode_utf16().flat_map(bytes).collect() };
    for bytes in [
        TEXT.as_bytes().to_vec(),
        plain.as_bytes().to_vec(),
        wide(u16::to_le_bytes),
    ] {
        assert_eq!(Ini::wslconfig(&bytes).get("boot.systemd"), Some("true"));
    }
    let big = Ini::wslconfig(&wide(u16::to_be_bytes));
    assert_eq!(bad(&big), [(1, Problem::Encoding)]);
    assert_eq!(bad(&conf(TEXT)), [(1, Problem::ByteOrderMark)]);
    for wide in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
        assert_eq!(bad(&Ini::wsl_conf(&wide)), [(1, Problem::Encoding)]);
    }
    assert_eq!(bad(&Ini::wsl_conf(b"\xff\xfe=1\n")), [(1, Problem::Start)]);
    // Latin-1 in a comment or a value is no reason to stop.
    let latin = Ini::wsl_conf(b"# f\xfcr\n[automount]\nroot=/media/\xfc\noptions=x\n");
    assert_eq!(latin.get("automount.options"), Some("x"));
    assert_eq!(latin.bad, []);
}

#[test]
fn kinds_of_values() {
    for (text, value) in [
        ("True", Some(true)),
        ("1", Some(true)),
        ("FALSE", Some(false)),
        ("0", Some(false)),
        ("yes", None),
        ("off", None),
        ("", None),
    ] {
        assert_eq!(boolean(text), value, "{text}");
    }
    for (text, value) in [
        ("0", Some(0)),
        ("4GB", Some(4 << 30)),
        ("8G", Some(8 << 30)),
        ("512MB", Some(512 << 20)),
        ("1B", Some(1)),
        ("4gb", None),
        ("2 GB", None),
        ("GB", None),
        ("", None),
        ("1.5GB", None),
        ("-1", None),
        ("16777216TB", None),
    ] {
        assert_eq!(size(text), value, "{text}");
    }
    for (text, value) in [
        ("-1", Some(-1)),
        ("60000", Some(60_000)),
        ("0x10", Some(16)),
        ("022", Some(18)),
        ("0", Some(0)),
        ("+5", Some(5)),
        ("", None),
        ("-", None),
        ("0x", None),
        ("5s", None),
        ("4000000000", None),
        ("--1", None),
        ("08", None),
    ] {
        assert_eq!(integer(text), value, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        proptest::prop_assert!(Ini::wsl_conf(&bytes).bad.len() < 2);
        drop(Ini::wslconfig(&bytes));
    }

    #[test]
    fn what_is_written_is_found(section in "[a-z]{1,8}", key in "[a-zA-Z][a-zA-Z0-9]{0,8}", value in "[a-z0-9./]{0,12}") {
        let ini = conf(&format!("[{section}]\n{key} = {value}\n"));
        proptest::prop_assert_eq!(ini.get(&format!("{section}.{}", key.to_uppercase())), Some(value.as_str()));
    }
}
