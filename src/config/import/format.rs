//! The other tool's file: every key that it reads, every value checked.

use std::{net::Ipv4Addr, num::NonZeroU16};

use serde::{Deserialize, Deserializer, de};

use super::super::values::{Forward, bounded, port};
use crate::model::{Firewall, Protocol};

/// One file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Foreign {
    /// How often that tool looks. We look when something happens.
    #[serde(default, rename = "check_interval_seconds")]
    _interval: de::IgnoredAny,
    pub(super) instances: Vec<Instance>,
}

/// A distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instance {
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) comment: Option<String>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
}

/// A forward, TCP, from all addresses of Windows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
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
    #[serde(default)]
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
    /// The same as a forward here, without a name yet.
    pub(super) fn forward(&self) -> Forward {
        let connect = self.connect.and_then(|port| NonZeroU16::new(port.0));
        Forward {
            name: String::new(),
            protocol: Protocol::Tcp,
            listen_address: Ipv4Addr::UNSPECIFIED,
            listen_port: self.listen,
            connect_port: connect.unwrap_or(self.listen),
            // Never more than the file has: our own default would let the LAN in.
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
    let mut from = serde_json::Deserializer::from_str(text);
    let found = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let key = match error.path().to_string() {
            key if key == "." => String::new(),
            key => format!("{key}: "),
        };
        wrong(&key, error.inner())
    })?;
    from.end().map_err(|error| wrong("", &error))?;
    Ok(found)
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
        (
            "unknown field `external_port`",
            "; Windows' port is `port` there, and the distribution's is `internal_port`",
        ),
        ("unknown field", "; correct or remove the key"),
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
