//! `wsl.conf` and `.wslconfig` as WSL reads them (microsoft/WSL:
//! src/shared/configfile/configfile.cpp): sections and keys of ASCII letters and
//! digits without regard to case, values in whole or in part in quotes, `\` before
//! `\`, `"`, `b`, `n`, `t` or the end of a line, `#` before a comment, the first of
//! several equal keys in force.
//!
//! At a line that is none of this, WSL stops reading `wsl.conf` and goes on behind
//! it in `.wslconfig`.

use std::{fmt, ops::Range};

use super::encoding::Text;
use crate::model::Mode;

/// Most bytes of such a file that are read.
pub(crate) const MOST: usize = 256 << 10;

/// Keys of [wsl2] that were in [experimental] before, where WSL still finds them
/// (microsoft/WSL: src/windows/common/WslCoreConfig.cpp).
const MOVED: &[&str] = &["networkingmode", "dnstunneling", "firewall", "autoproxy"];

/// A file in this form, up to where WSL stops reading it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ini {
    entries: Vec<Entry>,
    sections: Vec<(String, usize)>,
    bad: Vec<BadLine>,
    crlf: bool,
}

/// One `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Section and key in lower case, as `boot.systemd`; keys that moved from
    /// [experimental] to [wsl2] have their name there.
    pub(crate) name: String,
    /// Section and key as they are written.
    written: (String, String),
    /// The value without quotes, escapes and comment.
    pub(crate) value: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Where the value is in the text, as it is written: from behind the `=` and blanks
    /// to the last character that is no blank.
    pub(crate) at: Range<usize>,
}

impl Entry {
    /// The section as it counts, in lower case.
    pub(crate) fn section(&self) -> String {
        self.written.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (section, key) = &self.written;
        write!(f, "[{section}] {key} (line {})", self.line)
    }
}

/// A line that WSL cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The line, from 1.
    pub(crate) line: usize,
    /// Its text.
    pub(crate) text: String,
    /// What is wrong with it.
    pub(crate) problem: Problem,
}

/// What is wrong with a line, and the fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// The file begins with U+FEFF.
    #[error("the file begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark,
    /// The whole file is in UTF-16: wsl.conf, or .wslconfig in big endian.
    #[error("the file is in a UTF-16 that WSL does not read; save it as UTF-8")]
    Encoding,
    /// A line begins with something else than a letter, `[` or `#`.
    #[error("it begins with none of a letter, [ and #; a comment begins with #")]
    Start,
    /// A section's name is no name, or no `]` follows it.
    #[error("a section is written [name], with letters and digits alone and without blanks")]
    Section,
    /// Something other than a comment follows a section.
    #[error("something follows the ]; give it a line of its own")]
    BehindSection,
    /// No `=` follows a key.
    #[error("a key is made of letters and digits alone, and = follows it")]
    Key,
    /// A quote is open at the end of the line.
    #[error("a quote is not closed on its line; close it, or write \\\" for the character itself")]
    Quote,
    /// A `\` before something else than the characters that it may precede.
    #[error("a \\ precedes none of \\ \" b n t; write \\\\ for the character itself")]
    Escape,
}

impl Ini {
    /// Reads /etc/wsl.conf, up to the first bad line.
    pub(crate) fn wsl_conf(bytes: &[u8]) -> Self {
        let text = Text::conf(bytes);
        Self {
            crlf: text.crlf,
            ..Self::parse(&text.text, false)
        }
    }

    /// Reads .wslconfig, without its bad lines.
    pub(crate) fn wslconfig(bytes: &[u8]) -> Self {
        match Text::config(bytes) {
            Some(text) => Self::parse(&text.text, true),
            None => Self {
                bad: vec![BadLine {
                    line: 1,
                    text: String::new(),
                    problem: Problem::Encoding,
                }],
                ..Self::default()
            },
        }
    }

    fn parse(text: &str, skip_bad: bool) -> Self {
        let mut ini = Self::default();
        let mut section = String::new();
        // How many characters of what is read as a section WSL takes for its name.
        let mut length = 0;
        let mut reader = Reader { text, at: 0 };
        while reader.at < text.len() {
            let start = reader.at;
            let line = 1 + text.get(..start).unwrap_or_default().matches('\n').count();
            match reader.line() {
                Ok(Line::Empty) => {}
                Ok(Line::Section(name)) => {
                    name.clone_into(&mut section);
                    length = name.len();
                    ini.sections.push((name.to_ascii_lowercase(), reader.at));
                }
                Ok(Line::Key(key, value, at)) => ini.entries.push(Entry {
                    name: full_name(&section, key),
                    written: (section.clone(), key.to_owned()),
                    value,
                    line,
                    at,
                }),
                Err(problem) => {
                    reader.rest_of_line();
                    let whole = text.get(start..reader.at).unwrap_or_default();
                    ini.bad.push(BadLine {
                        line,
                        text: whole.trim().to_owned(),
                        problem,
                    });
                    if !skip_bad {
                        break;
                    }
                    // WSL reads the name over the old one and keeps the old length, so
                    // that the next keys are in a section that it hardly knows: "?".
                    let mut broken = Reader { text: whole, at: 0 };
                    broken.blanks();
                    if broken.eat('[')
                        && let Some(name) = broken.name()
                    {
                        let kept = name.get(..length).unwrap_or("?");
                        kept.clone_into(&mut section);
                    }
                }
            }
        }
        ini
    }

    /// The value in force of a name such as `boot.systemd`: the first of several.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.entry(name).map(|entry| entry.value.as_str())
    }

    /// The networking mode of .wslconfig; `None` where it names none, or a word that WSL
    /// rejects, so that its default applies.
    pub(crate) fn networking_mode(&self) -> Option<Mode> {
        Mode::parse(&self.get("wsl2.networkingMode")?.to_ascii_lowercase())
    }

    /// The entry in force.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        let name = name.to_ascii_lowercase();
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// All entries, in the order of the file.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where in the text something of a section is last: the end of a value or of the
    /// section's name.
    pub(crate) fn end_of_section(&self, section: &str) -> Option<usize> {
        let headings = self.sections.iter().filter(|(name, _)| name == section);
        let entries = self.entries.iter().filter(|one| one.section() == section);
        let ends = headings.map(|(_, at)| *at);
        ends.chain(entries.map(|entry| entry.at.end)).max()
    }

    /// Whether a line of wsl.conf ends as on Windows.
    pub(crate) fn has_crlf(&self) -> bool {
        self.crlf
    }

    /// Lines that WSL cannot read.
    pub(crate) fn bad(&self) -> &[BadLine] {
        &self.bad
    }
}

/// The name by which an entry is found.
fn full_name(section: &str, key: &str) -> String {
    current_name(&format!("{section}.{key}").to_ascii_lowercase())
}

/// The present name of a key, of which `name` in lower case may be the old one.
pub(crate) fn current_name(name: &str) -> String {
    let moved = name.strip_prefix("experimental.");
    match moved.filter(|key| MOVED.contains(key)) {
        Some(key) => format!("wsl2.{key}"),
        None => name.to_owned(),
    }
}

/// One line as it is meant.
enum Line<'a> {
    Empty,
    Section(&'a str),
    /// With its value, and where that is written.
    Key(&'a str, String, Range<usize>),
}

/// Reads character by character, as WSL does.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.take_while(is_blank);
    }

    /// Up to the newline, which alone ends a comment and a bad line.
    fn rest_of_line(&mut self) {
        self.take_while(|c| c != '\n');
    }

    /// A letter, then letters and digits.
    fn name(&mut self) -> Option<&'a str> {
        let first = self.peek().filter(char::is_ascii_alphabetic);
        first.map(|_| self.take_while(|c| c.is_ascii_alphanumeric()))
    }

    fn line(&mut self) -> Result<Line<'a>, Problem> {
        if self.at == 0 && self.peek() == Some('\u{feff}') {
            return Err(Problem::ByteOrderMark);
        }
        // A byte order mark of UTF-16 is no UTF-8, and every second byte is 0.
        if self.at == 0 && self.text.starts_with("\u{fffd}\u{fffd}") && self.text.contains('\0') {
            return Err(Problem::Encoding);
        }
        self.blanks();
        match self.peek() {
            None => Ok(Line::Empty),
            Some('\r' | '\n') => {
                self.bump();
                Ok(Line::Empty)
            }
            Some('#') => {
                self.rest_of_line();
                Ok(Line::Empty)
            }
            Some('[') => {
                self.bump();
                let name = self.name().ok_or(Problem::Section)?;
                if !self.eat(']') {
                    return Err(Problem::Section);
                }
                self.blanks();
                match self.peek() {
                    None | Some('\r' | '\n' | '#') => Ok(Line::Section(name)),
                    Some(_) => Err(Problem::BehindSection),
                }
            }
            Some(_) => {
                let key = self.name().ok_or(Problem::Start)?;
                self.blanks();
                if !self.eat('=') {
                    return Err(Problem::Key);
                }
                self.blanks();
                let (value, at) = self.value()?;
                Ok(Line::Key(key, value, at))
            }
        }
    }

    fn value(&mut self) -> Result<(String, Range<usize>), Problem> {
        let mut value = String::new();
        // The length without blanks at the end, which count within quotes.
        let mut length = 0;
        let mut at = self.at..self.at;
        let mut quoted = false;
        while let Some(c) = self.peek() {
            match c {
                '\r' | '\n' => break,
                '#' if !quoted => break,
                _ => self.bump(),
            };
            match c {
                '"' => quoted = !quoted,
                '\\' => match self.bump() {
                    Some(c @ ('\\' | '"')) => value.push(c),
                    Some('b') => value.push('\u{8}'),
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    // Before CRLF the value ends, before LF the next line continues it.
                    Some('\r' | '\n') => {}
                    _ => return Err(Problem::Escape),
                },
                c => value.push(c),
            }
            if !is_blank(c) {
                length = value.len();
                at.end = self.at;
            }
        }
        if quoted {
            return Err(Problem::Quote);
        }
        value.truncate(length);
        Ok((value, at))
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// WSL's way to write a boolean; `None` for anything else, which WSL rejects.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// WSL's way to write a size in bytes: digits, and B, KB, MB, GB, TB or their first
/// letter right behind them (microsoft/WSL: src/shared/inc/stringshared.h,
/// ParseMemorySize); `None` for anything else, which WSL rejects.
pub(crate) fn size(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match value.get(digits.len()..)? {
        "" | "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        "T" | "TB" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// WSL's way to write a number: as C's strtol with base 0, so that `0x10` and `010`
/// are numbers, too.
pub(crate) fn integer(value: &str) -> Option<i32> {
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, value.strip_prefix('+').unwrap_or(value)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i32::try_from(sign * i64::from_str_radix(digits, radix).ok()?).ok()
}

#[cfg(test)]
mod tests;
