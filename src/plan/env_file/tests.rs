//! What is rewritten, what is refused, and that all else stays byte for byte.

mod properties;

use super::*;

/// Every key, in the order of the template.
const ALL: [Key; 12] = [
    Key::WslIp,
    Key::WslNetwork,
    Key::WslGateway,
    Key::WslMtu,
    Key::WslInterface,
    Key::WslNetworkingMode,
    Key::PrimaryDns,
    Key::MeshIpTailscale,
    Key::MeshIpWireguard,
    Key::MeshPortWireguard,
    Key::KeepaliveInterval,
    Key::WindowsHostIp,
];

fn values(list: &[(Key, Option<&str>)]) -> Values {
    list.iter()
        .map(|(key, value)| (*key, value.map(|v| Value::name(v).expect(v))))
        .collect()
}

fn rewritten(text: &str, list: &[(Key, Option<&str>)]) -> String {
    let file = EnvFile::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text:?}: {e}"));
    let wanted = values(list);
    let out = file.set(&wanted);
    let again = EnvFile::parse(&out).expect("what we write can be read");
    assert_eq!(
        again.set(&wanted),
        out,
        "a second set changes nothing: {text:?}"
    );
    String::from_utf8(out).expect("UTF-8 stays UTF-8")
}

#[test]
fn the_template_has_every_key_once_and_empty() {
    let file = EnvFile::parse(TEMPLATE.as_bytes()).expect("the template is valid");
    let keys: Vec<Key> = file.assignments.iter().map(|found| found.key).collect();
    assert_eq!(keys, ALL);
    for key in ALL {
        assert_eq!(file.get(key), Some(""), "{key}");
        assert_eq!(Key::from_name(&key.to_string()), Some(key));
    }
}

/// Each case: before, and after WSL_IP became 10.0.0.9 and WSL_MTU unknown.
#[test]
fn only_the_value_changes() {
    let cases = [
        (
            "double quotes",
            "WSL_IP=\"1.2.3.4\"\n",
            "WSL_IP=\"10.0.0.9\"\n",
        ),
        ("single quotes", "WSL_IP='1.2.3.4'\n", "WSL_IP='10.0.0.9'\n"),
        ("bare", "WSL_IP=1.2.3.4\n", "WSL_IP=10.0.0.9\n"),
        ("bare and empty", "WSL_IP=\n", "WSL_IP=10.0.0.9\n"),
        (
            "bare, empty, blanks",
            "WSL_IP= \t\n",
            "WSL_IP=10.0.0.9 \t\n",
        ),
        ("quoted and empty", "WSL_IP=''\n", "WSL_IP='10.0.0.9'\n"),
        (
            "export",
            "export WSL_IP=\"1\"\n",
            "export WSL_IP=\"10.0.0.9\"\n",
        ),
        (
            "export with a tab",
            " export\t WSL_IP=1\n",
            " export\t WSL_IP=10.0.0.9\n",
        ),
        ("indentation", "\t  WSL_IP=1\n", "\t  WSL_IP=10.0.0.9\n"),
        (
            "comment",
            "WSL_IP=\"1\"  # it's mine\n",
            "WSL_IP=\"10.0.0.9\"  # it's mine\n",
        ),
        ("comment, bare", "WSL_IP=1\t#x\n", "WSL_IP=10.0.0.9\t#x\n"),
        (
            "comment behind nothing",
            "WSL_IP= #x\n",
            "WSL_IP=10.0.0.9 #x\n",
        ),
        ("# within a word", "WSL_IP=1#x\n", "WSL_IP=10.0.0.9\n"),
        (
            "escapes",
            "WSL_IP=\"a\\\"b\\$c\\d\"\n",
            "WSL_IP=\"10.0.0.9\"\n",
        ),
        ("bare escape", "WSL_IP=a\\ b\n", "WSL_IP=10.0.0.9\n"),
        ("literal dollar", "WSL_IP='$x`'\n", "WSL_IP='10.0.0.9'\n"),
        (
            "duplicates",
            "WSL_IP=1\nA=2\nWSL_IP='3'\n",
            "WSL_IP=10.0.0.9\nA=2\nWSL_IP='10.0.0.9'\n",
        ),
        (
            "one duplicate is right",
            "WSL_IP=10.0.0.9\nWSL_IP=3",
            "WSL_IP=10.0.0.9\nWSL_IP=10.0.0.9",
        ),
        (
            "CRLF",
            "A=1\r\nWSL_IP=1\r\n# c\r\n",
            "A=1\r\nWSL_IP=10.0.0.9\r\n# c\r\n",
        ),
        (
            "CRLF, quoted",
            "WSL_IP=\"1\"\r\n",
            "WSL_IP=\"10.0.0.9\"\r\n",
        ),
        (
            "no last newline",
            "A=1\nWSL_IP=\"1\"",
            "A=1\nWSL_IP=\"10.0.0.9\"",
        ),
        (
            "unknown, quoted",
            "WSL_IP=1\nWSL_MTU=\"9\" # c\n",
            "WSL_IP=10.0.0.9\nWSL_MTU=\"\" # c\n",
        ),
        (
            "unknown, single",
            "WSL_IP=1\nWSL_MTU='9'\n",
            "WSL_IP=10.0.0.9\nWSL_MTU=''\n",
        ),
        (
            "unknown, bare",
            "WSL_IP=1\nWSL_MTU=9\n",
            "WSL_IP=10.0.0.9\nWSL_MTU=\n",
        ),
        ("empty file", "", "WSL_IP=\"10.0.0.9\"\n"),
        ("appended", "A=1\n", "A=1\nWSL_IP=\"10.0.0.9\"\n"),
        (
            "appended, CRLF",
            "A=1\r\nB=2\r\n",
            "A=1\r\nB=2\r\nWSL_IP=\"10.0.0.9\"\r\n",
        ),
        (
            "appended, no last newline",
            "A=1",
            "A=1\nWSL_IP=\"10.0.0.9\"",
        ),
        (
            "appended, CRLF, no last newline",
            "A=1\r\nB=2",
            "A=1\r\nB=2\r\nWSL_IP=\"10.0.0.9\"",
        ),
        (
            "already right",
            "WSL_IP='10.0.0.9'\nWSL_MTU=\"\"\n",
            "WSL_IP='10.0.0.9'\nWSL_MTU=\"\"\n",
        ),
        (
            "already right, escaped",
            "WSL_IP=10\\.0.0.9\n",
            "WSL_IP=10\\.0.0.9\n",
        ),
        (
            "a longer name is foreign",
            "WSL_IPX=1\nWSL_IP=2\n",
            "WSL_IPX=1\nWSL_IP=10.0.0.9\n",
        ),
        (
            "another owned key stays",
            "WSL_GATEWAY=\"7\"\nWSL_IP=2\n",
            "WSL_GATEWAY=\"7\"\nWSL_IP=10.0.0.9\n",
        ),
        (
            "byte order mark",
            "\u{feff}# c\r\nWSL_IP=2\r\n",
            "\u{feff}# c\r\nWSL_IP=10.0.0.9\r\n",
        ),
    ];
    for (what, before, after) in cases {
        assert_eq!(
            rewritten(
                before,
                &[(Key::WslIp, Some("10.0.0.9")), (Key::WslMtu, None)]
            ),
            after,
            "{what}"
        );
    }
}

/// Foreign text that must neither change nor hide the line behind it.
#[test]
fn foreign_lines_are_kept_whole() {
    let cases = [
        "# it's a comment with WSL_IP=1",
        "; systemd's comment with WSL_IP=1",
        "; also with A=\"",
        "NOTE=1 \\\n# it's a comment",
        "NOTE=\"spans\nWSL_IP=1\nlines\"",
        "NOTE='spans\nWSL_IP=1\n# \"lines'",
        "NOTE=\"a \\\"quote\\\" \\\n and more\"",
        "export NOTE=it\\'s",
        "NOTE='a'\"b\"c # don't",
        "NOTE=a#b\\ c",
        "NOTE=${OTHER:-it\\'s}",
        "NOTE=\"${OTHER:-it's}\"",
        "NOTE=\"${OTHER:-\"x y\"}\"",
        "NOTE=${#OTHER}${OTHER#x}",
        "NOTE=\"$(printf \"a b # c\")\"",
        "NOTE=$(printf '%s' \"(\" ; (true) # it's )\n)",
        "NOTE=\"`printf \"a b\" # c`\"",
        "NOTE=$(\"a\"#b)",
        "NOTE=a\\\n",
        "logger -t net 'sourced' && true; :",
        "echo WSL_IP=1",
        "[ -n \"$WSL_IP\" ] || WSL_ADDRESS=none",
        "unset OTHER",
        "export WSL_IP",
        "WSL_IP",
        "a line without sense",
        "=",
        "",
        " \t",
        "NÖTE=größe",
        "FOO+=WSL_IP=1",
        "\\WSL_IP=3",
    ];
    for foreign in cases {
        let before = format!("WSL_IP=1\n{foreign}\nWSL_IP=\"2\"\n");
        let after = format!("WSL_IP=9\n{foreign}\nWSL_IP=\"9\"\n");
        assert_eq!(
            rewritten(&before, &[(Key::WslIp, Some("9"))]),
            after,
            "{foreign:?}"
        );
    }
}

#[test]
fn what_needs_a_guess_is_refused() {
    let ip = Key::WslIp;
    let cases: [(&[u8], usize, Problem); 48] = [
        (b"A=1\nB=\0\n", 2, Problem::Nul),
        (b"A=1\n\nB=\xff\n", 3, Problem::NotUtf8),
        (b"A=1\nB=\"x\nC=3\n", 2, Problem::Unterminated),
        (b"A='x\nC=3\n", 1, Problem::Unterminated),
        (b"A=$(x\n", 1, Problem::Unterminated),
        (b"don't\n", 1, Problem::Unterminated),
        (b"A=x\\", 1, Problem::OpenEnd),
        (b"A=1\nB=x\\\n", 2, Problem::OpenEnd),
        (b"true \\\n", 1, Problem::OpenEnd),
        (b"# c\\\n", 1, Problem::OpenEnd),
        (b"A=1\ncat <<X\nWSL_IP=1\nX\n", 2, Problem::HereDocument),
        (b"A=$(cat <<X\nX\n)\n", 1, Problem::HereDocument),
        (b"A=$'x'\n", 1, Problem::DollarQuote),
        (b"WSL_IP+=1\n", 1, Problem::Append(ip)),
        (b"WSL_IP=\"1\nWSL_MTU=\"\"\n", 1, Problem::OpenQuote(ip)),
        (b"WSL_IP='1\nA='\n", 1, Problem::OpenQuote(ip)),
        (b"WSL_IP=\"1", 1, Problem::OpenQuote(ip)),
        (b"WSL_IP=\"1\\", 1, Problem::OpenQuote(ip)),
        (b"\nWSL_IP=$X\n", 2, Problem::Expansion(ip)),
        (b"WSL_IP=\"$X\"\n", 1, Problem::Expansion(ip)),
        (b"WSL_IP=\"`x`\"\n", 1, Problem::Expansion(ip)),
        (b"WSL_IP=`x`\n", 1, Problem::Expansion(ip)),
        (b"WSL_IP=~\n", 1, Problem::Expansion(ip)),
        (b"export WSL_IP=*\n", 1, Problem::Expansion(ip)),
        (b"WSL_IP=\"1\"'2'\n", 1, Problem::Concatenated(ip)),
        (b"WSL_IP='1'2\n", 1, Problem::Concatenated(ip)),
        (b"WSL_IP=1\"2\"\n", 1, Problem::Concatenated(ip)),
        (b"WSL_IP='1'#2\n", 1, Problem::Concatenated(ip)),
        (b"WSL_IP=1\\\n2\n", 1, Problem::Continuation(ip)),
        (b"WSL_IP=1\\", 1, Problem::Continuation(ip)),
        (b"WSL_IP=\"1\\\n2\"\n", 1, Problem::Continuation(ip)),
        (b"WSL_IP=\"1\"\\\n2\n", 1, Problem::Continuation(ip)),
        (b"WSL_IP=1 cmd\n", 1, Problem::Trailing(ip)),
        (b"WSL_IP= 1\n", 1, Problem::Trailing(ip)),
        (b"WSL_IP=a; x\n", 1, Problem::Trailing(ip)),
        (b"WSL_IP=\"a\" && x\n", 1, Problem::Trailing(ip)),
        (b"WSL_IP=(a b)\n", 1, Problem::Trailing(ip)),
        (b"WSL_IP=1 A=2\n", 1, Problem::Trailing(ip)),
        (b"WSL_IP=\x1b\n", 1, Problem::Control(ip)),
        (b"A=2 WSL_IP=1\n", 1, Problem::Inside(ip)),
        (b"export A=2 WSL_IP=1\n", 1, Problem::Inside(ip)),
        (b"readonly WSL_IP=1\n", 1, Problem::Inside(ip)),
        (b"true; WSL_IP=1\n", 1, Problem::Inside(ip)),
        (b"if true; then WSL_IP+=1; fi\n", 1, Problem::Inside(ip)),
        (b"A=1 \\\n WSL_IP=1\n", 2, Problem::Inside(ip)),
        (b"\nWSL_IP =1\n", 2, Problem::Disagreement(ip)),
        (
            b"# old systemd goes on\\\nWSL_IP=1\n",
            2,
            Problem::Disagreement(ip),
        ),
        (b"echo 'a\nWSL_IP=1\n'\n", 2, Problem::Disagreement(ip)),
    ];
    for (content, line, problem) in cases {
        let refused = EnvFile::parse(content).expect_err(&String::from_utf8_lossy(content));
        assert_eq!(
            refused,
            ParseError { line, problem },
            "{}",
            String::from_utf8_lossy(content)
        );
    }
}

#[test]
fn an_error_names_line_fault_and_fix() {
    let error = EnvFile::parse(b"A=1\nWSL_IP=\"$(hostname -I)\"\n").expect_err("an expansion");
    let text = error.to_string();
    assert!(text.starts_with("line 2: the value of WSL_IP"), "{text}");
    assert!(text.ends_with("write WSL_IP=\"\""), "{text}");
}

#[test]
fn the_last_assignment_wins() {
    let file = EnvFile::parse(b"WSL_IP=1\nexport WSL_IP=\"a\\$b\"\nWSL_MTU=\n").expect("valid");
    assert_eq!(file.get(Key::WslIp), Some("a$b"));
    assert_eq!(file.get(Key::WslMtu), Some(""));
    assert_eq!(file.get(Key::WslGateway), None);
}

#[test]
fn values_are_plain() {
    for good in ["eth0", "nat", "wg-home", "a_b.c:d@e", "0"] {
        assert_eq!(Value::name(good).as_ref().map(Value::as_str), Some(good));
    }
    for bad in [
        "", "-x", ".x", "a b", "a\nb", "a$b", "a`b", "a\"b", "a'b", "a;b", "a/b", "é", "a\0",
    ] {
        assert_eq!(Value::name(bad), None, "{bad:?}");
    }
    let address = |text: &str| text.parse::<IpAddr>().expect(text);
    assert_eq!(Value::from(address("fe80::1")).as_str(), "fe80::1");
    let network: IpNet = "172.28.0.0/20".parse().expect("a network");
    assert_eq!(Value::from(network).as_str(), "172.28.0.0/20");
    assert_eq!(
        (
            Value::from(51820_u32).as_str(),
            Value::from(1280_u32).as_str()
        ),
        ("51820", "1280")
    );
}
