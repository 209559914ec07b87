use super::*;

#[test]
fn takes_what_the_kernel_takes() {
    for good in [
        "eth0",
        "wg0",
        "tailscale0",
        "a",
        "br-1234567890ab",
        "eth0.10",
    ] {
        assert!(InterfaceName::new(good).is_some(), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "a\tb",
        "a\0",
        "a:1",
        "sixteen-bytes-xx",
    ] {
        assert!(InterfaceName::new(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn wildcards() {
    let table = [
        ("wg*", "wg0", true),
        ("wg*", "wg", true),
        ("wg*", "awg0", false),
        ("*", "anything", true),
        ("t*e0", "tailscale0", true),
        ("t*e0", "tailscale1", false),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("eth0", "eth0", true),
        ("eth0", "eth01", false),
        ("a*a", "a", false),
    ];
    for (pattern, name, expected) in table {
        let pattern = InterfacePattern::new(pattern).unwrap();
        let name = InterfaceName::new(name).unwrap();
        assert_eq!(pattern.matches(&name), expected, "{pattern} {name}");
    }
}

#[test]
fn impossible_patterns_are_refused() {
    for bad in ["", "a b", "x/y", "sixteen-bytes-xx*"] {
        assert!(InterfacePattern::new(bad).is_none(), "{bad:?}");
    }
}

proptest::proptest! {
    #[test]
    fn a_name_matches_itself_with_any_part_starred(name in "[a-z0-9]{1,15}", cut in 0usize..15, len in 0usize..15) {
        let cut = cut.min(name.len());
        let end = (cut + len).min(name.len());
        let pattern = format!("{}*{}", &name[..cut], &name[end..]);
        let pattern = InterfacePattern::new(&pattern).unwrap();
        proptest::prop_assert!(pattern.matches(&InterfaceName::new(&name).unwrap()));
    }
}
