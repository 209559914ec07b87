use super::*;

#[test]
fn keys() {
    let path = |key: &str| SysctlKey::parse(key).map(|k| k.path().display().to_string());
    assert_eq!(
        path("net.core.rmem_max").unwrap(),
        "/proc/sys/net/core/rmem_max"
    );
    assert_eq!(
        path("net/ipv4/conf/eth0.10/rp_filter").unwrap(),
        "/proc/sys/net/ipv4/conf/eth0.10/rp_filter"
    );
    let written = |key: &str| SysctlKey::parse(key).unwrap().to_string();
    assert_eq!(written("net/core/rmem_max"), "net.core.rmem_max");
    assert_eq!(
        SysctlKey::parse("net/core/rmem_max"),
        SysctlKey::parse("net.core.rmem_max")
    );
    assert_eq!(
        written("net/ipv4/conf/eth0.10/rp_filter"),
        "net/ipv4/conf/eth0.10/rp_filter"
    );
    for bad in [
        "net.ipv4.tcp_fastopen_key",
        "net.ipv6.conf.all.stable_secret",
        "vm.swappiness",
        "net",
        "net.core",
        "net..x",
        "net/../../etc/passwd",
        "net.core.a b",
        "net.core.$x",
        "/net/core/x",
    ] {
        assert!(SysctlKey::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn values_fold_white_space() {
    assert_eq!(
        SysctlValue::new("4096\t87380\t134217728\n"),
        SysctlValue::new("4096 87380  134217728")
    );
}
