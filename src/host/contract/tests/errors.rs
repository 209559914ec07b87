//! Answers that are none.

use super::*;

#[test]
fn each_bad_answer_has_its_error() {
    let good = String::from_utf8(golden("answer-synced")).expect("UTF-8");
    let good = good.trim();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_marked: Vec<u8> = [&[0xff, 0xfe], utf16.as_slice()].concat();
    let utf16_big: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let oem = [b"{\"detail\":\"L".as_slice(), &[0x84], b"uft\"}"].concat();
    let bytes = |text: &str| text.as_bytes().to_vec();
    let rule = |key: &str| format!("/rules/0/{key}");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "printed nothing"),
        (bytes("\r\n \t\r\n"), "printed nothing"),
        (bytes("\u{feff}"), "printed nothing"),
        (utf16, "UTF-16"),
        (utf16_marked, "UTF-16"),
        (utf16_big, "UTF-16"),
        (oem, "not UTF-8 text: \"{\"detail"),
        (bytes(good.split_at(good.len() - 1).0), "breaks off after"),
        (bytes(good.split_at(good.len() / 2).0), "breaks off after"),
        (bytes("{"), "breaks off after 1 bytes"),
        (
            bytes(&format!("WARNUNG: neu\r\n{good}")),
            "before the answer: \"WARNUNG: neu\"",
        ),
        (
            bytes("Zugriff verweigert"),
            "did not run the script: Zugriff verweigert",
        ),
        (bytes("[]"), "did not run the script: []"),
        (
            bytes(&format!("{good}\r\n\u{1b}[31mFehler")),
            "after the answer: \"\\u{1b}[31mFehler\"",
        ),
        (
            bytes(&format!("{good}{good}")),
            "after the answer: \"{\"version\":1",
        ),
        (
            synced_with("/version", json!(2)),
            "answers in version 2, this agent speaks version 1",
        ),
        (
            bytes("{\"version\":7,\"shape\":\"unknown\"}"),
            "answers in version 7",
        ),
        (
            synced_with("/version", json!("1")),
            "invalid type: string \"1\"",
        ),
        (bytes("{}"), "missing field `version`"),
        (bytes("{\"version\":1}"), "missing field `state`"),
        (bytes("{\"version\":1,}"), "trailing comma"),
        (
            synced_with("/dynamic/tcp", json!([0, 5])),
            "invalid value: integer `0`, expected a nonzero u16",
        ),
        (
            synced_with("/dynamic/tcp", json!([9, 1])),
            "\"9-1\" is no range of ports",
        ),
        (
            synced_with("/dynamic/tcp", json!([1024, 65536])),
            "invalid value: integer `65536`",
        ),
        (
            synced_with("/dynamic/udp", json!("49152-65535")),
            "invalid type: string \"49152-65535\"",
        ),
        (
            synced_with("/dynamic", json!([49152, 65535])),
            "invalid type: integer `49152`",
        ),
        (
            synced_with("/state", json!("Synced")),
            "unknown variant `Synced`",
        ),
        (
            synced_with("/rules", json!({})),
            "invalid type: map, expected a sequence",
        ),
        (
            synced_with("/rules", json!({"value": [], "Count": 0})),
            "invalid type: map",
        ),
        (synced_with("/rules/0", json!(null)), "invalid type: null"),
        (synced_with(&rule("listen-port"), json!(0)), "nonzero"),
        (
            synced_with(&rule("listen-port"), json!(65536)),
            "invalid value: integer `65536`",
        ),
        (
            synced_with(&rule("listen-port"), json!("2222")),
            "invalid type: string",
        ),
        (
            synced_with(&rule("listen-address"), json!("1")),
            "invalid IPv4 address syntax",
        ),
        (
            synced_with(&rule("connect-address"), json!("::1")),
            "invalid IPv4 address syntax",
        ),
        (
            synced_with("/rules/0", json!({"listen-adress": 1})),
            "unknown field `listen-adress`",
        ),
        (
            synced_with("/added", json!(-1)),
            "invalid value: integer `-1`",
        ),
        (
            synced_with("/kept", json!(1.5)),
            "invalid type: floating point",
        ),
        (
            synced_with("/windows-address", json!("fe80::1")),
            "invalid IPv4 address syntax",
        ),
        (
            synced_with("/elevated", json!("yes")),
            "invalid type: string \"yes\"",
        ),
        (
            synced_with("/taken/0/kind", json!("busy")),
            "unknown variant `busy`",
        ),
        (
            synced_with("/taken/0/protocol", json!("sctp")),
            "unknown variant `sctp`",
        ),
        (
            synced_with("/refused/0/reason", json!("why")),
            "unknown variant `why`",
        ),
        (
            synced_with("/firewall/state", json!("fine")),
            "unknown variant `fine`",
        ),
        (
            synced_with("/firewall/blocks", json!("one")),
            "invalid type: string \"one\"",
        ),
        (
            synced_with("/installed/relay", json!(7)),
            "invalid type: integer `7`",
        ),
        (
            synced_with("/guest-address", json!("eth0")),
            "invalid IPv4 address syntax",
        ),
        (
            synced_with("/lowest-mtu/mtu", json!(4_294_967_296_u64)),
            "invalid value: integer",
        ),
        (
            bytes(&good.replacen("\"added\"", "\"kept\"", 1)),
            "duplicate field `kept`",
        ),
        (bytes(&"[".repeat(10_000)), "did not run the script: [["),
        (
            bytes(&format!("{{\"version\":{}", "[".repeat(10_000))),
            "not what the contract says",
        ),
    ];
    for (output, expected) in cases {
        let shown = String::from_utf8_lossy(&output).into_owned();
        let error = parse(&output).expect_err(&shown).to_string();
        assert!(
            error.contains(expected),
            "{shown:?}\n gives {error:?}\n wanted {expected:?}"
        );
        assert!(error.chars().count() < 500, "{error}");
        assert!(!error.chars().any(disturbs), "{error:?}");
    }
}
