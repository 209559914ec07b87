use proptest::prelude::*;

use super::*;
use crate::interop::keys::Kind;

fn set_in(file: WslFile, text: &[u8], name: &str, value: &str) -> Result<Edited, EditError> {
    set(file, text, file.find(name).unwrap(), value)
}

/// The text of .wslconfig with a value set.
fn config(text: &str, name: &str, value: &str) -> String {
    let edited = set_in(WslFile::Config, text.as_bytes(), name, value).unwrap();
    String::from_utf8(edited.bytes).unwrap()
}

fn conf(text: &str, name: &str, value: &str) -> String {
    let edited = set_in(WslFile::Conf, text.as_bytes(), name, value).unwrap();
    String::from_utf8(edited.bytes).unwrap()
}

#[test]
fn changes_one_line() {
    let old = "# mine\r\n[wsl2] # here\r\n  Memory =  \"4GB\"   # half\r\n\r\nswap=0";
    let new = config(old, "memory", "8GB");
    assert_eq!(new, old.replace("\"4GB\"", "8GB"));
    assert_eq!(
        config(&new, "wsl2.swap", "2GB"),
        new.replace("swap=0", "swap=2GB")
    );
    // A value over several lines, none at all, and one that was rejected.
    assert_eq!(
        conf("[boot]\ncommand=a \\\n b # c\n", "command", "d"),
        "[boot]\ncommand=d # c\n"
    );
    assert_eq!(
        conf("[boot]\ncommand=\nsystemd=true", "command", "d"),
        "[boot]\ncommand=d\nsystemd=true"
    );
    assert_eq!(
        conf("[boot]\ncommand= # c\n", "command", "d"),
        "[boot]\ncommand= d # c\n"
    );
    assert_eq!(
        config("[wsl2]\nmemory=4gb\n", "memory", "4GB"),
        "[wsl2]\nmemory=4GB\n"
    );
    // In the section where WSL has it from before.
    let old = "[experimental]\nnetworkingMode=nat\n";
    assert_eq!(
        config(old, "networkingMode", "mirrored"),
        old.replace("nat", "mirrored")
    );
}

#[test]
fn adds_one_line() {
    let table = [
        // The end of the section, with its end of line; blank lines and comments stay.
        (
            "[wsl2]\r\nswap=0\r\n\r\n# b\r\n[boot]\r\n",
            "[wsl2]\r\nswap=0\r\nmemory=4GB\r\n\r\n# b\r\n[boot]\r\n",
        ),
        ("[wsl2]", "[wsl2]\r\nmemory=4GB"),
        ("[wsl2] # c\nx", "[wsl2] # c\nmemory=4GB\nx"),
        ("[wsl2]\nswap=0 # c", "[wsl2]\nswap=0 # c\nmemory=4GB"),
        // A section is made.
        ("", "[wsl2]\r\nmemory=4GB\r\n"),
        ("\u{feff}", "\u{feff}[wsl2]\r\nmemory=4GB\r\n"),
        ("# mine\n", "# mine\n[wsl2]\nmemory=4GB\n"),
        ("# mine", "# mine\r\n[wsl2]\r\nmemory=4GB"),
        (
            "a=b\r\n[general]\r\nc=d",
            "a=b\r\n[general]\r\nc=d\r\n[wsl2]\r\nmemory=4GB",
        ),
        // Behind a value that goes on.
        ("a=b\\\n", "a=b\\\n\n[wsl2]\nmemory=4GB"),
        ("[wsl2]\nkernel=b\\\n", "[wsl2]\nkernel=b\\\n\nmemory=4GB"),
        // Lines of an old Mac.
        ("[wsl2]\r[boot]\r", "[wsl2]\r\nmemory=4GB\r[boot]\r"),
        // Bad lines are kept.
        (
            "; x\n[wsl2]\nkernel=C:\\k\n",
            "; x\n[wsl2]\nmemory=4GB\nkernel=C:\\k\n",
        ),
    ];
    for (old, new) in table {
        assert_eq!(config(old, "memory", "4GB"), new, "{old:?}");
    }
    assert_eq!(conf("", "systemd", "true"), "[boot]\nsystemd=true\n");
    assert_eq!(
        conf("[boot]\r\na=b\r\n", "systemd", "true"),
        "[boot]\r\na=b\r\nsystemd=true\r\n"
    );
}

#[test]
fn the_value_that_counts() {
    let old = "[experimental]\nnetworkingMode=nat\n[wsl2]\nnetworkingMode=mirrored\nnetworkingmode=none\n";
    let edited = set_in(
        WslFile::Config,
        old.as_bytes(),
        "networkingMode",
        "mirrored",
    )
    .unwrap();
    assert_eq!((edited.line, edited.ignored), (2, vec![4, 5]));
    assert_eq!(edited.before.as_deref(), Some("nat"));
    assert_eq!(edited.bytes, old.replacen("nat", "mirrored", 1).as_bytes());
    // It has it.
    let again = set_in(WslFile::Config, &edited.bytes, "networkingMode", "mirrored").unwrap();
    assert_eq!((again.bytes, again.line), (edited.bytes, 2));
}

#[test]
fn every_encoding_stays() {
    let text = "# caf\u{e9}\r\n[wsl2]\r\nmemory=4GB\r\nswap=0";
    let mut old = vec![0xff, 0xfe];
    old.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    let edited = set_in(WslFile::Config, &old, "memory", "16GB").unwrap();
    let mut new = vec![0xff, 0xfe];
    let text = text.replace("4GB", "16GB");
    new.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(edited.bytes, new);
    // A code page of Windows.
    let edited = set_in(WslFile::Config, b"# caf\xe9\n[wsl2]\n", "memory", "16GB").unwrap();
    assert_eq!(edited.bytes, b"# caf\xe9\n[wsl2]\nmemory=16GB\n");
}

#[test]
fn refuses() {
    let table: &[(WslFile, &[u8], &str, &str, &str)] = &[
        (
            WslFile::Config,
            b"",
            "memory",
            "4gb",
            "wsl2.memory takes a size such as 4GB",
        ),
        (
            WslFile::Config,
            b"",
            "firewall",
            "off",
            "wsl2.firewall takes true or false, and \"off\" is none",
        ),
        (
            WslFile::Config,
            b"",
            "networkingMode",
            "miror",
            "takes one of none, nat, bridged, mirrored",
        ),
        (
            WslFile::Config,
            b"",
            "vmIdleTimeout",
            "10s",
            "takes a number of milliseconds",
        ),
        (
            WslFile::Config,
            b"",
            "macAddress",
            "00-15:5d-01-02-03",
            "takes a MAC address",
        ),
        (
            WslFile::Config,
            b"",
            "kernel",
            "C:\\K\u{e4}se\\k",
            "cannot have the character '\u{e4}': WSL reads ASCII",
        ),
        (
            WslFile::Conf,
            b"",
            "boot.command",
            "a\rb",
            "cannot have the character '\\r': a value is one line",
        ),
        (
            WslFile::Conf,
            b"",
            "boot.command",
            "a\0b",
            "one line of visible characters",
        ),
        (
            WslFile::Config,
            b"\xfe\xff\0[",
            "memory",
            "4GB",
            "stops reading the file at line 1: the file is in a UTF-16",
        ),
        (
            WslFile::Conf,
            b"\xff\xfe[\0",
            "systemd",
            "true",
            "line 1: the file is in a UTF-16",
        ),
        (
            WslFile::Conf,
            b"\xef\xbb\xbf[boot]\n",
            "systemd",
            "true",
            "line 1: the file begins with a byte order mark",
        ),
        (
            WslFile::Conf,
            b"[network]\nstatic_ip = 1\n[boot]\n",
            "systemd",
            "true",
            "line 2: a key is made of letters",
        ),
        // The line that is added would become part of the last one.
        (
            WslFile::Config,
            b"[general]\na=b\\",
            "memory",
            "4GB",
            "with wsl2.memory the file's other lines would be read otherwise",
        ),
    ];
    for (file, old, name, value, said) in table {
        let error = set_in(*file, old, name, value).unwrap_err().to_string();
        assert!(error.contains(said), "{name} {value}: {error}");
    }
    // What is before the bad line counts.
    let old = "[boot]\nsystemd=false\nnonsense\n";
    assert_eq!(conf(old, "systemd", "true"), old.replace("false", "true"));
    assert_eq!(
        conf(old, "boot.command", "x"),
        "[boot]\nsystemd=false\ncommand=x\nnonsense\n"
    );
}

fn values(kind: Kind) -> BoxedStrategy<String> {
    match kind {
        Kind::Boolean => "true|false|0|1|TRUE".boxed(),
        Kind::Integer | Kind::Milliseconds => "-?[0-9]{1,6}"
            .prop_filter("octal", move |text| kind.rejects(text).is_none())
            .boxed(),
        Kind::Size => "[1-9][0-9]{0,3}(KB|MB|GB|G)?".boxed(),
        Kind::Text => "[ -~]{0,30}".boxed(),
        Kind::Path => "[A-Z]:(\\\\[ -~]{1,8}){1,3}".boxed(),
        Kind::Ports => "[1-9][0-9]{0,3}(,[1-9][0-9]{0,3}){0,3}".boxed(),
        Kind::Address => "10\\.0\\.[0-9]\\.[1-9]".boxed(),
        Kind::Mac => "([0-9a-f]{2}-){5}[0-9a-f]{2}".boxed(),
        Kind::Word(words) => proptest::sample::select(words.split(' ').collect::<Vec<_>>())
            .prop_map(str::to_owned)
            .boxed(),
    }
}

/// A file, one of its keys and a value for it.
fn edits() -> impl Strategy<Value = (WslFile, Vec<u8>, &'static Key, String)> {
    let file = proptest::sample::select(vec![WslFile::Config, WslFile::Conf]);
    file.prop_flat_map(|file| {
        let keys: Vec<&'static Key> = file.keys().iter().collect();
        let key = proptest::sample::select(keys);
        (lines(file), key).prop_flat_map(move |(bytes, key)| {
            values(key.kind).prop_map(move |value| (file, bytes.clone(), key, value))
        })
    })
}

/// Files as people and programs leave them, and any bytes.
fn lines(file: WslFile) -> impl Strategy<Value = Vec<u8>> {
    let names = file
        .keys()
        .iter()
        .map(|key| key.key().to_owned())
        .collect::<Vec<_>>();
    let sections = file
        .keys()
        .iter()
        .map(|key| format!("[{}]", key.section()))
        .collect::<Vec<_>>();
    let line = prop_oneof![
        3 => (proptest::sample::select(names), "[ \t]{0,2}=[ \t]?", "[ -~]{0,12}").prop_map(|(key, mark, value)| format!("{key}{mark}{value}")),
        3 => proptest::sample::select(sections),
        1 => "[ -~]{0,16}",
        1 => "# \\PC{0,8}",
        1 => Just(String::new()),
        1 => "[a-z]{1,4} = [a-z ]{0,4}\\\\".prop_map(|text| text),
    ];
    let ends = proptest::sample::select(vec!["\n", "\r\n", "\r\n", "\n", "\r"]);
    let lines = proptest::collection::vec((line, ends), 0..9);
    let text = (lines, proptest::bool::ANY).prop_map(|(lines, whole)| {
        let mut text = String::new();
        for (line, end) in lines {
            text.push_str(&line);
            text.push_str(end);
        }
        if !whole {
            text.pop();
        }
        text
    });
    prop_oneof![
        4 => text.clone().prop_map(String::into_bytes),
        1 => text.clone().prop_map(|text| [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        2 => text.prop_map(|text| [vec![0xff, 0xfe], text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()),
        1 => proptest::collection::vec(any::<u8>(), 0..60),
    ]
}

/// How many bytes two files have in common at their beginning and behind it at their end.
fn common(old: &[u8], new: &[u8]) -> (usize, usize) {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[start..], &new[start..]);
    let end = old.iter().rev().zip(new.iter().rev());
    (start, end.take_while(|(a, b)| a == b).count())
}

proptest! {
    #[test]
    fn any_value_in_any_file((file, old, key, value) in edits()) {
        // What cannot be set is refused, and then there is nothing to look at.
        let Ok(edited) = set(file, &old, key, &value) else { return Ok(()); };
        let (before, after) = (file.parse(&old), file.parse(&edited.bytes));
        prop_assert_eq!(after.get(key.name), Some(value.as_str()));
        let (start, end) = common(&old, &edited.bytes);
        let removed = &old[start..old.len() - end];
        match before.entry(key.name) {
            None => prop_assert!(removed.is_empty(), "{removed:?}"),
            Some(entry) => {
                let text = match file {
                    WslFile::Config => Text::config(&old).unwrap(),
                    WslFile::Conf => Text::conf(&old),
                };
                let at = text.place(entry.at.start)..text.place(entry.at.end);
                let within = removed.is_empty() || at.start <= start && old.len() - end <= at.end;
                prop_assert!(within, "{at:?}: {removed:?}");
                // The old value comes back, where it is one.
                if let Ok(back) = set(file, &edited.bytes, key, &entry.value) {
                    let back = file.parse(&back.bytes);
                    prop_assert_eq!(back.get(key.name), Some(entry.value.as_str()));
                }
            }
        }
        for entry in before.entries() {
            if entry.name != key.name.to_ascii_lowercase() {
                prop_assert_eq!(after.get(&entry.name), before.get(&entry.name));
            }
        }
        // Again it changes nothing.
        let again = set(file, &edited.bytes, key, &value);
        prop_assert_eq!(again.map(|again| again.bytes), Ok(edited.bytes));
    }

    #[test]
    fn most_files_can_be_edited((file, old, key, value) in edits()) {
        let bad = !file.parse(&old).bad().is_empty();
        // A `\\` before what is no whole end of a line joins what is added to it.
        let has = |part: &[u8]| old.windows(part.len()).any(|window| window == part);
        let joins = old.ends_with(b"\\") || old.ends_with(b"\\\0") || has(b"\\\r") || has(b"\\\0\r");
        if !bad && !joins {
            prop_assert!(set(file, &old, key, &value).is_ok(), "{:?}", set(file, &old, key, &value));
        }
    }
}
