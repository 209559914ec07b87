//! Looks for secrets in the memory of a process.

use std::fs::{self, File};
use std::io::BufRead;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::ROLE;
use crate::world::World;

/// Searches a process: `@scan PID HEX...`.
pub(crate) const SCAN: &str = "@scan";

impl World {
    /// How often a key of 32 bytes, in hexadecimal, is in the writable memory of a
    /// process: as bytes, as that text and in base64, or a quarter of one of them, as
    /// reused memory leaves it.
    pub(crate) fn copies_of_key(&self, pid: u32, hex: &str, base64: &str) -> Result<usize> {
        let bytes = from_hex(hex)?;
        let forms = [&bytes, hex.as_bytes()]
            .iter()
            .flat_map(|form| form.chunks_exact(form.len() / 4))
            .chain(base64.as_bytes().chunks_exact(11))
            .map(to_hex)
            .collect::<Vec<_>>();
        let pid = pid.to_string();
        let mut argv = vec!["/init", ROLE, SCAN, &pid];
        argv.extend(forms.iter().map(String::as_str));
        let found = self.guest(&argv)?.ok()?;
        found.trim().parse().context("no number")
    }
}

/// Plays [`SCAN`]: prints how often one of the byte strings is in the memory.
pub(crate) fn scan_role(pid: &str, needles: &[&str]) -> ExitCode {
    match scan(pid, needles) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("scanning {pid}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn scan(pid: &str, needles: &[&str]) -> Result<usize> {
    let needles = needles
        .iter()
        .map(|needle| from_hex(needle))
        .collect::<Result<Vec<_>>>()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem")).context("opening the memory")?;
    let (mut found, mut size) = (0, 0);
    for (from, to) in maps.lines().filter_map(writable) {
        let mut bytes = vec![0; usize::try_from(to - from)?];
        // A thread may have ended and its stack with it.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            size += bytes.len();
            found += needles.iter().map(|one| count(&bytes, one)).sum::<usize>();
        }
    }
    ensure!(size > 0, "nothing of it is readable");
    Ok(found)
}

/// Start and end of a mapping that the process may write (proc_pid_maps(5)).
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    words.next()?.starts_with("rw").then_some(())?;
    Some((number(from)?, number(to)?))
}

/// By the standard library's search for a byte, which is optimized in every build. A
/// zero is everywhere: a needle without those at its start is found as well.
fn count(bytes: &[u8], needle: &[u8]) -> usize {
    let zeros = needle.iter().take_while(|byte| **byte == 0).count();
    let Some((first, others)) = needle.get(zeros..).and_then(<[u8]>::split_first) else {
        return 0;
    };
    let (mut found, mut rest) = (0, bytes);
    while rest.skip_until(*first).is_ok_and(|skipped| skipped > 0) {
        found += usize::from(rest.starts_with(others));
    }
    found
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|two| Ok(u8::from_str_radix(str::from_utf8(two)?, 16)?))
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
