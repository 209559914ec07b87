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
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use thiserror::Error;

/// The file as the package ships it: every key of [`Key::ALL`], without a value.
pub(super) const TEMPLATE: &str = include_str!("../../config/network/wsl-network.conf");

/// A key of the file that wslmesh keeps current; all other keys are foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Every key, in the order of the template.
    pub(super) const ALL: [Self; 12] = [
        Self::WslIp,
        Self::WslNetwork,
        Self::WslGateway,
        Self::WslMtu,
        Self::WslInterface,
        Self::WslNetworkingMode,
        Self::PrimaryDns,
        Self::MeshIpTailscale,
        Self::MeshIpWireguard,
        Self::MeshPortWireguard,
        Self::KeepaliveInterval,
        Self::WindowsHostIp,
    ];

    /// The key as it is written in the file.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::WslIp => "WSL_IP",
            Self::WslNetwork => "WSL_NETWORK",
            Self::WslGateway => "WSL_GATEWAY",
            Self::WslMtu => "WSL_MTU",
            Self::WslInterface => "WSL_INTERFACE",
            Self::WslNetworkingMode => "WSL_NETWORKING_MODE",
            Self::PrimaryDns => "PRIMARY_DNS",
            Self::MeshIpTailscale => "MESH_IP_TAILSCALE",
            Self::MeshIpWireguard => "MESH_IP_WIREGUARD",
            Self::MeshPortWireguard => "MESH_PORT_WIREGUARD",
            Self::KeepaliveInterval => "KEEPALIVE_INTERVAL",
            Self::WindowsHostIp => "WINDOWS_HOST_IP",
        }
    }

    /// The key with this exact name, if it is one of ours.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest_is_plain = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.:@-".contains(c));
        (starts_well && rest_is_plain).then(|| Self(name.to_owned()))
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

impl From<IpNet> for Value {
    fn from(network: IpNet) -> Self {
        Self(network.to_string())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self(number.to_string())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self(number.to_string())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

/// A problem at a byte offset, before it is turned into a line number.
#[derive(Debug)]
struct Fault {
    at: usize,
    problem: Problem,
}

impl Fault {
    fn in_text(self, text: &str) -> ParseError {
        let before = text.as_bytes().iter().take(self.at);
        ParseError {
            line: line_number(before),
            problem: self.problem,
        }
    }
}

fn line_number<'a>(before: impl Iterator<Item = &'a u8>) -> usize {
    1 + before.filter(|byte| **byte == b'\n').count()
}

/// How an owned value is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Single,
    Double,
    Bare,
}

impl Style {
    fn quote(self) -> &'static str {
        match self {
            Self::Single => "'",
            Self::Double => "\"",
            Self::Bare => "",
        }
    }
}

/// One assignment of an owned key.
#[derive(Debug)]
struct Assignment {
    key: Key,
    /// The value without quotes and escapes.
    value: String,
    style: Style,
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
        if let Some(at) = content.iter().position(|byte| *byte == 0) {
            return Err(ParseError {
                line: line_number(content.iter().take(at)),
                problem: Problem::Nul,
            });
        }
        let text = std::str::from_utf8(content).map_err(|e| ParseError {
            line: line_number(content.iter().take(e.valid_up_to())),
            problem: Problem::NotUtf8,
        })?;
        let assignments = assignments(text).map_err(|fault| fault.in_text(text))?;
        systemd::check(text, &assignments).map_err(|fault| fault.in_text(text))?;
        Ok(Self { text, assignments })
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
        let mut out = String::with_capacity(self.text.len());
        let mut copied = 0;
        for found in &self.assignments {
            let Some(wanted) = values.get(&found.key) else {
                continue;
            };
            let wanted = wanted.as_ref().map_or("", Value::as_str);
            if found.value == wanted {
                continue;
            }
            let quote = found.style.quote();
            out.push_str(self.text.get(copied..found.span.start).unwrap_or_default());
            out.extend([quote, wanted, quote]);
            copied = found.span.end;
        }
        out.push_str(self.text.get(copied..).unwrap_or_default());

        let missing = values.iter().filter(|(key, _)| self.get(**key).is_none());
        for (key, value) in missing.filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            self.append(&mut out, &format!("{key}=\"{value}\""));
        }
        out.into_bytes()
    }

    /// Adds a line in the file's own manner of ending lines.
    fn append(&self, out: &mut String, line: &str) {
        let newlines = self.text.matches('\n').count();
        let with_return = self.text.matches("\r\n").count();
        let newline = if with_return * 2 > newlines {
            "\r\n"
        } else {
            "\n"
        };
        if self.text.is_empty() || self.text.ends_with('\n') {
            out.extend([line, newline]);
        } else {
            out.extend([newline, line]);
        }
    }
}

/// All assignments of owned keys, as a shell finds them.
fn assignments(text: &str) -> Result<Vec<Assignment>, Fault> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line = text.get(at..).unwrap_or_default();
        at = if line.trim_start_matches([' ', '\t']).starts_with(';') {
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
