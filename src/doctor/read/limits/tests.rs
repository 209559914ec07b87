use super::*;
use crate::doctor::tests::machine;

#[test]
fn what_the_kernel_says() {
    let (_folder, root) = machine(&[]);
    assert!(pressure(&root).is_none() && oom_kills(&root).is_none());
    assert_eq!(read(&root), Limits::default());
    let pg = "/sys/fs/cgroup/system.slice/pg.service";
    let (_folder, root) = machine(&[
        (
            "/proc/pressure/memory",
            "some avg10=0.00 avg60=12.50 avg300=3.01 total=9\n\
             full avg10=0.00 avg60=1.25 avg300=0.00 total=7\n",
        ),
        (
            "/proc/vmstat",
            "nr_free_pages 1\noom_kill_x 9\noom_kill 3\n",
        ),
        ("/proc/sys/fs/file-nr", "1024\t0\t9223372036854775807\n"),
        ("/proc/loadavg", "0.20 0.18 0.12 1/80 11206\n"),
        ("/proc/sys/kernel/pid_max", "4194304\n"),
        ("/proc/sys/kernel/threads-max", "100\n"),
        ("/proc/sys/net/netfilter/nf_conntrack_count", "65000\n"),
        ("/proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
        (&format!("{pg}/pids.current"), "31\n"),
        (&format!("{pg}/pids.max"), "32\n"),
        (&format!("{pg}/pids.events"), "max 2\n"),
        ("/sys/fs/cgroup/system.slice/x.service/pids.current", "31\n"),
        ("/sys/fs/cgroup/system.slice/x.service/pids.max", "max\n"),
        ("/sys/fs/cgroup/system.slice/pids.max", "max\n"),
    ]);
    let found = pressure(&root).unwrap();
    assert_eq!((found.some_60, found.some_300), (12.5, 3.01));
    assert_eq!((found.full_60, oom_kills(&root)), (1.25, Some(3)));
    let found = read(&root);
    let of = |used: Option<Used>| used.map(|used| (used.used, used.most));
    assert_eq!(of(found.files), Some((1024, i64::MAX as u64)));
    assert_eq!(of(found.tasks), Some((80, 100)));
    assert_eq!(of(found.connections), Some((65_000, 65_536)));
    let [unit] = found.units.as_slice() else {
        panic!("{:?}", found.units);
    };
    assert_eq!((unit.name.as_str(), unit.refused), ("pg.service", 2));
    assert_eq!(of(Some(unit.tasks)), Some((31, 32)));
}

#[test]
fn damaged_figures_are_none() {
    let (_folder, root) = machine(&[
        ("/proc/pressure/memory", "some avg10=x\n"),
        ("/proc/sys/fs/file-nr", "1024\n"),
        ("/proc/loadavg", "0.20\n"),
        ("/proc/sys/net/netfilter/nf_conntrack_count", "1\n"),
        ("/proc/sys/net/netfilter/nf_conntrack_max", "0\n"),
    ]);
    assert!(pressure(&root).is_none());
    assert_eq!(read(&root), Limits::default());
}
