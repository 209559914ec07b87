//! Compares what we found with what systemd's `EnvironmentFile=` finds.
//!
//! systemd reads the file by a state machine of its own (`parse_env_file` in
//! its src/basic/env-file.c): quotes count only at the start of a value, a
//! carriage return ends a line, `;` starts a comment, and before v254 a
//! backslash at the end of a comment made the next line a comment too.

use std::collections::BTreeSet;

use super::{Assignment, BLANKS, Fault, Key, Problem, exported};

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

/// Refuses a file in which systemd, before v254 or since, finds other assignments
/// of owned keys than a shell does, or in which it would not see a line added at
/// the end.
pub(super) fn check(text: &str, found: &[Assignment]) -> Result<(), Fault> {
    let found: BTreeSet<_> = found.iter().map(|f| (f.start, f.key)).collect();
    for comments_continue in [true, false] {
        let (seen, closed) = read(text, comments_continue);
        if let Some((at, key)) = found.symmetric_difference(&seen).next() {
            return Err(Problem::Disagreement(*key).at(*at));
        }
        if !closed {
            return Err(Problem::OpenEnd.at(text.trim_end_matches('\n').len()));
        }
    }
    Ok(())
}

/// The owned keys and the offsets of their lines, and whether a line added at
/// the end would be read as a line of its own.
fn read(text: &str, comments_continue: bool) -> (BTreeSet<(usize, Key)>, bool) {
    let mut seen = BTreeSet::new();
    let mut state = State::BeforeKey;
    // A line is only ever added behind a newline.
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let last = newline.chars().map(|c| (text.len(), c));
    for (at, c) in text.char_indices().chain(last) {
        if let (State::Key(start), '=') = (state, c) {
            let key = text.get(start..at).unwrap_or_default();
            // systemd knows no `export`, but the shell does, and such a line is rewritten.
            let key = Key::from_name(exported(key.trim_end_matches(BLANKS)));
            seen.extend(key.map(|key| (start, key)));
        }
        state = next(state, at, c, comments_continue);
    }
    (seen, state == State::BeforeKey)
}

fn next(state: State, at: usize, c: char, comments_continue: bool) -> State {
    let newline = matches!(c, '\n' | '\r');
    let blank = newline || BLANKS.contains(&c);
    match (state, c) {
        (State::BeforeKey, '#' | ';') => State::Comment,
        (State::BeforeKey, _) if !blank => State::Key(at),
        (State::Key(_), '=') => State::BeforeValue,
        (State::Key(_) | State::BeforeValue | State::Value | State::Comment, _) if newline => {
            State::BeforeKey
        }
        (State::BeforeValue, '\'') => State::SingleQuote,
        (State::BeforeValue, '"') => State::DoubleQuote,
        (State::BeforeValue | State::Value, '\\') => State::ValueEscape,
        (State::BeforeValue, _) if !blank => State::Value,
        (State::ValueEscape, _) => State::Value,
        (State::SingleQuote, '\'') | (State::DoubleQuote, '"') => State::BeforeValue,
        (State::DoubleQuote, '\\') => State::DoubleQuoteEscape,
        (State::DoubleQuoteEscape, _) => State::DoubleQuote,
        (State::Comment, '\\') => State::CommentEscape,
        (State::CommentEscape, _) if newline && !comments_continue => State::BeforeKey,
        (State::CommentEscape, _) => State::Comment,
        // Blanks in front of a key or a value, and what goes on as it began.
        _ => state,
    }
}
