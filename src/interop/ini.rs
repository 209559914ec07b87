//! `wsl.conf` and `.wslconfig` as WSL reads them (microsoft/WSL:
//! src/shared/configfile): sections and keys without regard to case, `#` begins
//! a comment, the first of several equal keys wins, unknown ones are skipped.

use std::{collections::BTreeSet, fmt};

/// Most bytes of such a file that are read.
pub(crate) const MOST: usize = 256 << 10;

/// A file in this form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ini {
    /// All entries, in the order of the file.
    pub(crate) entries: Vec<Entry>,
    /// Lines that are neither a section nor `key=value`; WSL ignores them.
    pub(crate) invalid: Vec<usize>,
}

/// One `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The section, in lower case; empty before the first.
    pub(crate) section: String,
    /// The key, in lower case.
    pub(crate) key: String,
    /// The value without quotes and comment.
    pub(crate) value: String,
    /// The line, from 1.
    pub(crate) line: usize,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {} (line {})", self.section, self.key, self.line)
    }
}

impl Ini {
    /// Parses a text; nothing in it is an error.
    pub(crate) fn parse(text: &str) -> Self {
        let mut ini = Self::default();
        let mut section = String::new();
        for (place, line) in text.lines().enumerate() {
            let number = place + 1;
            let line = before_comment(line).trim();
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').trim().to_lowercase();
                if !line.ends_with(']') {
                    ini.invalid.push(number);
                }
            } else if let Some((key, value)) = line.split_once('=') {
                ini.entries.push(Entry {
                    section: section.clone(),
                    key: key.trim().to_lowercase(),
                    value: value.trim().trim_matches('"').to_owned(),
                    line: number,
                });
            } else {
                ini.invalid.push(number);
            }
        }
        ini
    }

    /// Reads bytes: UTF-8 or UTF-16 with a byte order mark, as editors of Windows
    /// write them.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let wide = |from: fn([u8; 2]) -> u16, rest: &[u8]| {
            let units: Vec<u16> = rest
                .chunks_exact(2)
                .filter_map(|pair| pair.try_into().ok().map(from))
                .collect();
            String::from_utf16_lossy(&units)
        };
        let text = match bytes {
            [0xff, 0xfe, rest @ ..] => wide(u16::from_le_bytes, rest),
            [0xfe, 0xff, rest @ ..] => wide(u16::from_be_bytes, rest),
            [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        Self::parse(&text)
    }

    /// The value in force: the first of several.
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&str> {
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        self.entries
            .iter()
            .find(|entry| entry.section == section && entry.key == key)
            .map(|entry| entry.value.as_str())
    }

    /// Entries that repeat an earlier one, which counts.
    pub(crate) fn repeated(&self) -> Vec<&Entry> {
        let mut known = BTreeSet::new();
        let entries = self.entries.iter();
        let repeated = entries.filter(|entry| !known.insert((&entry.section, &entry.key)));
        repeated.collect()
    }
}

/// WSL's way to write a boolean; `None` for anything else.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A `#` within quotes begins no comment.
fn before_comment(line: &str) -> &str {
    let mut quoted = false;
    let comment = line.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    comment.map_or(line, |at| line.split_at(at).0)
}

#[cfg(test)]
mod tests;
