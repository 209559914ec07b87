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
