//! The local time zone, as tzfile(5) and POSIX describe it.
//!
//! The C library's own way to it is unsafe code, and a crate for it would be
//! bigger than this: all that is asked is how far local time is from UTC.

use std::{env, fs, path::Path};

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Zone {
    /// From when on, in seconds since 1970, which offset holds.
    changes: Vec<(i64, i64)>,
    /// Before the first of them.
    first: i64,
    /// After the last of them.
    rule: Option<Rule>,
}

/// A zone by rule: its offset from UTC in seconds, and the other half of the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    standard: i64,
    summer: Option<Summer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Summer {
    offset: i64,
    begin: Switch,
    end: Switch,
}

/// Weekday `day` (0 is Sunday) of week `week` (5 is the last) of a month, and the
/// seconds after its midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Switch {
    month: i64,
    week: i64,
    day: i64,
    time: i64,
}

impl Zone {
    /// The zone of `$TZ`, else of this machine; UTC where neither can be read.
    pub(super) fn local() -> Self {
        let named = env::var("TZ").ok();
        let found = match named.as_deref().map(|name| name.trim_start_matches(':')) {
            Some("") => None,
            Some(name) => Self::of_file(&Path::new("/usr/share/zoneinfo").join(name))
                .or_else(|| Self::of_rule(name)),
            None => Self::of_file(Path::new("/etc/localtime")),
        };
        found.unwrap_or_default()
    }

    fn of_file(path: &Path) -> Option<Self> {
        Self::parse(&fs::read(path).ok()?)
    }

    fn of_rule(text: &str) -> Option<Self> {
        Rule::parse(text).map(|rule| Self {
            rule: Some(rule),
            ..Self::default()
        })
    }

    /// How far local time is ahead of UTC at this time, in seconds.
    pub(super) fn offset(&self, unix: i64) -> i64 {
        let after = self.changes.partition_point(|(from, _)| *from <= unix);
        if after == self.changes.len()
            && let Some(rule) = &self.rule
        {
            return rule.offset(unix);
        }
        let change = after.checked_sub(1).and_then(|at| self.changes.get(at));
        change.map_or(self.first, |(_, offset)| *offset)
    }

    /// A file of version 2 or later (RFC 8536): an old block, one with 64 bits, and
    /// a rule for what comes after.
    fn parse(file: &[u8]) -> Option<Self> {
        let old = Header::parse(file)?;
        let file = file.get(old.length(4)?..)?;
        let header = Header::parse(file)?;
        let times = file.get(44..)?;
        let kinds = times.get(header.times.checked_mul(8)?..)?;
        let types = kinds.get(header.times..)?;
        let offset = |kind: usize| {
            let entry = types.get(kind.checked_mul(6)?..)?.first_chunk()?;
            Some(i64::from(i32::from_be_bytes(*entry)))
        };
        let change = |place: usize| {
            let time = times.get(place * 8..)?.first_chunk()?;
            let kind = kinds.get(place)?;
            Some((i64::from_be_bytes(*time), offset(usize::from(*kind))?))
        };
        let footer = file.get(header.length(8)?..)?;
        let rule = std::str::from_utf8(footer).ok().map(str::trim);
        Some(Self {
            changes: (0..header.times).map(change).collect::<Option<_>>()?,
            first: offset(0)?,
            rule: rule.and_then(Rule::parse),
        })
    }
}

/// How much of what follows.
struct Header {
    times: usize,
    types: usize,
    rest: usize,
    leaps: usize,
}

impl Header {
    fn parse(file: &[u8]) -> Option<Self> {
        if !file.starts_with(b"TZif") || *file.get(4)? < b'2' {
            return None;
        }
        let number = |place: usize| {
            let bytes = file.get(20 + place * 4..)?.first_chunk()?;
            usize::try_from(u32::from_be_bytes(*bytes)).ok()
        };
        Some(Self {
            rest: number(0)?
                .checked_add(number(1)?)?
                .checked_add(number(5)?)?,
            leaps: number(2)?,
            times: number(3)?,
            types: number(4)?,
        })
    }

    /// Of the block with its header, where a time has this many bytes.
    fn length(&self, time: usize) -> Option<usize> {
        let times = self.times.checked_mul(time + 1)?;
        let types = self.types.checked_mul(6)?;
        let leaps = self.leaps.checked_mul(time + 4)?;
        44_usize
            .checked_add(times)?
            .checked_add(types)?
            .checked_add(leaps)?
            .checked_add(self.rest)
    }
}

impl Rule {
    /// Such as CET-1CEST,M3.5.0,M10.5.0/3; POSIX counts westwards.
    fn parse(text: &str) -> Option<Self> {
        let rest = name(text)?;
        let (standard, rest) = clock(rest)?;
        if rest.is_empty() {
            return Some(Self {
                standard: -standard,
                summer: None,
            });
        }
        let rest = name(rest)?;
        let (summer, rest) = clock(rest).unwrap_or((standard - 3600, rest));
        let mut switches = rest.strip_prefix(',')?.split(',');
        let (begin, end) = (switches.next()?, switches.next()?);
        Some(Self {
            standard: -standard,
            summer: Some(Summer {
                offset: -summer,
                begin: Switch::parse(begin)?,
                end: Switch::parse(end)?,
            }),
        })
    }

    fn offset(&self, unix: i64) -> i64 {
        let Some(summer) = self.summer else {
            return self.standard;
        };
        let (year, _, _) = date((unix + self.standard).div_euclid(DAY));
        let begin = summer.begin.local(year) - self.standard;
        let end = summer.end.local(year) - summer.offset;
        // In the southern half of the world the year ends within it.
        let within = if begin < end {
            (begin..end).contains(&unix)
        } else {
            !(end..begin).contains(&unix)
        };
        if within { summer.offset } else { self.standard }
    }
}

impl Switch {
    /// Such as M3.5.0/3; the forms that count days are those of no zone today.
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = match text.split_once('/') {
            Some((day, time)) => (day, clock(time)?.0),
            None => (text, 7200),
        };
        let mut numbers = day.strip_prefix('M')?.split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let switch = Self {
            month: next()?,
            week: next()?,
            day: next()?,
            time,
        };
        let valid = (1..=12).contains(&switch.month)
            && (1..=5).contains(&switch.week)
            && (0..=6).contains(&switch.day);
        valid.then_some(switch)
    }

    /// In local seconds since 1970.
    fn local(&self, year: i64) -> i64 {
        let first = days(year, self.month, 1);
        // 1970 began with a Thursday.
        let weekday = (first + 4).rem_euclid(7);
        let mut day = first + (self.day - weekday).rem_euclid(7) + (self.week - 1) * 7;
        let next = if self.month == 12 {
            days(year + 1, 1, 1)
        } else {
            days(year, self.month + 1, 1)
        };
        if day >= next {
            day -= 7;
        }
        day * DAY + self.time
    }
}

/// What follows the name of a zone: letters, or anything between < and >.
fn name(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>').map(|(_, rest)| rest);
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    (rest.len() < text.len()).then_some(rest)
}

/// Seconds of [+-]hh[:mm[:ss]], and what follows.
fn clock(text: &str) -> Option<(i64, &str)> {
    let of_clock = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ':');
    let rest = text.trim_start_matches(of_clock);
    let own = text.get(..text.len() - rest.len())?;
    let (sign, digits) = match own.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, own.strip_prefix('+').unwrap_or(own)),
    };
    let mut seconds = 0;
    for (part, unit) in digits.splitn(3, ':').zip([3600, 60, 1]) {
        let number: u16 = part.parse().ok()?;
        seconds += i64::from(number) * unit;
    }
    Some((sign * seconds, rest))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March,
/// so that the leap day is the last.
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub(super) fn date(day: i64) -> (i64, i64, i64) {
    // A guess by the mean length of a year is at most one off.
    let mut year = 1970 + day * 400 / 146_097;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    while days(year, 1, 1) > day {
        year -= 1;
    }
    let last = |month: &i64| days(year, *month, 1) <= day;
    let month = (1..=12).rev().find(last).unwrap_or(1);
    (year, month, day - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What the C library says.
    fn told(zone: &str, unix: i64) -> i64 {
        let date = Command::new("date")
            .env("TZ", zone)
            .args(["-d", &format!("@{unix}"), "+%::z"])
            .output()
            .unwrap();
        let text = String::from_utf8(date.stdout).unwrap();
        clock(text.trim()).unwrap().0
    }

    const TIMES: [i64; 12] = [
        -86_401,
        0,
        951_826_000,
        1_711_846_799,
        1_711_846_800,
        1_729_990_799,
        1_729_990_800,
        1_790_000_000,
        2_000_000_000,
        4_000_000_000,
        4_102_444_799,
        7_000_000_000,
    ];

    #[test]
    fn rules_are_as_the_c_library_has_them() {
        for zone in [
            "UTC0",
            "CET-1CEST,M3.5.0,M10.5.0/3",
            "<+0330>-3:30",
            "EST5EDT,M3.2.0,M11.1.0",
            "AEST-10AEDT,M10.1.0,M4.1.0/3",
            "<-03>3<-02>,M3.5.0/-1,M10.5.0/0",
            "IST-1GMT0,M10.5.0,M3.5.0/1",
        ] {
            let own = Zone::of_rule(zone).unwrap();
            for unix in TIMES {
                assert_eq!(own.offset(unix), told(zone, unix), "{zone} {unix}");
            }
        }
    }

    #[test]
    fn files_are_as_the_c_library_has_them() {
        let folder = Path::new("/usr/share/zoneinfo");
        for zone in ["Europe/Berlin", "America/Sao_Paulo", "Australia/Sydney"] {
            // Where the C library has no zones, there is nothing to compare with.
            let Some(own) = Zone::of_file(&folder.join(zone)) else {
                assert!(!folder.join(zone).exists());
                continue;
            };
            for unix in TIMES {
                assert_eq!(own.offset(unix), told(zone, unix), "{zone} {unix}");
            }
        }
    }

    #[test]
    fn what_is_no_zone_is_none() {
        for bad in [
            "",
            "5",
            "CET",
            "CET-1CEST",
            "CET-1CEST,M3.5.0",
            "CET-1CEST,M13.5.0,M1.1.1",
        ] {
            assert_eq!(Rule::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Zone::parse(b"TZif1"), None);
        let mut broken = b"TZif2".to_vec();
        broken.resize(100, 0xff);
        assert_eq!(Zone::parse(&broken), None);
    }

    proptest::proptest! {
        #[test]
        fn dates_and_days_agree(day in -100_000_i64..1_000_000) {
            let (year, month, of_month) = date(day);
            proptest::prop_assert_eq!(days(year, month, of_month), day);
            proptest::prop_assert!((1..=12).contains(&month) && (1..=31).contains(&of_month));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), text in ".{0,40}") {
            let file = [b"TZif2".as_slice(), &bytes].concat();
            let _either = (Zone::parse(&file).is_some(), Rule::parse(&text).is_some());
        }
    }
}
