//! How often the journal says one thing: what comes again and again is counted,
//! and said once in a while with its number.
//!
//! Pure: the time comes from outside, and no timer belongs to it. What is held
//! back is given out when somebody looks: with the next line of any kind, with the
//! watchdog's tick, or at the end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::report::event::Limit;

/// More kinds at a time are not told apart: they are said as they come.
const MOST_KINDS: usize = 512;

/// What to add to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// Nothing.
    Plain,
    /// It is the last one of its kind for this long.
    Last(Duration),
    /// It stands for so many, of so long a time.
    Times(u32, Duration),
}

/// What came of each kind lately.
#[derive(Debug)]
pub(super) struct Limiter<T>(BTreeMap<u64, Kind<T>>);

#[derive(Debug)]
struct Kind<T> {
    limit: Limit,
    /// When its window began.
    since: Instant,
    /// Lines said in this window.
    said: u32,
    held: Option<Held<T>>,
}

/// What is not said yet: the last line, and how many there were.
#[derive(Debug)]
struct Held<T> {
    line: T,
    /// Whether the last line says that something is over.
    over: bool,
    begun: u32,
    ended: u32,
    last: Instant,
}

impl<T> Default for Limiter<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Limiter<T> {
    /// Takes a line of a kind; gives back what is to be said now. `over` marks the
    /// line that ends what another one of the kind began: both count as one kind,
    /// so that the line which stands for them says how it is.
    pub(super) fn take(
        &mut self,
        kind: u64,
        limit: Limit,
        over: bool,
        line: T,
        now: Instant,
    ) -> Vec<(T, Note)> {
        let mut out = self.due(now);
        if !self.0.contains_key(&kind) && self.0.len() >= MOST_KINDS {
            out.push((line, Note::Plain));
            return out;
        }
        let kind = self.0.entry(kind).or_insert(Kind {
            limit,
            since: now,
            said: 0,
            held: None,
        });
        if kind.said < limit.most {
            kind.said += 1;
            let note = if kind.said < limit.most {
                Note::Plain
            } else {
                Note::Last(kind.end().saturating_duration_since(now))
            };
            out.push((line, note));
            return out;
        }
        let (begun, ended) = kind
            .held
            .take()
            .map_or((0, 0), |held| (held.begun, held.ended));
        kind.held = Some(Held {
            line,
            over,
            begun: begun.saturating_add(u32::from(!over)),
            ended: ended.saturating_add(u32::from(over)),
            last: now,
        });
        out
    }

    /// What was held back in windows that are over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(T, Note)> {
        let mut out = Vec::new();
        for kind in self.0.values_mut().filter(|kind| kind.end() <= now) {
            if let Some(held) = kind.held.take() {
                out.push(held.said(kind.since));
                // It goes on being counted, until a window in which none came.
                kind.since = kind.end();
            }
        }
        self.0.retain(|_, kind| kind.end() > now);
        out
    }

    /// Everything that is held back: nothing comes after it.
    pub(super) fn rest(&mut self) -> Vec<(T, Note)> {
        let kinds = std::mem::take(&mut self.0).into_values();
        kinds
            .filter_map(|kind| Some(kind.held?.said(kind.since)))
            .collect()
    }
}

impl<T> Kind<T> {
    fn end(&self) -> Instant {
        self.since + self.limit.within
    }
}

impl<T> Held<T> {
    fn said(self, since: Instant) -> (T, Note) {
        let times = if self.over { self.ended } else { self.begun };
        let note = if times > 1 {
            Note::Times(times, self.last.saturating_duration_since(since))
        } else {
            Note::Plain
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

    /// Per line: seconds, what comes (`a` to `z` a kind, `A` to `Z` its end, `.`
    /// the watchdog), what is said.
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
            let said = if what == '.' {
                limiter.due(now)
            } else {
                let kind = u64::from(u32::from(what.to_ascii_lowercase()));
                limiter.take(kind, LIMIT, what.is_ascii_uppercase(), what, now)
            };
            assert_eq!(told(&said), wanted, "{line}");
        }
    }

    fn told(said: &[(char, Note)]) -> String {
        let one = |(what, note): &(char, Note)| match note {
            Note::Plain => what.to_string(),
            Note::Last(left) => format!("{what}, silent for {}", left.as_secs()),
            Note::Times(times, within) => format!("{what} {times} in {}", within.as_secs()),
        };
        said.iter().map(one).collect::<Vec<_>>().join(" + ")
    }

    #[test]
    fn what_comes_seldom_is_said_each_time() {
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
    fn what_comes_again_and_again_is_said_once_a_window_with_its_number() {
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
    fn a_storm_long_ago_does_not_silence_what_comes_now() {
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
    fn the_line_that_stands_for_many_says_how_it_is() {
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
    fn kinds_do_not_disturb_each_other() {
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
    fn the_rest_comes_at_the_end_and_once() {
        let (now, mut limiter) = (Instant::now(), Limiter::default());
        for _ in 0..7 {
            limiter.take(1, LIMIT, false, 'a', now);
        }
        assert_eq!(limiter.rest(), [('a', Note::Times(4, Duration::ZERO))]);
        assert_eq!(limiter.rest(), []);
    }

    #[test]
    fn memory_is_bounded() {
        let (now, mut limiter) = (Instant::now(), Limiter::default());
        for kind in 0..10_000 {
            assert_eq!(
                limiter.take(kind, LIMIT, false, 'a', now),
                [('a', Note::Plain)]
            );
        }
        assert_eq!(limiter.0.len(), MOST_KINDS);
        assert_eq!(limiter.due(now + LIMIT.within), []);
        assert!(limiter.0.is_empty());
    }
}
