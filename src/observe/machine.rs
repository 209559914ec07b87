//! Memory and processors of the virtual machine.

use std::{collections::BTreeMap, path::Path};

use crate::fs::read_bounded;

/// Most bytes of a file that are read.
const MOST: usize = 64 << 10;

/// What this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// All of the memory that the kernel gives to programs, in MiB.
    pub memory: u64,
    /// What a program could still get, in MiB.
    pub available: u64,
    /// Swap in all, in MiB.
    pub swap: u64,
    /// Swap that is free, in MiB.
    pub swap_free: u64,
    /// Processors in use, where the kernel says.
    pub processors: Option<usize>,
}

/// Reads it below a root; `None` where the kernel does not say.
#[must_use]
pub fn machine(root: &Path) -> Option<Machine> {
    let text = |file| {
        let bytes = read_bounded(&root.join(file), MOST).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Some(Machine {
        processors: processors(&text("sys/devices/system/cpu/online")),
        ..memory(&text("proc/meminfo"))?
    })
}

/// `MemTotal:  8048676 kB` and so on (proc_meminfo(5)).
fn memory(text: &str) -> Option<Machine> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let values: BTreeMap<&str, u64> = lines
        .filter_map(|(name, rest)| {
            let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
            Some((name, kib >> 10))
        })
        .collect();
    let of = |name| values.get(name).copied();
    Some(Machine {
        memory: of("MemTotal")?,
        available: of("MemAvailable")?,
        swap: of("SwapTotal").unwrap_or(0),
        swap_free: of("SwapFree").unwrap_or(0),
        processors: None,
    })
}

/// `0-3,5` (the kernel's Documentation/admin-guide/cputopology.rst).
fn processors(text: &str) -> Option<usize> {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    text.trim().split(',').map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_mib() {
        let text = "MemTotal: 8048676 kB\nMemFree: 1 kB\nMemAvailable: 2048 kB\nSwapTotal: 0 kB\n";
        let found = memory(text).unwrap();
        assert_eq!((found.memory, found.available), (7860, 2));
        assert_eq!((found.swap, found.swap_free), (0, 0));
        assert!(memory("MemTotal: x kB\n").is_none() && memory("").is_none());
    }

    #[test]
    fn processors_in_ranges() {
        for (text, count) in [
            ("0\n", Some(1)),
            ("0-7\n", Some(8)),
            ("0-3,5,8-9\n", Some(7)),
            ("", None),
            ("3-1", None),
            ("many", None),
        ] {
            assert_eq!(processors(text), count, "{text:?}");
        }
    }
}
