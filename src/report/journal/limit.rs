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
    held: Option<Held<T>>,
}

/// The latest of the lines that were not written, and how many there were.
#[derive(Debug)]
struct Held<T> {
    line: T,
    at: Instant,
    cleared: bool,
    /// Lines that raised, and lines that cleared.
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
            let [raised, cleared] = window.held.take().map_or([0; 2], |held| held.counts);
            window.held = Some(Held {
                line,
                at: now,
                cleared: rate.cleared,
                counts: [
                    raised.saturating_add(u32::from(!rate.cleared)),
                    cleared.saturating_add(u32::from(rate.cleared)),
                ],
            });
        }
        out
    }

    /// The summaries of windows that have ended.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(T, Note)> {
        let mut out = Vec::new();
        self.0.retain(|_, window| {
            if window.end() <= now
                && let Some(held) = window.held.take()
            {
                out.push(held.summary(window.start));
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
        windows
            .filter_map(|window| Some(window.held?.summary(window.start)))
            .collect()
    }
}

impl<T> Window<T> {
    fn end(&self) -> Instant {
        self.start + self.limit.within
    }
}

impl<T> Held<T> {
    fn summary(self, start: Instant) -> (T, Note) {
        let [raised, cleared] = self.counts;
        let note = match if self.cleared { cleared } else { raised } {
            0 | 1 => Note::None,
            times => Note::Times(times, self.at.saturating_duration_since(start)),
        };
        (self.line, note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        most: 3,
        within: Duration::from_secs(100),
    };

    /// Per line: seconds; `a` to `z` a line, `A` to `Z` one that clears it, `.` the
    /// watchdog; what is written.
    fn play(script: &str) {
        let (begin, mut limiter) = (Instant::now(), Limiter::default());
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let mut words = line.splitn(3, ' ');
            let at: u64 = words.next().unwrap().parse().unwrap();
            let what = words.next().unwrap().chars().next().unwrap();
            let wanted = words.next().unwrap_or_default();
            let now = begin + Duration::from_secs(at);
            let written = if what == '.' {
                limiter.expired(now)
            } else {
                limiter.admit(rate(what), what, now)
            };
            assert_eq!(shown(&written), wanted, "{line}");
        }
    }

    fn rate(what: char) -> Rate {
        Rate {
            key: u64::from(u32::from(what.to_ascii_lowercase())),
            limit: LIMIT,
            cleared: what.is_ascii_uppercase(),
        }
    }

    fn shown(lines: &[(char, Note)]) -> String {
        let one = |(what, note): &(char, Note)| match note {
            Note::None => what.to_string(),
            Note::Repeating(left) => format!("{what}, silent for {}", left.as_secs()),
            Note::Times(times, within) => format!("{what} {times} in {}", within.as_secs()),
        };
        lines.iter().map(one).collect::<Vec<_>>().join(" + ")
    }

    #[test]
    fn lines_below_the_limit_are_written() {
        play(
            "0 a a
             60 a a
             100 a a
             160 a a
             199 a a, silent for 1
             200 a a",
        );
    }

    #[test]
    fn repeated_lines_are_summarised_once_a_window() {
        play(
            "0 a a
             1 a a
             2 a a, silent for 98
             3 a
             50 a
             99 a
             150 a a 3 in 99
             160 a
             199 a
             200 . a 3 in 99
             201 .
             250 a
             300 . a
             350 .
             400 a a",
        );
    }

    #[test]
    fn an_expired_window_does_not_limit_new_lines() {
        play(
            "0 a a
             1 a a
             2 a a, silent for 98
             3 a
             4 a
             9000 a a 2 in 4 + a
             9001 a a",
        );
    }

    #[test]
    fn a_summary_shows_the_latest_state() {
        play(
            "0 a a
             1 A A
             2 a a, silent for 98
             3 A
             4 a
             5 A
             6 a
             7 A
             100 . A 3 in 7
             101 a
             200 . a",
        );
    }

    #[test]
    fn kinds_are_limited_separately() {
        play(
            "0 a a
             1 a a
             2 a a, silent for 98
             3 a
             4 b b
             5 a
             100 c a 2 in 5 + c",
        );
    }

    #[test]
    fn flush_returns_each_summary_once() {
        let (now, mut limiter) = (Instant::now(), Limiter::default());
        for _ in 0..7 {
            limiter.admit(rate('a'), 'a', now);
        }
        assert_eq!(limiter.flush(), [('a', Note::Times(4, Duration::ZERO))]);
        assert_eq!(limiter.flush(), []);
    }

    #[test]
    fn memory_is_bounded() {
        let (now, mut limiter) = (Instant::now(), Limiter::default());
        for key in 0..10_000 {
            let rate = Rate { key, ..rate('a') };
            assert_eq!(limiter.admit(rate, 'a', now), [('a', Note::None)]);
        }
        assert_eq!(limiter.0.len(), CAPACITY);
        assert_eq!(limiter.expired(now + LIMIT.within), []);
        assert!(limiter.0.is_empty());
    }
}
