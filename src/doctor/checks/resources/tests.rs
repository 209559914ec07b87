use super::*;
use crate::doctor::{
    facts::{Disk, Limits, Pressure, Process},
    tests::table,
};

fn disk_is(facts: &mut Facts, change: fn(&mut Disk)) {
    change(facts.local_mut().disk.as_mut().unwrap());
}

fn memory_is(facts: &mut Facts, change: fn(&mut Machine)) {
    change(facts.local_mut().memory.as_mut().unwrap());
}

fn pressure_is(facts: &mut Facts, some_60: f64, some_300: f64, full_60: f64) {
    facts.local_mut().pressure = Some(Pressure {
        some_60,
        some_300,
        full_60,
    });
}

fn limits_are(facts: &mut Facts, change: fn(&mut Limits)) {
    change(&mut facts.local_mut().limits);
}

fn used(used: u64, most: u64) -> Option<Used> {
    Some(Used { used, most })
}

fn opens(facts: &mut Facts, service: &str, count: usize, limit: usize) {
    facts.local_mut().processes.push(Process {
        service: Some(service.into()),
        open: Some(OpenFiles { count, limit }),
        ..Process::default()
    });
}

#[test]
fn memory_that_is_short() {
    table! { "memory-pressure";
        "not measured": |f| f.local_mut().pressure = None => Skipped, "psi=1";
        "not measured elsewhere": |f| { f.elsewhere(); f.local_mut().pressure = None } => Skipped, "(/proc/pressure)";
        "a little": |f| pressure_is(f, 9.9, 9.9, 9.9) => Ok, "10 % of the last minute";
        "lately": |f| pressure_is(f, 2.0, 10.0, 0.0) => Info, "2 % of the last minute, 10 % of the last five";
        "now": |f| pressure_is(f, 10.0, 2.0, 5.0) => Warning, "10 % of the last minute";
        "all of them": |f| pressure_is(f, 90.0, 40.0, 60.0) => Error, "at once 60 %";
    }
    table! { "oom-kills";
        "not counted": |f| f.local_mut().oom_kills = None => Skipped, "vmstat";
        "one": |f| f.local_mut().oom_kills = Some(1) => Info, "1 process since";
        "two": |f| f.local_mut().oom_kills = Some(2) => Info, "2 processes since";
    }
}

#[test]
fn limits_that_are_reached() {
    table! { "limits";
        "none known": |f| limits_are(f, |l| *l = Limits::default()) => Ok, "none is reached";
        "files": |f| limits_are(f, |l| l.files = used(900, 1000)) => Warning, "900 of 1000 open files";
        "some left": |f| limits_are(f, |l| l.files = used(899, 1000)) => Ok, "none";
        "tasks": |f| limits_are(f, |l| l.tasks = used(32_000, 32_768)) => Warning, "processes and threads of this kernel";
        "connections": |f| limits_are(f, |l| l.connections = used(65_536, 65_536)) => Warning, "followed connections";
        "a unit": |f| limits_are(f, |l| l.units[0].tasks = Used { used: 32, most: 33 }) => Warning, "ssh.service has 32 of 33";
        "a small unit": |f| limits_are(f, |l| l.units[0].tasks = Used { used: 3, most: 4 }) => Ok, "none";
        "a unit that was refused": |f| limits_are(f, |l| l.units[0].refused = 3) => Info, "was refused 3 more";
        "a service's files": |f| opens(f, "x.service", 1000, 1024) => Warning, "a process of x.service has 1000 of 1024 open files";
        "the worst of its processes": |f| { opens(f, "x.service", 9, 1024); opens(f, "x.service", 1023, 1024); opens(f, "x.service", 1, 2048) } => Warning, "has 1023 of 1024";
        "not root": |f| f.root = false => Ok, "(needs root: open files of services)";
    }
    let mut facts = crate::doctor::tests::healthy();
    limits_are(&mut facts, |l| {
        l.units[0].tasks = Used { used: 33, most: 33 }
    });
    opens(&mut facts, "x.service", 1024, 1024);
    let verdict = limits(&facts).unwrap();
    let fixes: Vec<&str> = verdict
        .findings()
        .iter()
        .map(|one| one.remediation.as_str())
        .collect();
    assert_eq!(
        fixes[0],
        "Run `sudo systemctl set-property ssh.service TasksMax=66`"
    );
    assert!(
        fixes[1].contains("`sudo systemctl edit x.service`"),
        "{fixes:?}"
    );
}

#[test]
fn what_windows_has() {
    table! { "disk-windows";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "unknown": |f| f.windows_disk = None => Skipped, "no Windows drive";
        "little": |f| f.windows_disk.as_mut().unwrap().1.available = 2047 => Warning, "2047 of 500000 MiB free on Windows' drive (/mnt/c)";
        "full": |f| f.windows_disk.as_mut().unwrap().1.available = 0 => Error, "0 of";
    }
    table! { "defender";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "nothing is claimed": |_| {} => Skipped, "(Get-MpPreference).ExclusionPath";
    }
}

#[test]
fn resources() {
    table! { "memory";
        "unknown": |f| f.local_mut().memory = None => Skipped, "meminfo";
        "little": |f| memory_is(f, |m| m.available = 95) => Warning, "95 of";
    }
    table! { "swap";
        "unknown": |f| f.local_mut().memory = None => Skipped, "meminfo";
        "none": |f| memory_is(f, |m| m.swap = 0) => Info, "no swap";
        "full": |f| memory_is(f, |m| m.swap_free = 1) => Warning, "MiB used";
    }
    table! { "disk";
        "unknown": |f| f.local_mut().disk = None => Skipped, "statvfs";
        "little": |f| disk_is(f, |d| d.available = 255) => Warning, "255 of";
        "full": |f| disk_is(f, |d| d.available = 0) => Error, "0 of";
    }
    table! { "inodes";
        "uncounted": |f| disk_is(f, |d| d.inodes = 0) => Skipped, "count";
        "few": |f| disk_is(f, |d| d.inodes_free = 1) => Warning, "1 of";
        "none": |f| disk_is(f, |d| d.inodes_free = 0) => Error, "0 of";
    }
    table! { "inotify-watches";
        "unknown": |f| f.local_mut().watches = None => Skipped, "cannot be read";
        "few": |f| f.local_mut().watches = Some("8192".into()) => Info, "8192";
    }
}
