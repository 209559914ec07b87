use super::*;

#[test]
fn periods() {
    for (text, seconds, written) in [
        ("off", None, "off"),
        ("1h", Some(3600), "1h"),
        ("24h", Some(86_400), "24h"),
        ("1m", Some(60), "1m"),
        ("90s", Some(90), "90s"),
        ("120s", Some(120), "2m"),
        ("60m", Some(3600), "1h"),
    ] {
        let verify = Verify::try_from(text.to_owned()).unwrap();
        assert_eq!(verify.0.map(|period| period.as_secs()), seconds, "{text}");
        assert_eq!(String::from(verify), written);
    }
    for bad in [
        "",
        "1",
        "h",
        "0h",
        "25h",
        "59s",
        "-1h",
        "1.5h",
        "1d",
        "never",
        " 1h",
        "18446744073709551615h",
    ] {
        let why = Verify::try_from(bad.to_owned()).unwrap_err();
        assert!(why.contains("\"1m\" to \"24h\""), "{bad}: {why}");
    }
}
