//! Sets one key in a file of WSL's and leaves every other byte as it is.
//!
//! The new file is read again before it is handed out: WSL must find the new value in it,
//! and everything else as before.

use super::{
    encoding::Text,
    ini::{Entry, Ini, Problem},
    keys::{Key, WslFile},
};
use crate::model::{disturbs, excerpt};

/// A file with the new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// Its bytes: those of the old file where it has the value already.
    pub bytes: Vec<u8>,
    /// The line of the key, from 1.
    pub line: usize,
    /// The value that the file had.
    pub before: Option<String>,
    /// Later lines with the key, which WSL ignores.
    pub ignored: Vec<usize>,
}

/// Why a value was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// WSL would reject the value.
    #[error("{key} takes {expected}, and \"{}\" is none", excerpt(value))]
    Value {
        /// Section and key.
        key: &'static str,
        /// What it takes.
        expected: String,
        /// The value.
        value: String,
    },
    /// A character that no quotes and escapes carry into WSL.
    #[error("{0} cannot have the character {1:?}: {2}")]
    Character(&'static str, char, &'static str),
    /// WSL reads nothing of the file, or nothing at this place.
    #[error("WSL stops reading the file at line {line}: {problem}; correct that first")]
    Unread {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The new file would not be read as the old one.
    #[error(
        "with {0} the file's other lines would be read otherwise; correct what `wslmesh {1} check` names first, or edit it by hand"
    )]
    Unsafe(&'static str, &'static str),
}

/// Sets a key in a file with these bytes, of which a missing one has none.
///
/// # Errors
/// The value is none for this key, or the file cannot carry it.
pub fn set(
    file: WslFile,
    bytes: &[u8],
    key: &'static Key,
    value: &str,
) -> Result<Edited, EditError> {
    check(file, key, value)?;
    let old = file.parse(bytes);
    let text = match file {
        WslFile::Config => Text::config(bytes),
        WslFile::Conf => Some(Text::conf(bytes)),
    };
    let Some(text) = text else {
        return Err(unread(&old).unwrap_or(EditError::Unsafe(key.name, file.command())));
    };
    let entry = old.entry(key.name);
    let (at, new) = match entry {
        Some(entry) if entry.value == value => (text.place(0)..text.place(0), String::new()),
        Some(entry) => change(&text, entry, value),
        None => add(file, &text, &old, key, value),
    };
    let mut new_bytes = bytes.to_vec();
    let end = at.end.min(bytes.len());
    new_bytes.splice(at.start.min(end)..end, text.encode(&new));
    let edited = file.parse(&new_bytes);
    let found = edited.entry(key.name).filter(|entry| entry.value == value);
    let Some(found) = found.filter(|_| same(&old, &edited, key)) else {
        let error = unread(&old).filter(|_| file == WslFile::Conf);
        return Err(error.unwrap_or(EditError::Unsafe(key.name, file.command())));
    };
    let all = edited.entries().iter();
    let ignored = all.filter(|one| one.name == found.name && one.at != found.at);
    Ok(Edited {
        line: found.line,
        before: entry.map(|entry| entry.value.clone()),
        ignored: ignored.map(|one| one.line).collect(),
        bytes: new_bytes,
    })
}

fn check(file: WslFile, key: &Key, value: &str) -> Result<(), EditError> {
    if let Some(expected) = key.kind.rejects(value) {
        let value = value.to_owned();
        return Err(EditError::Value {
            key: key.name,
            expected,
            value,
        });
    }
    let wrong = |c: &char| match file {
        WslFile::Config if !c.is_ascii() => Some("WSL reads ASCII characters alone in a value"),
        _ if disturbs(*c) && !ESCAPED.iter().any(|(one, _)| one == c) => {
            Some("a value is one line of visible characters")
        }
        _ => None,
    };
    match value.chars().find_map(|c| Some((c, wrong(&c)?))) {
        Some((c, why)) => Err(EditError::Character(key.name, c, why)),
        None => Ok(()),
    }
}

/// What ends the reading of a file.
fn unread(ini: &Ini) -> Option<EditError> {
    let bad = ini.bad().first()?;
    Some(EditError::Unread {
        line: bad.line,
        problem: bad.problem.to_string(),
    })
}

/// Puts a value in the place of another one.
fn change(text: &Text, entry: &Entry, value: &str) -> (std::ops::Range<usize>, String) {
    let at = entry.at.clone();
    let comment = text
        .text
        .get(at.end..)
        .is_some_and(|rest| rest.starts_with('#'));
    // Before a comment that followed the `=` itself.
    let blank = if comment && !value.is_empty() {
        " "
    } else {
        ""
    };
    (
        text.place(at.start)..text.place(at.end),
        format!("{}{blank}", written(value)),
    )
}

/// Adds a line to the key's section, at its end; or a section to the file.
fn add(
    file: WslFile,
    text: &Text,
    ini: &Ini,
    key: &Key,
    value: &str,
) -> (std::ops::Range<usize>, String) {
    let has_lines = text.text.contains('\n');
    let newline = match (has_lines, file) {
        (true, _) if text.crlf => "\r\n",
        (true, _) | (false, WslFile::Conf) => "\n",
        (false, WslFile::Config) => "\r\n",
    };
    let line = format!("{}={}", key.key(), written(value));
    let all = text.text.as_str();
    let (at, new) = if let Some(last) = ini.end_of_section(key.section()) {
        let rest = all.get(last..).unwrap_or_default();
        // A carriage return ends a line too, but not a comment.
        let comment = rest.trim_start_matches([' ', '\t']).starts_with('#');
        let ends: &[char] = if comment { &['\n'] } else { &['\r', '\n'] };
        let end = last + rest.find(ends).unwrap_or(rest.len());
        // wsl.conf's carriage return is part of the end of its line.
        let carriage = all.get(..end).is_some_and(|line| line.ends_with('\r')) && end < all.len();
        (end - usize::from(carriage), format!("{newline}{line}"))
    } else {
        let section = key.section();
        // Behind a `\` the next line would be part of the last value.
        let continued = ini
            .entries()
            .last()
            .is_some_and(|last| last.at.end == all.len());
        match all.is_empty() || all.ends_with('\n') && !continued {
            true => (all.len(), format!("[{section}]{newline}{line}{newline}")),
            false => (all.len(), format!("{newline}[{section}]{newline}{line}")),
        }
    };
    (text.place(at)..text.place(at), new)
}

/// Whether WSL reads all but this key's entry as before.
fn same(old: &Ini, new: &Ini, key: &Key) -> bool {
    fn others<'a>(ini: &'a Ini, key: &Key) -> Vec<(&'a str, &'a str)> {
        let first = ini.entry(key.name).map(|first| first.at.start);
        let entries = ini.entries().iter();
        let others = entries.filter(|one| Some(one.at.start) != first);
        others
            .map(|one| (one.name.as_str(), one.value.as_str()))
            .collect()
    }
    fn bad(ini: &Ini) -> Vec<(&str, Problem)> {
        let lines = ini.bad().iter();
        lines.map(|bad| (bad.text.as_str(), bad.problem)).collect()
    }
    others(old, key) == others(new, key) && bad(old) == bad(new)
}

/// Characters with an escape of their own.
const ESCAPED: [(char, &str); 5] = [
    ('\\', "\\\\"),
    ('"', "\\\""),
    ('\u{8}', "\\b"),
    ('\n', "\\n"),
    ('\t', "\\t"),
];

/// A value as WSL reads it back: with escapes, and in quotes where a `#` or blanks at
/// an end need them.
fn written(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match ESCAPED.iter().find(|(one, _)| *one == c) {
            Some((_, escape)) => text.push_str(escape),
            None => text.push(c),
        }
    }
    let ends = |c: char| value.starts_with(c) || value.ends_with(c);
    if value.contains('#') || ends(' ') {
        text = format!("\"{text}\"");
    }
    text
}

#[cfg(test)]
mod tests;
