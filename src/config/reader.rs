//! Reads a file of TOML key by key, so that one look finds everything that is wrong.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error, ValueDeserializer},
};

/// How a key's value is read.
pub(super) type Read<T> = fn(ValueDeserializer<'_>) -> Result<T, Error>;

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The file or folder.
    pub(super) file: PathBuf,
    /// Place, key, and the fix: what follows the file's name and a colon.
    pub(super) text: String,
    /// Whether the system could not read it, which may pass without a change to it.
    pub(super) passing: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.text)
    }
}

/// One file. Each key that is known is taken out once; what is left is unknown.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    tables: DeTable<'a>,
    /// The table whose keys are taken now; empty is the file's top.
    table: &'static str,
    keys: DeTable<'a>,
    known: BTreeMap<&'static str, Vec<&'static str>>,
    /// Table, key and offset.
    unknown: Vec<(&'static str, String, usize)>,
    /// Offset and text.
    wrong: Vec<(usize, String)>,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// What is no TOML; nothing else is looked at then.
    pub(super) fn new(file: &'a Path, text: &'a str) -> Result<Self, Vec<Problem>> {
        let (tables, errors) = DeTable::parse_recoverable(text);
        let mut reader = Self {
            file,
            text,
            tables: tables.into_inner(),
            table: "",
            keys: DeTable::new(),
            known: BTreeMap::new(),
            unknown: Vec::new(),
            wrong: Vec::new(),
        };
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            reader.wrong.push((offset, message(error)));
        }
        if errors.is_empty() {
            Ok(reader)
        } else {
            Err(reader.problems())
        }
    }

    /// Line and column of an offset, from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// File and line of an offset.
    pub(super) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.file.display(), self.position(offset).0)
    }

    /// Begins the table of this name.
    pub(super) fn table(&mut self, name: &'static str) {
        self.close();
        self.table = name;
        if let Some(value) = self.top(name) {
            self.open(name, value);
        }
    }

    /// Reads each block of `[[name]]`, with its offset. The known keys are those that
    /// `read` takes from an empty block, so it must not return before it took the last.
    pub(super) fn blocks<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Self, usize) -> Option<T>,
    ) -> Vec<T> {
        self.close();
        self.table = name;
        let wrong = self.wrong.len();
        read(self, 0);
        // An empty block lacks what must be there.
        self.wrong.truncate(wrong);
        let value = self.top(name);
        let blocks = match value.map(|value| (value.span().start, value.into_inner())) {
            None => return Vec::new(),
            Some((_, DeValue::Array(blocks))) => blocks,
            Some((offset, _)) => {
                let text = format!("{name}: is not a list: write [[{name}]]");
                self.wrong.push((offset, text));
                return Vec::new();
            }
        };
        let read = |block: Spanned<DeValue<'a>>| {
            let start = block.span().start;
            self.close();
            self.open(name, block);
            read(self, start)
        };
        blocks.into_iter().filter_map(read).collect()
    }

    fn top(&mut self, name: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.known.entry("").or_default().push(name);
        self.tables.remove(name)
    }

    fn open(&mut self, name: &str, value: Spanned<DeValue<'a>>) {
        let offset = value.span().start;
        match value.into_inner() {
            DeValue::Table(keys) => self.keys = keys,
            _ => {
                let text = format!("{name}: is not a table: write [{name}]");
                self.wrong.push((offset, text));
            }
        }
    }

    /// The keys that were not taken are unknown.
    fn close(&mut self) {
        for (key, _) in std::mem::take(&mut self.keys) {
            let offset = key.span().start;
            let key = key.into_inner().into_owned();
            self.unknown.push((self.table, key, offset));
        }
    }

    /// Takes a key of the current table; `None` where it is missing or wrong.
    pub(super) fn take<T>(&mut self, key: &'static str, read: Read<T>) -> Option<T> {
        let value = self.value(key)?;
        self.read(key, value, read)
    }

    /// The same for a key that must be there.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        block: usize,
        read: Read<T>,
    ) -> Option<T> {
        if !self.keys.contains_key(key) {
            let text = format!("{}: missing field `{key}`", self.table);
            self.wrong.push((block, text));
        }
        self.take(key, read)
    }

    /// Takes a list and gives each value that is right, with its offset.
    pub(super) fn list<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Option<Vec<(usize, T)>> {
        let value = self.value(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            self.read::<Vec<T>>(key, value, |value| Vec::deserialize(value));
            return None;
        };
        let read = |value: Spanned<DeValue<'a>>| {
            let offset = value.span().start;
            Some((
                offset,
                self.read::<T>(key, value, |value| T::deserialize(value))?,
            ))
        };
        Some(values.clone().into_iter().filter_map(read).collect())
    }

    /// Takes all keys of the current table that are left.
    pub(super) fn rest(&mut self) -> Vec<(Spanned<String>, Spanned<DeValue<'a>>)> {
        let keys = std::mem::take(&mut self.keys).into_iter();
        keys.map(|(key, value)| {
            let span = key.span();
            (Spanned::new(span, key.into_inner().into_owned()), value)
        })
        .collect()
    }

    /// Takes a key's value as it is written.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        let known = self.known.entry(self.table).or_default();
        if !known.contains(&key) {
            known.push(key);
        }
        self.keys.remove(key)
    }

    /// Reads a value of the current table.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        value: Spanned<DeValue<'a>>,
        read: Read<T>,
    ) -> Option<T> {
        let offset = value.span().start;
        match read(value.into()) {
            Ok(value) => Some(value),
            Err(error) => {
                let offset = error.span().map_or(offset, |span| span.start);
                self.refuse(offset, key, &message(&error));
                None
            }
        }
    }

    /// Notes what is wrong with a key of the current table.
    pub(super) fn refuse(&mut self, offset: usize, key: &str, why: &str) {
        let text = format!("{}.{key}: {why}", self.table);
        self.wrong.push((offset, text));
    }

    /// Everything that is wrong, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.close();
        (self.table, self.keys) = ("", std::mem::take(&mut self.tables));
        self.close();
        for (table, key, offset) in std::mem::take(&mut self.unknown) {
            self.wrong.push((offset, unknown(&self.known, table, &key)));
        }
        self.problems()
    }

    fn problems(mut self) -> Vec<Problem> {
        self.wrong.sort();
        let problem = |(offset, text): &(usize, String)| {
            let (line, column) = self.position(*offset);
            Problem {
                file: self.file.to_owned(),
                text: format!("{line}:{column}: {text}"),
                passing: false,
            }
        };
        self.wrong.iter().map(problem).collect()
    }
}

fn message(error: &Error) -> String {
    error.message().trim_end().replace('\n', " ")
}

/// Says that a key is unknown and names the nearest known one.
fn unknown(known: &BTreeMap<&str, Vec<&str>>, table: &str, written: &str) -> String {
    let here = known.get(table).map_or(&[][..], Vec::as_slice);
    let place = |table: &str| match table {
        "" => "at the top of the file".to_owned(),
        table => format!("in [{table}]"),
    };
    let elsewhere = known.iter().filter(|(_, keys)| keys.contains(&written));
    let elsewhere: Vec<String> = elsewhere.map(|(other, _)| place(other)).collect();
    let hint = if !elsewhere.is_empty() {
        format!("it belongs {}", elsewhere.join(" or "))
    } else if let Some(key) = nearest(here, written) {
        format!("did you mean `{key}`?")
    } else {
        format!("known are {}", here.join(", "))
    };
    format!("unknown key `{written}` {}: {hint}", place(table))
}

/// The known key that was probably meant.
pub fn nearest<'a>(known: &[&'a str], written: &str) -> Option<&'a str> {
    // Comparing takes long where one is huge; a known key is plain ASCII.
    let length = written.chars().count();
    known
        .iter()
        .filter(|key| key.len().abs_diff(length) <= key.len().div_ceil(2))
        .map(|key| (strsim::damerau_levenshtein(key, written), *key))
        .min()
        .filter(|(distance, key)| *distance <= key.len().div_ceil(2))
        .map(|(_, key)| key)
}
