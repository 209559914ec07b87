//! Compares what we found with what systemd's `EnvironmentFile=` finds.
//!
//! systemd reads the file by a state machine of its own (`parse_env_file` in
//! its src/basic/env-file.c): quotes count only at the start of a value, a
//! carriage return ends a line, `;` starts a comment, and before v254 a
//! backslash at the end of a comment made the next line a comment too.

use super::{Assignment, Fault, Key, Problem};

/// Which systemd reads: the meaning of a backslash that ends a comment changed.
#[derive(Debug, Clone, Copy)]
enum Version {
    Before254,
    Since254,
}

/// What the next char belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeKey,
    /// In a key that began at this offset.
    Key(usize),
    BeforeValue,
    Value,
    ValueEscape,
    SingleQuote,
    DoubleQuote,
    DoubleQuoteEscape,
    Comment,
    CommentEscape,
}

/// Refuses a file in which systemd finds other assignments of owned keys than
/// a shell does, or in which it would not see a line added at the end.
pub(super) fn check(text: &str, found: &[Assignment]) -> Result<(), Fault> {
    for version in [Version::Before254, Version::Since254] {
        let (seen, closed) = read(text, version);
        let only_shell = found
            .iter()
            .map(|f| (f.start, f.key))
            .find(|f| !seen.contains(f));
        let only_systemd = seen
            .iter()
            .copied()
            .find(|(at, _)| !found.iter().any(|f| f.start == *at));
        let first = only_shell
            .into_iter()
            .chain(only_systemd)
            .min_by_key(|(at, _)| *at);
        if let Some((at, key)) = first {
            return Err(Fault {
                at,
                problem: Problem::Disagreement(key),
            });
        }
        if !closed {
            return Err(Fault {
                at: text.trim_end_matches('\n').len(),
                problem: Problem::OpenEnd,
            });
        }
    }
    Ok(())
}

/// The owned keys and the offsets of their lines, and whether a line added at
/// the end would be read as a line of its own.
fn read(text: &str, version: Version) -> (Vec<(usize, Key)>, bool) {
    let mut seen = Vec::new();
    let mut state = State::BeforeKey;
    // A line is only ever added behind a newline.
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let last = newline.chars().map(|c| (text.len(), c));
    for (at, c) in text.char_indices().chain(last) {
        if let (State::Key(start), '=') = (state, c) {
            let key = text.get(start..at).unwrap_or_default();
            seen.extend(owned(key).map(|key| (start, key)));
        }
        state = next(state, at, c, version);
    }
    (seen, state == State::BeforeKey)
}

/// systemd knows no `export`, but the shell does, and such a line is rewritten.
fn owned(key: &str) -> Option<Key> {
    let key = key.trim_end_matches([' ', '\t']);
    let exported = key
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']));
    Key::from_name(exported.map_or(key, |rest| rest.trim_start_matches([' ', '\t'])))
}

fn next(state: State, at: usize, c: char, version: Version) -> State {
    let newline = matches!(c, '\n' | '\r');
    let blank = newline || matches!(c, ' ' | '\t');
    match (state, c) {
        (State::BeforeKey, '#' | ';') => State::Comment,
        (State::BeforeKey, _) if blank => State::BeforeKey,
        (State::BeforeKey, _) => State::Key(at),
        (State::Key(_), '=') => State::BeforeValue,
        (State::Key(_) | State::BeforeValue | State::Value | State::Comment, _) if newline => {
            State::BeforeKey
        }
        (State::Key(start), _) => State::Key(start),
        (State::BeforeValue, '\'') => State::SingleQuote,
        (State::BeforeValue, '"') => State::DoubleQuote,
        (State::BeforeValue | State::Value, '\\') => State::ValueEscape,
        (State::BeforeValue, _) if blank => State::BeforeValue,
        (State::BeforeValue | State::Value | State::ValueEscape, _) => State::Value,
        (State::SingleQuote, '\'') | (State::DoubleQuote, '"') => State::BeforeValue,
        (State::SingleQuote, _) => State::SingleQuote,
        (State::DoubleQuote, '\\') => State::DoubleQuoteEscape,
        (State::DoubleQuote | State::DoubleQuoteEscape, _) => State::DoubleQuote,
        (State::Comment, '\\') => State::CommentEscape,
        (State::Comment, _) => State::Comment,
        (State::CommentEscape, _) => match version {
            Version::Since254 if newline => State::BeforeKey,
            Version::Before254 | Version::Since254 => State::Comment,
        },
    }
}
