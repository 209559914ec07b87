use super::*;

const TEXT: &str = "\u{feff}# mine\r\n[Boot]\r\nSystemd = true # yes\r\nsystemd=false\r\n[network]\r\ngenerateResolvConf=\"false\"\r\nnonsense\r\n[broken\r\nx=1\r\n";

#[test]
fn reads_what_wsl_reads() {
    let ini = Ini::parse(TEXT.trim_start_matches('\u{feff}'));
    assert_eq!(ini.get("boot", "systemd"), Some("true"));
    assert_eq!(ini.get("NETWORK", "generateresolvconf"), Some("false"));
    assert_eq!(ini.get("boot", "nonsense"), None);
    assert_eq!(ini.repeated().len(), 1);
    assert_eq!(ini.invalid, [7, 8]);
    assert_eq!(ini.repeated()[0].to_string(), "[boot] systemd (line 4)");
    assert_eq!(ini.get("broken", "x"), Some("1"));
}

#[test]
fn encodings_of_windows() {
    let plain = TEXT.trim_start_matches('\u{feff}');
    let expected = Ini::parse(plain);
    let wide =
        |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> { TEXT.encode_utf16().flat_map(bytes).collect() };
    for bytes in [
        TEXT.as_bytes().to_vec(),
        plain.as_bytes().to_vec(),
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
    ] {
        assert_eq!(Ini::decode(&bytes), expected);
    }
}

#[test]
fn booleans() {
    for (text, value) in [
        ("True", Some(true)),
        ("1", Some(true)),
        ("FALSE", Some(false)),
        ("0", Some(false)),
        ("yes", None),
        ("", None),
    ] {
        assert_eq!(boolean(text), value, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let ini = Ini::decode(&bytes);
        proptest::prop_assert!(ini.repeated().len() <= ini.entries.len());
    }

    #[test]
    fn what_is_written_is_found(section in "[a-z]{1,8}", key in "[a-zA-Z]{1,8}", value in "[a-z0-9./]{0,12}") {
        let text = format!("[{section}]\n{key} = {value}\n");
        let ini = Ini::parse(&text);
        proptest::prop_assert_eq!(ini.get(&section, &key.to_uppercase()), Some(value.as_str()));
    }
}
