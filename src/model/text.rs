//! Text for journals and errors.

use std::{fmt, ops::Deref, time::Duration};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, value},
};

/// Most characters of free text that [`plain`] lets through.
const PLAIN_MAX: usize = 300;

/// Most characters of a rejected answer that an error quotes.
const EXCERPT_MAX: usize = 120;

/// `Display` of types as serde writes them: a name or a text.
macro_rules! display_as_serialized {
    ($($type:ty),+) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                serde::Serialize::serialize(self, f)
            }
        }
    )+};
}
pub(crate) use display_as_serialized;

/// What serde reads a word as, such as a name in the configuration.
///
/// # Errors
/// What is expected instead, in serde's words.
pub fn from_word<T: DeserializeOwned>(word: &str) -> Result<T, value::Error> {
    T::deserialize(value::StrDeserializer::new(word))
}

/// Whether a character could disturb the line it is printed in: control characters,
/// line separators and the marks that turn the direction of writing around.
#[must_use]
pub fn disturbs(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The beginning of a rejected text, with what disturbs a line written as `\u{..}`.
#[must_use]
pub fn excerpt(text: &str) -> String {
    escaped(text.trim().chars().take(EXCERPT_MAX), &[])
}

/// A text made fit for a terminal, which obeys control characters: what disturbs is
/// written as `\u{..}`. Line breaks and tabs stay.
#[must_use]
pub fn visible(text: &str) -> String {
    escaped(text.chars(), &['\n', '\t'])
}

fn escaped(text: impl Iterator<Item = char>, kept: &[char]) -> String {
    let mut shown = String::new();
    for character in text {
        if disturbs(character) && !kept.contains(&character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Foreign text made fit for one journal line: what disturbs a line becomes a space,
/// and at most 300 characters remain (the last is an ellipsis where more was there).
#[must_use]
pub fn plain(text: &str) -> String {
    plain_within(text, PLAIN_MAX)
}

/// The same with another limit, for what is no line of a journal.
#[must_use]
pub fn plain_within(text: &str, most: usize) -> String {
    let mut characters = text
        .trim()
        .chars()
        .map(|c| if disturbs(c) { ' ' } else { c });
    let mut line: String = characters.by_ref().take(most).collect();
    if characters.next().is_some() {
        line.pop();
        line.push('\u{2026}');
    }
    line
}

/// A GUID as Windows writes it, in braces or without: in lower case, without them.
#[must_use]
pub fn guid(text: &str) -> Option<String> {
    let bare = text.trim_start_matches('{').trim_end_matches('}');
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
    let groups = bare.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    (groups && bare.chars().all(is_part)).then(|| bare.to_ascii_lowercase())
}

/// `1 key`, `3 keys`.
#[must_use]
pub fn counted(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// A span of time in one unit, rounded down.
#[must_use]
pub fn span(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        172_800..63_072_000 => format!("{} days", seconds / DAY),
        _ => format!("{} years", seconds / (365 * DAY)),
    }
}

/// The first few of a list, and the number of the others.
#[must_use]
pub fn some_of(mut all: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let mut shown: Vec<String> = all.by_ref().take(SHOWN).collect();
    let more = all.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() {
        "(none)".to_owned()
    } else {
        shown.join(", ")
    }
}

/// The text of what there is, else nothing.
#[must_use]
pub fn or_empty(value: Option<impl fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A duration in microseconds, as the journal's fields have it.
#[must_use]
pub fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Foreign text as [`plain_within`] leaves it, 300 characters by default: what a
/// script of ours printed on Windows, made fit on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct PlainText<const MOST: usize = PLAIN_MAX>(String);

impl<T: AsRef<str>, const MOST: usize> From<T> for PlainText<MOST> {
    fn from(text: T) -> Self {
        Self(plain_within(text.as_ref(), MOST))
    }
}

impl<const MOST: usize> Deref for PlainText<MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> fmt::Display for PlainText<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
