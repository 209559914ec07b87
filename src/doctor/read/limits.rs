//! Limits of the kernel and of services, and what is used of them; how long programs wait
//! for memory.

use super::{
    super::facts::{Limits, Pressure, UnitTasks, Used},
    root::Root,
};

/// Most services whose tasks are counted.
const SERVICES: usize = 1024;

/// The kernel's pressure stall information, where it measures that.
pub(super) fn pressure(root: &Root) -> Option<Pressure> {
    let text = root.text("/proc/pressure/memory", 4096).ok()??;
    let average = |kind: &str, span: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let mut words = line.split_whitespace();
        words.find_map(|word| word.strip_prefix(span)?.parse().ok())
    };
    Some(Pressure {
        some_60: average("some ", "avg60=")?,
        some_300: average("some ", "avg300=")?,
        full_60: average("full ", "avg60=").unwrap_or_default(),
    })
}

/// Processes that the kernel has killed for lack of memory since it started (the kernel's
/// mm/oom_kill.c counts them in /proc/vmstat).
pub(super) fn oom_kills(root: &Root) -> Option<u64> {
    let text = root.text_or_empty("/proc/vmstat", 64 << 10);
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// What is used of the limits.
pub(super) fn read(root: &Root) -> Limits {
    let number = |path: &str| root.line(path)?.parse::<u64>().ok();
    let used = |used: Option<u64>, most: Option<u64>| {
        Some(Used {
            used: used?,
            most: most.filter(|most| *most > 0)?,
        })
    };
    // Allocated, free, the limit (proc_sys_fs(5)).
    let files = root.line("/proc/sys/fs/file-nr").unwrap_or_default();
    let mut files = files.split_whitespace().map(|word| word.parse().ok());
    let (opened, most) = (files.next().flatten(), files.nth(1).flatten());
    // `0.20 0.18 0.12 1/80 11206`: the fourth has all tasks (proc_loadavg(5)).
    let tasks = root.line("/proc/loadavg").and_then(|line| {
        let (_, all) = line.split_whitespace().nth(3)?.split_once('/')?;
        all.parse().ok()
    });
    let pids = number("/proc/sys/kernel/pid_max");
    let threads = number("/proc/sys/kernel/threads-max");
    let netfilter = |name: &str| number(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
    Limits {
        files: used(opened, most),
        tasks: used(tasks, pids.min(threads).or(pids).or(threads)),
        connections: used(netfilter("count"), netfilter("max")),
        units: units(root),
    }
}

/// Services that have a limit of tasks.
fn units(root: &Root) -> Vec<UnitTasks> {
    // Unified, and where version 1 is mounted beside it.
    let folders = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].map(|at| format!("{at}/system.slice"));
    let names = |folder: &String| root.names(folder, SERVICES);
    let unit = |folder: &str, name: &str| {
        let number = |file: &str| root.line(&format!("{folder}/{name}/pids.{file}"));
        // `max 3` (the kernel's Documentation/admin-guide/cgroup-v2.rst).
        let events = number("events").unwrap_or_default();
        let refused = events.strip_prefix("max ").and_then(|n| n.parse().ok());
        Some(UnitTasks {
            name: name.to_owned(),
            tasks: Used {
                used: number("current")?.parse().ok()?,
                most: number("max")?.parse().ok()?,
            },
            refused: refused.unwrap_or(0),
        })
    };
    let services = folders.iter().flat_map(|folder| {
        let names = names(folder).into_iter();
        names.filter_map(|name| name.ends_with(".service").then(|| unit(folder, &name))?)
    });
    services.collect()
}

#[cfg(test)]
mod tests;
