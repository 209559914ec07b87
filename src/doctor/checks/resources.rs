//! Memory, disk, and what the kernel watches.

use std::collections::BTreeMap;

use crate::{
    doctor::{
        facts::{Disk, Facts, OpenFiles, Used},
        verdict::{Judged, Verdict, all, beside_hidden, error, info, ok, skipped, warning},
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

/// Percent of the last minute in which at least one program waited for memory: systemd tells
/// services from 200 ms within 2 s on (MemoryPressureThresholdSec= in
/// systemd.resource-control(5)).
const SOME: f64 = 10.0;
/// The same of all programs at once: from there on systemd-oomd kills (oomd.conf(5),
/// DefaultMemoryPressureLimit=).
const FULL: f64 = 60.0;

pub(crate) fn pressure(facts: &Facts) -> Judged {
    let pressure = facts.local()?.pressure.ok_or_else(|| {
        skipped(match facts.wsl {
            true => "the kernel does not measure it; WSL's does with psi=1 in kernelCommandLine (%UserProfile%\\.wslconfig)",
            false => "the kernel does not measure it (/proc/pressure)",
        })
    })?;
    let (minute, five) = (pressure.some_60, pressure.some_300);
    let detail = format!(
        "programs waited for memory {minute:.0} % of the last minute, {five:.0} % of the last five"
    );
    let verdict = if pressure.full_60 >= FULL {
        error(format!(
            "{detail}; all of them at once {:.0} %",
            pressure.full_60
        ))
    } else if minute >= SOME {
        warning(detail)
    } else if five >= SOME {
        info(detail)
    } else {
        ok(detail)
    };
    const MORE: &str = "Stop large processes (`top -o %MEM`), or give this machine more memory";
    Ok(verdict.fix_elsewhere(facts.wsl, MORE))
}

pub(crate) fn oom_kills(facts: &Facts) -> Judged {
    let kills = facts.local()?.oom_kills;
    let kills = kills.ok_or_else(|| skipped("/proc/vmstat does not count them"))?;
    if kills == 0 {
        return Ok(ok("none since the kernel started"));
    }
    let processes = if kills == 1 { "process" } else { "processes" };
    let detail = format!("{kills} {processes} since the kernel started, of any distribution");
    const MORE: &str = "See `sudo journalctl -k -g oom`; limit the process (MemoryMax= of its unit), or give this machine more memory";
    Ok(info(detail).fix_elsewhere(facts.wsl, MORE))
}

/// Whether a limit is as good as reached: less than a tenth of it is left.
fn is_reached(used: u64, most: u64) -> bool {
    used >= most.saturating_sub(most / 10).max(1)
}

pub(crate) fn limits(facts: &Facts) -> Judged {
    let local = facts.local()?;
    let limits = &local.limits;
    let system = [
        (
            limits.files,
            "open files",
            "Raise fs.file-max in /etc/sysctl.d, and find what has them: `sudo lsof -n | cut -d\" \" -f1 | sort | uniq -c | sort -n | tail`",
        ),
        (
            limits.tasks,
            "processes and threads",
            "Find what has them: `ps -eLo comm | sort | uniq -c | sort -n | tail`; raise kernel.pid_max and kernel.threads-max in /etc/sysctl.d",
        ),
        (
            limits.connections,
            "followed connections",
            "Raise net.netfilter.nf_conntrack_max in /etc/sysctl.d; see `sudo conntrack -S`",
        ),
    ];
    let system = system.into_iter().filter_map(|(limit, of, fix)| {
        let Used { used, most } = limit?;
        let detail = format!("{used} of {most} {of} of this kernel are used");
        is_reached(used, most).then(|| warning(detail).fix(fix))
    });
    let units = limits.units.iter().filter_map(|unit| {
        let (name, Used { used, most }) = (&unit.name, unit.tasks);
        let fix = format!(
            "Run `sudo systemctl set-property {name} TasksMax={}`",
            most.saturating_mul(2)
        );
        let refused = unit.refused;
        let detail = format!("{name} has {used} of {most} processes and threads");
        if is_reached(used, most) {
            return Some(warning(detail).fix(fix));
        }
        (refused > 0).then(|| {
            info(format!(
                "{detail}, and was refused {refused} more since it started"
            ))
            .fix(fix)
        })
    });
    // The process of each that is next to its limit.
    let mut open: BTreeMap<&str, OpenFiles> = BTreeMap::new();
    for process in &local.processes {
        if let (Some(service), Some(files)) = (process.service.as_deref(), process.open) {
            let most = open.entry(service).or_insert(files);
            let left = |files: &OpenFiles| files.limit.saturating_sub(files.count);
            if left(&files) < left(most) {
                *most = files;
            }
        }
    }
    let open = open.into_iter().filter_map(|(service, OpenFiles { count, limit })| {
        let (used, most) = (u64::try_from(count).ok()?, u64::try_from(limit).ok()?);
        let fix = "Set LimitNOFILE= for it: `sudo systemctl edit UNIT`, then restart it (a container: `--ulimit nofile=`)";
        let detail = format!("a process of {service} has {count} of {limit} open files");
        is_reached(used, most).then(|| warning(detail).fix(fix.replace("UNIT", service)))
    });
    let verdict = all(system.chain(units).chain(open), "none is reached");
    let hidden = match facts.root {
        true => Vec::new(),
        false => vec!["open files of services".to_owned()],
    };
    Ok(beside_hidden(verdict, true, &hidden))
}

/// MiB of Windows' drive below which it soon cannot hold what this machine writes: its
/// virtual disk and its swap file grow there.
const LITTLE_DRIVE: u64 = 2048;

pub(crate) fn windows_disk(facts: &Facts) -> Judged {
    facts.wsl()?;
    let disk = facts.windows_disk.as_ref();
    let (at, disk) = disk.ok_or_else(|| skipped("no Windows drive with users could be read"))?;
    let Disk {
        available, total, ..
    } = *disk;
    let detail = format!("{available} of {total} MiB free on Windows' drive ({at})");
    Ok(left(available, available < LITTLE_DRIVE, detail))
}

pub(crate) fn defender(facts: &Facts) -> Judged {
    facts.wsl()?;
    Err(skipped(
        "administrators of Windows alone can read Defender's exclusions: (Get-MpPreference).ExclusionPath in an elevated PowerShell; `wslmesh host check` names the folder",
    ))
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
