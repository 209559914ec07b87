//! The relay's counters as a person reads them.

use jiff::Timestamp;

use super::table::{columns, widths};
use crate::model::{Counted, CountedForward, span};

/// How old the counters are.
pub(super) fn age(entry: &Counted) -> String {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    // The clock may have been set back since.
    old(now.saturating_sub(entry.taken_unix_ms))
}

fn old(ms: u64) -> String {
    match ms / 1000 {
        0 => "of now".to_owned(),
        seconds => format!("{} old", span(seconds)),
    }
}

/// A table of at most `width` columns, figures to the right. A name that is too
/// long for it has a line of its own.
pub(super) fn table(entries: &[&CountedForward], width: usize) -> Vec<String> {
    if entries.is_empty() {
        return Vec::new();
    }
    let heading = ["NAME", "ACTIVE", "OPENED", "FAILED", "REFUSED", "IN", "OUT"];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| cells(entry)));
    let [_, figures @ ..] = widths(&rows);
    let taken: usize = figures.iter().map(|width| width + 2).sum();
    let longest = width.saturating_sub(taken).max("NAME".len());
    let rows = columns(rows, longest, true).into_iter();
    rows.flat_map(|(long, cells)| long.into_iter().chain([cells.join("  ")]))
        .collect()
}

fn cells(entry: &CountedForward) -> [String; 7] {
    let counters = entry.counters;
    [
        entry.name.clone(),
        count(counters.active.into()),
        count(counters.opened),
        count(counters.failed),
        count(counters.refused),
        bytes(counters.bytes_in),
        bytes(counters.bytes_out),
    ]
}

/// At most five characters.
fn count(number: u64) -> String {
    if number < 100_000 {
        number.to_string()
    } else {
        shortened(number, 1000, &["k", "M", "G", "T", "P", "E"])
    }
}

/// At most eight characters.
pub(super) fn bytes(number: u64) -> String {
    if number < 1024 {
        format!("{number} B")
    } else {
        let units = [" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"];
        shortened(number, 1024, &units)
    }
}

/// In the largest unit that leaves at least 1; with a decimal below 10. Rounded
/// down, so that nothing shows more than there was.
fn shortened(number: u64, base: u64, units: &[&str]) -> String {
    let (mut whole, mut rest, mut name) = (number, 0, "");
    for unit in units {
        if whole < base {
            break;
        }
        (whole, rest, name) = (whole / base, whole % base, unit);
    }
    if whole < 10 {
        format!("{whole}.{}{name}", rest * 10 / base)
    } else {
        format!("{whole}{name}")
    }
}

#[cfg(test)]
mod tests;
