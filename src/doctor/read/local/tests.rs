use super::*;
use crate::doctor::tests::machine;

#[test]
fn reads_below_a_root() {
    let (_folder, root) = machine(&[]);
    let nothing = read(&root, &[], None);
    assert_eq!(nothing.sockets, Err("/proc/net does not exist".into()));
    assert_eq!(nothing.wsl_conf, Ok(None));
    assert!(nothing.memory.is_none() && nothing.legacy_nat == Ok(false));
    assert!(!nothing.systemd && nothing.release.is_empty());
    let (_folder, root) = machine(&[
        (
            "/proc/sys/kernel/osrelease",
            "6.6.87.2-microsoft-standard-WSL2\n",
        ),
        ("/proc/sys/net/ipv4/tcp_mtu_probing", "1\n"),
        (
            "/proc/net/tcp",
            "head\n 0: 00000000:0016 00000000:0000 0A\n",
        ),
        ("/proc/net/udp", "head\n"),
        ("/proc/net/ip_tables_names", "filter\nnat\n"),
        ("/etc/wsl.conf", "[boot]\nsystemd=true\n"),
        ("/run/systemd/system/x", ""),
        (
            "/proc/self/mountinfo",
            "90 72 0:46 / /mnt/c rw - 9p C:\\134 rw,aname=drvfs;path=C:\\134\n",
        ),
        ("/proc/7/comm", "node\n"),
        ("/proc/7/cgroup", "0::/system.slice/node.service\n"),
    ]);
    let local = read(&root, &[], None);
    assert_eq!(local.release, "6.6.87.2-microsoft-standard-WSL2");
    assert!(local.systemd && local.legacy_nat == Ok(true));
    assert_eq!(local.mtu_probing.as_deref(), Some("1"));
    let conf = local.wsl_conf.unwrap().unwrap();
    assert_eq!(conf.get("boot.systemd"), Some("true"));
    assert!(local.drives.hold("/mnt/c/Users") && !local.drives.hold("/mnt/d"));
    assert_eq!(local.processes[0].service.as_deref(), Some("node.service"));
    let sockets = local.sockets.unwrap();
    assert_eq!(sockets[0].to_string(), "tcp 0.0.0.0:22");
}

#[test]
#[cfg(target_endian = "little")]
fn routes_of_the_kernel() {
    let table =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t01101CAC\t0003\t0\t0\t0\t00000000\t0\t0\t0
wg0\t0000630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
bad line\nx\t0\t0\t0\t0\t0\t0\tFF00FF00\n";
    let found: Vec<String> = routes(table)
        .iter()
        .map(|(name, net)| format!("{name} {net}"))
        .collect();
    assert_eq!(found, ["eth0 0.0.0.0/0", "wg0 10.99.0.0/24"]);
}

proptest::proptest! {
    #[test]
    fn routes_never_panic(table in "(\\PC{0,30}[\t\n]){0,12}", hex in "[0-9A-F]{0,9}") {
        let table = format!("head\n{table}\na {hex} 0 0 0 0 0 {hex}\n");
        proptest::prop_assert!(routes(&table).len() <= table.lines().count());
    }
}
