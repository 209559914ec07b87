//! Rewrites `wsl-network.conf` without touching what is not ours.
//!
//! The file has two readers: a POSIX shell (`. wsl-network.conf`) and systemd
//! (`EnvironmentFile=`). [`EnvFile::parse`] accepts a file only if both find
//! the same assignments of our keys in it, and [`EnvFile::set`] replaces the
//! values of those assignments and nothing else.
//!
//! Some differences between the readers cannot be removed by a rewriter and are
//! left to the owner of the file: a shell keeps the carriage return of a CRLF
//! line as a part of the value, and systemd takes a comment behind a value for
//! a part of the value and ignores a line that starts with `export`. What a
//! foreign command around an assignment makes of it (a condition, a subshell,
//! an early `return`) is not judged.

mod cursor;
mod owned;
mod sh;
mod systemd;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{Nameserver, display_as_serialized, from_word};

display_as_serialized!(Key);

/// The file as the package ships it: every [`Key`], without a value.
pub(super) const TEMPLATE: &str = include_str!("../../config/network/wsl-network.conf");

/// A key of the file that wslmesh keeps current; all other keys are foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Key {
    /// The distribution's own address.
    WslIp,
    /// The network that the address belongs to, as address/prefix.
    WslNetwork,
    /// The default gateway, which in NAT is Windows.
    WslGateway,
    /// The MTU of the interface in bytes.
    WslMtu,
    /// The interface that carries the address.
    WslInterface,
    /// WSL's networking mode, such as `nat`.
    WslNetworkingMode,
    /// The first name server.
    PrimaryDns,
    /// The node's address in the Tailscale network.
    MeshIpTailscale,
    /// The node's address in the WireGuard network.
    MeshIpWireguard,
    /// The UDP port that WireGuard listens on.
    MeshPortWireguard,
    /// WireGuard's persistent keepalive in seconds.
    KeepaliveInterval,
    /// An address of the Windows host, as Windows reports it.
    WindowsHostIp,
}

impl Key {
    /// The key with this exact name, if it is one of ours.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        from_word(name).ok()
    }
}

/// A value that no reader of the file can be made to execute: an address, a
/// network, a number or a validated name. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Value(String);

impl Value {
    /// A name such as an interface's or a mode's. None unless it starts with an
    /// ASCII letter or digit and goes on with these and `_ . : @ -`.
    pub(super) fn name(name: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
        let fits = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain);
        fits.then(|| Self(name.to_owned()))
    }

    /// The value without quotes.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        Self(address.to_string())
    }
}

impl From<&Nameserver> for Value {
    /// Without the zone where that is no plain name.
    fn from(server: &Nameserver) -> Self {
        match &server.zone {
            Some(zone) if Self::name(zone.as_str()).is_some() => Self(server.to_string()),
            _ => server.address.into(),
        }
    }
}

impl From<IpNet> for Value {
    fn from(network: IpNet) -> Self {
        Self(network.to_string())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self(number.to_string())
    }
}

/// What the owned keys shall be: `Some` is written, `None` means "not known"
/// and empties the key in its place. A key that is not in the map is left
/// as it is.
pub(super) type Values = BTreeMap<Key, Option<Value>>;

/// Why a file is left alone: it cannot be rewritten without a guess.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub(super) struct ParseError {
    /// The line, counted from 1.
    pub(super) line: usize,
    /// What is wrong with it, and the fix.
    pub(super) problem: Problem,
}

/// What is wrong with a line, and the fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Problem {
    /// The file is binary.
    #[error(
        "a NUL byte, so this is no text file; restore the file, or delete it: the agent creates it again"
    )]
    Nul,
    /// The file is in another encoding or binary.
    #[error("bytes that are not UTF-8; save the file as UTF-8 without a byte order mark")]
    NotUtf8,
    /// A quote, a substitution or an expansion runs to the end of the file.
    #[error("a quote or a substitution is opened here and never closed; close it")]
    Unterminated,
    /// The last line ends in a backslash.
    #[error("the file ends inside a line that a backslash continues; delete the backslash")]
    OpenEnd,
    /// `<<` outside quotes.
    #[error("a here-document, which systemd cannot read; write the value in quotes")]
    HereDocument,
    /// `$'...'`, which only some shells know.
    #[error("a $'...' quote, which shells read differently; use '...' or \"...\"")]
    DollarQuote,
    /// `KEY+=...` for an owned key.
    #[error("{0}+= adds to a value that wslmesh replaces; write {0}=\"\"")]
    Append(Key),
    /// A quote behind an owned key that is not closed on its line.
    #[error("the quote behind {0}= is not closed on this line; close it or write {0}=\"\"")]
    OpenQuote(Key),
    /// An owned value that a shell would compute.
    #[error(
        "the value of {0} has a character that a shell expands ($ ` ~ * ? [ or {{); write {0}=\"\""
    )]
    Expansion(Key),
    /// An owned value made of several quoted or bare parts.
    #[error("the value of {0} is made of several parts; write it as one quoted value, or {0}=\"\"")]
    Concatenated(Key),
    /// An owned value that goes on in the next line.
    #[error("a backslash continues the line of {0}; write the value on one line")]
    Continuation(Key),
    /// Something other than a comment behind an owned value.
    #[error("{0}= is followed by more than a comment; give the rest a line of its own")]
    Trailing(Key),
    /// An unprintable character in an owned value.
    #[error("the value of {0} has a control character; write {0}=\"\"")]
    Control(Key),
    /// An owned key that is assigned in the middle of a line.
    #[error("{0}= is not at the start of its line; give it a line of its own")]
    Inside(Key),
    /// An owned key that only one of the readers finds here.
    #[error(
        "a shell and systemd's EnvironmentFile= read {0} here differently; write {0}=\"\" on a line of its own, without blanks around the = and without a quote or a backslash left open above it"
    )]
    Disagreement(Key),
}

impl Problem {
    fn at(self, at: usize) -> Fault {
        Fault { at, problem: self }
    }
}

/// A problem at a byte offset, before it is turned into a line number.
#[derive(Debug)]
struct Fault {
    at: usize,
    problem: Problem,
}

/// One assignment of an owned key.
#[derive(Debug)]
struct Assignment {
    key: Key,
    /// The value without quotes and escapes.
    value: String,
    /// What the value is in: `'`, `"` or nothing.
    quote: &'static str,
    /// Where the line begins, behind its indentation.
    start: usize,
    /// The value's place in the text, quotes included.
    span: Range<usize>,
}

/// A parsed file, ready to be read or rewritten.
#[derive(Debug)]
pub(super) struct EnvFile<'a> {
    text: &'a str,
    assignments: Vec<Assignment>,
}

impl<'a> EnvFile<'a> {
    /// Reads a file's content; an empty one is fine.
    ///
    /// # Errors
    /// [`ParseError`] when the content is no text, or when an owned key cannot
    /// be replaced without a guess. The file must then be left alone.
    pub(super) fn parse(content: &'a [u8]) -> Result<Self, ParseError> {
        Self::read(content).map_err(|Fault { at, problem }| {
            let newlines = content.iter().take(at).filter(|byte| **byte == b'\n');
            let line = 1 + newlines.count();
            ParseError { line, problem }
        })
    }

    fn read(content: &'a [u8]) -> Result<Self, Fault> {
        if let Some(at) = content.iter().position(|byte| *byte == 0) {
            return Err(Problem::Nul.at(at));
        }
        let text =
            std::str::from_utf8(content).map_err(|e| Problem::NotUtf8.at(e.valid_up_to()))?;
        let assignments = assignments(text)?;
        systemd::check(text, &assignments)?;
        Ok(Self { text, assignments })
    }

    /// Whether it has content and none of our keys: it may be another program's.
    pub(super) fn is_foreign(&self) -> bool {
        self.assignments.is_empty() && !self.text.trim().is_empty()
    }

    /// The value that a reader ends up with (the last assignment wins), without
    /// quotes: `Some("")` for a key without a value, `None` for a missing key.
    pub(super) fn get(&self, key: Key) -> Option<&str> {
        self.assignments
            .iter()
            .rev()
            .find(|found| found.key == key)
            .map(|found| found.value.as_str())
    }

    /// The file's content with these values.
    ///
    /// Every assignment of a key is rewritten, duplicates too, so that a reader
    /// that stops at the first one is right as well. A key with a value and
    /// without a line is appended as `KEY="value"`; all other bytes stay.
    /// Values that are there already give identical bytes.
    pub(super) fn set(&self, values: &Values) -> Vec<u8> {
        let mut out = self.text.to_owned();
        // The last one first: the places of those in front of it stay.
        for found in self.assignments.iter().rev() {
            let Some(wanted) = values.get(&found.key) else {
                continue;
            };
            let wanted = wanted.as_ref().map_or("", Value::as_str);
            if found.value != wanted {
                let quoted = [found.quote, wanted, found.quote].concat();
                out.replace_range(found.span.clone(), &quoted);
            }
        }
        let newlines = self.text.matches('\n').count();
        let with_return = self.text.matches("\r\n").count() * 2 > newlines;
        let newline = if with_return { "\r\n" } else { "\n" };
        for (key, value) in values {
            let Some(Value(value)) = value.as_ref().filter(|_| self.get(*key).is_none()) else {
                continue;
            };
            let line = format!("{key}=\"{value}\"");
            if self.text.is_empty() || self.text.ends_with('\n') {
                out.extend([&line, newline]);
            } else {
                out.extend([newline, &line]);
            }
        }
        out.into_bytes()
    }
}

/// Blanks as a shell knows them.
const BLANKS: [char; 2] = [' ', '\t'];

/// What follows `export`, or the whole line without one.
fn exported(line: &str) -> &str {
    let behind = line.strip_prefix("export");
    let behind = behind.filter(|behind| behind.starts_with(BLANKS));
    behind.map_or(line, |behind| behind.trim_start_matches(BLANKS))
}

/// All assignments of owned keys, as a shell finds them.
fn assignments(text: &str) -> Result<Vec<Assignment>, Fault> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line = text.get(at..).unwrap_or_default();
        at = if line.trim_start_matches(BLANKS).starts_with(';') {
            at + line.find('\n').map_or(line.len(), |end| end + 1)
        } else if let Some((assignment, end)) = owned::line(text, at)? {
            found.push(assignment);
            end
        } else {
            sh::skip_line(text, at)?
        };
    }
    Ok(found)
}
