//! Properties over arbitrary bytes and over files made from a grammar.

use std::io::Write as _;
use std::process::Command;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::{super::*, ALL};

/// One line of a generated file.
#[derive(Debug, Clone)]
enum Line {
    Foreign(String),
    Owned {
        key: Key,
        before: String,
        quote: &'static str,
        value: String,
        behind: String,
    },
}

impl Line {
    /// The line as it is, or as it must be with these values.
    fn text(&self, values: &Values) -> String {
        match self {
            Self::Foreign(text) => text.clone(),
            Self::Owned {
                key,
                before,
                quote,
                value,
                behind,
            } => {
                let value = match values.get(key) {
                    Some(wanted) => wanted.as_ref().map_or("", Value::as_str),
                    None => value,
                };
                format!("{before}{key}={quote}{value}{quote}{behind}")
            }
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<IpAddr>().prop_map(Value::from),
        (any::<std::net::Ipv4Addr>(), 0_u8..=32)
            .prop_map(|(ip, len)| Value::from(IpNet::new(ip.into(), len).expect("a valid length"))),
        any::<u32>().prop_map(Value::from),
        "[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}"
            .prop_map(|name| Value::name(&name).expect("a valid name")),
    ]
}

fn values() -> impl Strategy<Value = Values> {
    btree_map(
        select(&ALL[..]),
        proptest::option::weighted(0.8, value()),
        0..12,
    )
}

fn owned() -> impl Strategy<Value = Line> {
    let before = select(vec!["", "  ", "\t", "export ", " export\t"]);
    let behind = select(vec!["", " ", "\t", " # it's \"mine", "  #"]);
    let quoting = prop_oneof![
        (Just("'"), "[ -&(-~]{0,12}"),
        (Just("\""), "[ !#%-Z^_a-~]{0,12}"),
        (Just(""), "([a-zA-Z0-9.:/@_-][a-zA-Z0-9.:/@_#-]{0,12})?"),
    ];
    (select(&ALL[..]), before, quoting, behind).prop_map(|(key, before, (quote, value), behind)| {
        Line::Owned {
            key,
            before: before.to_owned(),
            quote,
            value,
            behind: behind.to_owned(),
        }
    })
}

/// Lines that a shell can source without an error or an effect.
fn foreign() -> impl Strategy<Value = Line> {
    let fixed = select(vec![
        "",
        "   ",
        "# WSL_IP=\"not this\", it's a comment",
        "\t# more",
        "NOTE=\"several\nWSL_IP=1\nlines\"",
        "NOTE='several\n  export WSL_MTU=\"1\nlines'",
        "export NOTE=\"it's \\\"here\\\"\"",
        "NOTE=it\\'s\\\n-continued",
        "NOTE='a'\"b\"c # don't",
        "NOTE=\"$(printf '%s' \"a # b\")\"",
        "NOTE=${NOTE:-\"it's\"}; : WSL_IP=1",
        ": a command 'with quotes' # and WSL_IP=1",
        "MY_WSL_IP=7",
        "WSL_IP_OLD=\"8\"",
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        fixed,
        "# [ -\\[^-~]{0,20}",
        "X_[A-Z]{1,5}='[ -&(-~]{0,12}'",
        "export X_[A-Z]{1,5}=[a-z0-9./:-]{0,12}",
    ]
    .prop_map(Line::Foreign)
}

fn line() -> impl Strategy<Value = Line> {
    prop_oneof![owned(), foreign()]
}

fn joined(lines: &[Line], newline: &str, last: bool, values: &Values) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.text(values).replace('\n', newline) + newline)
        .collect();
    let text = lines.concat();
    // Behind an empty line there is always a newline, or it would be no line.
    match text.strip_suffix(newline) {
        Some(open) if !last && !open.is_empty() && !open.ends_with('\n') => open.to_owned(),
        _ => text,
    }
}

/// What the appended lines must be.
fn appended(lines: &[Line], values: &Values) -> Vec<Line> {
    let present = |wanted: Key| {
        lines
            .iter()
            .any(|line| matches!(line, Line::Owned { key, .. } if *key == wanted))
    };
    let missing = values
        .iter()
        .filter(|(key, value)| value.is_some() && !present(**key));
    let quoted = |key: &Key| Line::Owned {
        key: *key,
        before: String::new(),
        quote: "\"",
        value: String::new(),
        behind: String::new(),
    };
    missing.map(|(key, _)| quoted(key)).collect()
}

/// Every owned key as a real shell has it after it sourced the text.
fn sourced(text: &[u8]) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().expect("a temp file");
    file.write_all(text).expect("written");
    let keys = ALL.map(|key| format!("\"${key}\"")).join(" ");
    let output = Command::new("sh")
        .args([
            "-euc",
            &format!(". \"$1\"; set +u; printf '%s\\n' {keys}"),
            "sh",
        ])
        .arg(file.path())
        .env_clear()
        .output()
        .expect("sh runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(str::to_owned)
        .collect()
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_stay(content in vec(any::<u8>(), 0..200)) {
        if let Ok(file) = EnvFile::parse(&content) {
            prop_assert_eq!(file.set(&Values::new()), content);
        }
    }

    /// Text made of what matters to the readers comes much deeper than bytes do.
    #[test]
    fn hostile_text_never_panics_and_what_is_set_is_read(
        parts in vec(select(vec![
            "WSL_IP", "=", "\"", "'", "\\", "\n", "\r\n", "\r", "#", ";", " ", "\t", "export ", "A=", "$", "(", ")",
            "{", "}", "`", "<", "&", "1", "WSL_IP=1\n", "é", "+=",
        ]), 0..24),
    ) {
        let text = parts.concat();
        if let Ok(file) = EnvFile::parse(text.as_bytes()) {
            prop_assert_eq!(file.set(&Values::new()), text.as_bytes());
            let wanted = Values::from([(Key::WslIp, Value::name("new"))]);
            let out = file.set(&wanted);
            let again = EnvFile::parse(&out);
            prop_assert!(again.is_ok(), "{:?} became {:?}: {:?}", text, String::from_utf8_lossy(&out), again);
            if let Ok(again) = again {
                prop_assert_eq!(again.get(Key::WslIp), Some("new"));
                prop_assert_eq!(again.set(&wanted), out.clone());
            }
        }
    }

    #[test]
    fn only_owned_values_change(
        lines in vec(line(), 0..12), values in values(), crlf: bool, last: bool,
    ) {
        let newline = if crlf { "\r\n" } else { "\n" };
        let before = joined(&lines, newline, last, &Values::new());
        let file = EnvFile::parse(before.as_bytes()).map_err(|e| TestCaseError::fail(format!("{before:?}: {e}")))?;
        let out = file.set(&values);

        let more = appended(&lines, &values);
        // The newline style of a file without a newline is ours to choose.
        let newline = if before.contains('\n') { newline } else { "\n" };
        let last = before.is_empty() || before.ends_with('\n');
        let all = [lines, more].concat();
        let expected = joined(&all, newline, last, &values);
        prop_assert_eq!(String::from_utf8_lossy(&out), expected);

        let again = EnvFile::parse(&out).map_err(|e| TestCaseError::fail(e.to_string()))?;
        for (key, value) in &values {
            match value {
                Some(value) => prop_assert_eq!(again.get(*key), Some(value.as_str())),
                None => prop_assert!(again.get(*key).is_none_or(str::is_empty)),
            }
        }
        prop_assert_eq!(again.set(&values), out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_real_shell_reads_the_new_values(lines in vec(line(), 0..12), values in values(), last: bool) {
        let before = joined(&lines, "\n", last, &Values::new());
        let file = EnvFile::parse(before.as_bytes()).map_err(|e| TestCaseError::fail(format!("{before:?}: {e}")))?;
        let out = file.set(&values);
        let again = EnvFile::parse(&out).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let expected: Vec<&str> = ALL.iter().map(|key| again.get(*key).unwrap_or("")).collect();
        prop_assert_eq!(sourced(&out), expected);
        for (key, value) in &values {
            prop_assert_eq!(again.get(*key).unwrap_or(""), value.as_ref().map_or("", Value::as_str));
        }
    }
}
