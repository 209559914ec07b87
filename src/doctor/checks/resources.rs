//! Memory, disk, and what the kernel watches.

use super::super::{
    facts::{Facts, Memory},
    verdict::{Judged, Skip, Verdict},
};

/// MiB of memory, and of disk, below which services begin to fail.
const LITTLE_MEMORY: u64 = 96;
const LITTLE_DISK: u64 = 256;

/// Watches that a few editors and builds use up; WSL sets 524288.
const FEW_WATCHES: u64 = 65_536;

fn memory_of(facts: &Facts) -> Result<Memory, Skip> {
    let memory = facts.resources.memory;
    memory.ok_or_else(|| Skip::Unknown("/proc/meminfo tells nothing".to_owned()))
}

/// Adds a fix for a machine without Windows, where the check's own is WSL's.
fn with_fix_elsewhere(verdict: Verdict, facts: &Facts, elsewhere: &str) -> Verdict {
    if facts.wsl.is {
        verdict
    } else {
        verdict.remediation(elsewhere)
    }
}

pub(in crate::doctor) fn memory(facts: &Facts) -> Judged {
    let memory = memory_of(facts)?;
    let detail = format!("{} of {} MiB available", memory.available, memory.total);
    Ok(if memory.available < LITTLE_MEMORY {
        with_fix_elsewhere(
            Verdict::warning(detail),
            facts,
            "Stop what is large (`top -o %MEM`), or give this machine more",
        )
    } else {
        Verdict::ok(detail)
    })
}

pub(in crate::doctor) fn swap(facts: &Facts) -> Judged {
    let Memory {
        swap, swap_free, ..
    } = memory_of(facts)?;
    let used = swap.saturating_sub(swap_free);
    const MORE: &str = "Add a file: `sudo fallocate -l 2G /swapfile`, `sudo chmod 600 /swapfile`, `sudo mkswap /swapfile`, `sudo swapon /swapfile`, and its line in /etc/fstab";
    Ok(if swap == 0 {
        let none = "there is none: a program that needs more than the memory is killed";
        with_fix_elsewhere(Verdict::note(none), facts, MORE)
    } else if used * 10 > swap * 9 {
        with_fix_elsewhere(
            Verdict::warning(format!("{used} of {swap} MiB used")),
            facts,
            MORE,
        )
    } else {
        Verdict::ok(format!("{used} of {swap} MiB used"))
    })
}

pub(in crate::doctor) fn disk(facts: &Facts) -> Judged {
    let disk = facts.resources.disk;
    let disk = disk.ok_or_else(|| Skip::Unknown("/ cannot be asked".to_owned()))?;
    let detail = format!("{} of {} MiB free on /", disk.available, disk.total);
    Ok(if disk.available == 0 {
        Verdict::failed(detail)
    } else if disk.available < LITTLE_DISK {
        Verdict::warning(detail)
    } else {
        Verdict::ok(detail)
    })
}

pub(in crate::doctor) fn inodes(facts: &Facts) -> Judged {
    let disk = facts.resources.disk;
    let disk = disk.filter(|disk| disk.inodes > 0);
    let disk = disk.ok_or_else(|| Skip::Nothing("/ does not count its files".to_owned()))?;
    let detail = format!("{} of {} free on /", disk.inodes_free, disk.inodes);
    Ok(if disk.inodes_free == 0 {
        Verdict::failed(detail)
    } else if disk.inodes_free * 50 < disk.inodes {
        Verdict::warning(detail)
    } else {
        Verdict::ok(detail)
    })
}

pub(in crate::doctor) fn watches(facts: &Facts) -> Judged {
    let value = facts.sysctls.get("fs.inotify.max_user_watches");
    let value: Option<u64> = value.and_then(|text| text.parse().ok());
    let Some(watches) = value else {
        return Err(Skip::Unknown("the kernel does not tell".to_owned()));
    };
    let detail = format!("{watches} files and folders for each user");
    Ok(if watches < FEW_WATCHES {
        Verdict::note(detail)
    } else {
        Verdict::ok(detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Check, facts::Disk, testing::table};

    fn disk_is(facts: &mut Facts, change: fn(&mut Disk)) {
        change(facts.resources.disk.as_mut().unwrap());
    }

    fn memory_is(facts: &mut Facts, change: fn(&mut Memory)) {
        change(facts.resources.memory.as_mut().unwrap());
    }

    #[test]
    fn resources() {
        table! { Check::Memory;
            "unknown": |f| f.resources.memory = None => Skipped, "meminfo";
            "little": |f| memory_is(f, |m| m.available = 95) => Warning, "95 of";
        }
        table! { Check::Swap;
            "unknown": |f| f.resources.memory = None => Skipped, "meminfo";
            "none": |f| memory_is(f, |m| m.swap = 0) => Note, "none";
            "full": |f| memory_is(f, |m| m.swap_free = 1) => Warning, "MiB used";
        }
        table! { Check::Disk;
            "unknown": |f| f.resources.disk = None => Skipped, "asked";
            "little": |f| disk_is(f, |d| d.available = 255) => Warning, "255 of";
            "full": |f| disk_is(f, |d| d.available = 0) => Failed, "0 of";
        }
        table! { Check::Inodes;
            "uncounted": |f| disk_is(f, |d| d.inodes = 0) => Skipped, "count";
            "few": |f| disk_is(f, |d| d.inodes_free = 1) => Warning, "1 of";
            "none": |f| disk_is(f, |d| d.inodes_free = 0) => Failed, "0 of";
        }
        table! { Check::Watches;
            "unknown": |f| f.sysctls.clear() => Skipped, "not tell";
            "few": |f| drop(f.sysctls.insert("fs.inotify.max_user_watches", "8192".into())) => Note, "8192";
        }
    }
}
