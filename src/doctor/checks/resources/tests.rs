use super::*;
use crate::doctor::{facts::Disk, tests::table};

fn disk_is(facts: &mut Facts, change: fn(&mut Disk)) {
    change(facts.local_mut().disk.as_mut().unwrap());
}

fn memory_is(facts: &mut Facts, change: fn(&mut Machine)) {
    change(facts.local_mut().memory.as_mut().unwrap());
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
