//! Memory, disk, and what the kernel watches.

use crate::{
    doctor::{
        facts::{Disk, Facts},
        verdict::{Judged, Verdict, error, info, ok, skipped, warning},
    },
    observe::Machine,
};

/// MiB of memory, and of disk, below which services begin to fail.
const LITTLE_MEMORY: u64 = 96;
const LITTLE_DISK: u64 = 256;

/// Watches that a few editors and builds use up; WSL sets 524288.
const FEW_WATCHES: u64 = 65_536;

fn memory_of(facts: &Facts) -> Result<Machine, Verdict> {
    let memory = facts.local()?.memory;
    memory.ok_or_else(|| skipped("/proc/meminfo cannot be read"))
}

fn disk_of(facts: &Facts) -> Result<Disk, Verdict> {
    let disk = facts.local()?.disk;
    disk.ok_or_else(|| skipped("statvfs of / failed"))
}

/// Judges what is left of something: nothing is an error, little is a warning.
fn left(available: u64, little: bool, detail: String) -> Verdict {
    match (available, little) {
        (0, _) => error(detail),
        (_, true) => warning(detail),
        (_, false) => ok(detail),
    }
}

pub(crate) fn memory(facts: &Facts) -> Judged {
    let memory = memory_of(facts)?;
    let detail = format!("{} of {} MiB available", memory.available, memory.memory);
    if memory.available >= LITTLE_MEMORY {
        return Ok(ok(detail));
    }
    const MORE: &str = "Stop large processes (`top -o %MEM`), or give this machine more";
    Ok(warning(detail).fix_elsewhere(facts.wsl, MORE))
}

pub(crate) fn swap(facts: &Facts) -> Judged {
    let memory = memory_of(facts)?;
    let used = memory.swap.saturating_sub(memory.swap_free);
    let detail = format!("{used} of {} MiB used", memory.swap);
    let verdict = if memory.swap == 0 {
        info("no swap: a program that needs more than the memory is killed")
    } else if used * 10 > memory.swap * 9 {
        warning(detail)
    } else {
        ok(detail)
    };
    const MORE: &str = "Add a file: `sudo fallocate -l 2G /swapfile`, `sudo chmod 600 /swapfile`, `sudo mkswap /swapfile`, `sudo swapon /swapfile`, and its line in /etc/fstab";
    Ok(verdict.fix_elsewhere(facts.wsl, MORE))
}

pub(crate) fn disk(facts: &Facts) -> Judged {
    let disk = disk_of(facts)?;
    let detail = format!("{} of {} MiB free on /", disk.available, disk.total);
    Ok(left(disk.available, disk.available < LITTLE_DISK, detail))
}

pub(crate) fn inodes(facts: &Facts) -> Judged {
    let (free, all) = disk_of(facts).map(|disk| (disk.inodes_free, disk.inodes))?;
    if all == 0 {
        return Err(skipped("the file system of / does not count inodes"));
    }
    let detail = format!("{free} of {all} inodes free on /");
    Ok(left(free, free * 50 < all, detail))
}

pub(crate) fn watches(facts: &Facts) -> Judged {
    let value = facts.local()?.watches.as_deref();
    let value: Option<u64> = value.and_then(|text| text.parse().ok());
    let watches = value.ok_or_else(|| skipped("fs.inotify.max_user_watches cannot be read"))?;
    let detail = format!("{watches} watches for each user");
    let verdict: fn(String) -> Verdict = if watches < FEW_WATCHES { info } else { ok };
    Ok(verdict(detail))
}

#[cfg(test)]
mod tests;
