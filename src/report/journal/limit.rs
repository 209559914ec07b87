//! Rate limiting: repeated lines are counted and summarised in one.
//!
//! No I/O and no timer: the caller passes the time. Summaries come with the next line of
//! any kind, with the watchdog's tick, or at the end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::report::event::Limit;

/// Kinds of lines that are limited at a time; lines of further kinds are not limited.
const CAPACITY: usize = 512;

/// What a line counts against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// Lines with the same key share one limit.
    pub(super) key: u64,
    pub(super) limit: Limit,
    /// The line reports that something cleared. It shares the limit of the line that
    /// raised it, so that a summary shows the latest state.
    pub(super) cleared: bool,
}

/// What to add to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// Nothing.
    None,
    /// Further lines are counted for this long.
    Repeating(Duration),
    /// The line is a summary of so many lines within this time.
    Times(u32, Duration),
}

/// Counts lines by [`Rate::key`].
#[derive(Debug)]
pub(super) struct Limiter<T>(BTreeMap<u64, Window<T>>);

#[derive(Debug)]
struct Window<T> {
    limit: Limit,
    start: Instant,
    /// Lines written in this window.
    written: u32,
    /// The latest of the lines that were not written, when it came, and whether it
    /// reports that something cleared.
    held: Option<(T, Instant, bool)>,
    /// Lines that were not written: those that raised, and those that cleared.
    counts: [u32; 2],
}

impl<T> Default for Limiter<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Limiter<T> {
    /// Takes a line and returns what is to be written now.
    pub(super) fn admit(&mut self, rate: Rate, line: T, now: Instant) -> Vec<(T, Note)> {
        let mut out = self.expired(now);
        if self.0.len() >= CAPACITY && !self.0.contains_key(&rate.key) {
            out.push((line, Note::None));
            return out;
        }
        let window = self.0.entry(rate.key).or_insert(Window {
            limit: rate.limit,
            start: now,
            written: 0,
            held: None,
            counts: [0; 2],
        });
        if window.written < window.limit.most {
            window.written += 1;
            let note = if window.written == window.limit.most {
                Note::Repeating(window.end().saturating_duration_since(now))
            } else {
                Note::None
            };
            out.push((line, note));
        } else {
            let [raised, cleared] = &mut window.counts;
            let count = if rate.cleared { cleared } else { raised };
            *count = count.saturating_add(1);
            window.held = Some((line, now, rate.cleared));
        }
        out
    }

    /// The summaries of windows that have ended.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(T, Note)> {
        let mut out = Vec::new();
        self.0.retain(|_, window| {
            if window.end() <= now
                && let Some(summary) = window.summary()
            {
                out.push(summary);
                // Counting goes on until a window without lines.
                window.start = window.end();
            }
            window.end() > now
        });
        out
    }

    /// All summaries, when no further line follows.
    pub(super) fn flush(&mut self) -> Vec<(T, Note)> {
        let windows = std::mem::take(&mut self.0).into_values();
        windows.filter_map(|mut window| window.summary()).collect()
    }
}

impl<T> Window<T> {
    fn end(&self) -> Instant {
        self.start + self.limit.within
    }

    /// The line that was held, with the number of its kind; counting starts anew.
    fn summary(&mut self) -> Option<(T, Note)> {
        let (line, at, is_cleared) = self.held.take()?;
        let [raised, cleared] = std::mem::take(&mut self.counts);
        let note = match if is_cleared { cleared } else { raised } {
            0 | 1 => Note::None,
            times => Note::Times(times, at.saturating_duration_since(self.start)),
        };
        Some((line, note))
    }
}

#[cfg(test)]
mod tests;
