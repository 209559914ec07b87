//! The other tool's file: every key that it reads, every value checked.
//!
//! It reads its file with Go's encoding/json, which finds a key whatever its case and
//! ignores the others (<https://pkg.go.dev/encoding/json#Unmarshal>).

use std::{collections::BTreeSet, net::Ipv4Addr, num::NonZeroU16, ops::Range};

use serde::{Deserialize, Deserializer, de};

use super::super::values::{self, Forward, Remarks, bounded, port};
use crate::model::{Firewall, Protocol};

/// One file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Foreign {
    /// How often that tool looks. We look when something happens.
    #[serde(default, rename = "check_interval_seconds")]
    _interval: de::IgnoredAny,
    pub(super) instances: Vec<Instance>,
    /// Keys that the tool ignores, with their lines.
    #[serde(skip)]
    pub(super) ignored: Vec<(usize, String)>,
}

/// A distribution.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Instance {
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "comment")]
    pub(super) comment: Option<String>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
}

/// A forward, TCP, from all addresses of Windows.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Port {
    /// Windows' port.
    #[serde(rename = "port", deserialize_with = "port")]
    pub(super) listen: NonZeroU16,
    /// The port in the distribution; the same where there is none.
    #[serde(default, rename = "internal_port")]
    connect: Option<PortOrZero>,
    /// Whom the tool lets in; it makes no firewall rule where there is none.
    #[serde(default)]
    firewall: Option<Scope>,
    #[serde(default, deserialize_with = "comment")]
    pub(super) comment: Option<String>,
}

/// 0 is none to that tool.
#[derive(Debug, Clone, Copy, Deserialize)]
struct PortOrZero(#[serde(deserialize_with = "port_or_zero")] u16);

/// An empty word is none to that tool.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Scope {
    #[serde(rename = "")]
    None,
    Local,
    Full,
}

impl Port {
    /// The same as a forward here, without a name yet; `instance_comment` is for the first
    /// one of its instance.
    pub(super) fn forward(&self, instance: &Instance, is_first: bool) -> Forward {
        let connect = self.connect.and_then(|port| NonZeroU16::new(port.0));
        Forward {
            name: String::new(),
            protocol: Protocol::Tcp,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            listen_port: self.listen.into(),
            connect_address: None,
            connect_port: connect.unwrap_or(self.listen).into(),
            // Never more than the file has: our own default would let the LAN in.
            backend: None,
            proxy_protocol: None,
            remarks: Remarks {
                comment: self.comment.clone(),
                instance: Some(instance.name.clone()),
                instance_comment: instance.comment.clone().filter(|_| is_first),
                discovered: None,
            },
            firewall: match self.firewall {
                None | Some(Scope::None) => Firewall::None,
                Some(Scope::Local) => Firewall::Local,
                Some(Scope::Full) => Firewall::Full,
            },
        }
    }
}

fn port_or_zero<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    bounded(from, 0..=65535, "port")
}

/// `null` is none to that tool.
fn comment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| values::checked_comment(text).map_err(de::Error::custom))
        .transpose()
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if name.trim().is_empty() {
        let text = format!("{name:?} is no name: write a distribution's name");
        Err(de::Error::custom(text))
    } else {
        Ok(name)
    }
}

/// Reads a file's text.
///
/// # Errors
/// What follows the file's name and a colon: line, column, key, and the fix.
pub(super) fn parse(text: &str) -> Result<Foreign, String> {
    // Editors on Windows like to begin a file with one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (text, ignored) = in_lower_case(text);
    let mut from = serde_json::Deserializer::from_str(&text);
    let mut found: Foreign = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let key = match error.path().to_string() {
            key if key == "." => String::new(),
            key => format!("{key}: "),
        };
        wrong(&key, error.inner())
    })?;
    from.end().map_err(|error| wrong("", &error))?;
    found.ignored = ignored;
    Ok(found)
}

/// The keys that the tool reads, in any object.
const KEYS: [&str; 8] = [
    "check_interval_seconds",
    "comment",
    "firewall",
    "instances",
    "internal_port",
    "name",
    "port",
    "ports",
];

/// The text with its keys in lower case, everything at its place; and the keys that the
/// tool ignores, with their lines.
fn in_lower_case(text: &str) -> (String, Vec<(usize, String)>) {
    let (mut lower, mut ignored, mut seen) = (text.to_owned(), Vec::new(), BTreeSet::new());
    for place in keys(text) {
        let key = text.get(place.clone()).unwrap_or_default();
        let name = key.to_ascii_lowercase();
        if KEYS.contains(&name.as_str()) {
            lower.replace_range(place, &name);
        } else if seen.insert(key) {
            let before = text.get(..place.start).unwrap_or_default();
            ignored.push((before.matches('\n').count() + 1, key.to_owned()));
        }
    }
    (lower, ignored)
}

/// Where the keys of a JSON text are, without their quotes. What is no JSON is refused
/// by the parser.
fn keys(text: &str) -> Vec<Range<usize>> {
    let mut keys = Vec::new();
    let mut start = None;
    let mut last = None;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match (start, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(begin), b'"') => (start, last) = (None, Some(begin..at)),
            (Some(_), _) => {}
            (None, b'"') => start = Some(at + 1),
            (None, b':') => keys.extend(last.take()),
            (None, b' ' | b'\t' | b'\r' | b'\n') => {}
            (None, _) => last = None,
        }
    }
    keys
}

fn wrong(key: &str, error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let message = message.trim_end_matches(&format!(" at line {line} column {column}"));
    format!("{line}:{column}: {key}{message}{}", remediation(message))
}

/// What to do about the parser's words.
fn remediation(message: &str) -> &'static str {
    let table = [
        ("missing field", "; add the key"),
        (
            "unknown variant",
            "; write \"local\" or \"full\", or leave the key out",
        ),
        ("EOF", "; the file is not complete"),
    ];
    let found = table.iter().find(|(start, _)| message.starts_with(start));
    found.map_or("", |(_, text)| text)
}
