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
