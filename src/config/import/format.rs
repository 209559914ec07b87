//! The other tool's file: every key that it reads, every value checked.

use std::num::NonZeroU16;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::model::Firewall;

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
    #[serde(default, deserialize_with = "comment")]
    pub(super) comment: String,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
}

/// A forward, TCP, from all addresses of Windows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    /// Windows' port.
    #[serde(rename = "port", deserialize_with = "listen")]
    pub(super) listen: NonZeroU16,
    /// The port in the distribution; the same where there is none.
    #[serde(default, rename = "internal_port", deserialize_with = "connect")]
    pub(super) connect: Option<NonZeroU16>,
    /// Whom the tool lets in; it makes no firewall rule where there is none.
    #[serde(default, deserialize_with = "firewall")]
    pub(super) firewall: Option<Firewall>,
    #[serde(default, deserialize_with = "comment")]
    pub(super) comment: String,
}

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

pub(super) fn parse(text: &str) -> Result<Foreign, Wrong> {
    // Editors on Windows like to begin a file with one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&place).unwrap_or(&message);
        Wrong {
            line: error.line(),
            column: error.column(),
            message: explained(message),
        }
    })
}

/// The parser's words and what to do.
fn explained(message: &str) -> String {
    let remediation = if message.starts_with("unknown field `external_port`") {
        "; Windows' port is `port` there, and the distribution's is `internal_port`"
    } else if message.starts_with("unknown field") {
        "; correct or remove the key"
    } else if message.starts_with("missing field") {
        "; add the key"
    } else if message.starts_with("EOF") {
        "; the file is not complete"
    } else {
        ""
    };
    format!("{message}{remediation}")
}

/// Refuses a value with its key and the right values.
fn refused<E: de::Error>(key: &str, value: &Value, remediation: &str) -> E {
    let value: String = value.to_string().chars().take(40).collect();
    E::custom(format!("`{key}`: {value} is wrong; {remediation}"))
}

fn port<E: de::Error>(key: &str, value: &Value) -> Result<NonZeroU16, E> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    let port = number.and_then(NonZeroU16::new);
    port.ok_or_else(|| refused(key, value, "write a number from 1 to 65535"))
}

fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroU16, D::Error> {
    port("port", &Value::deserialize(from)?)
}

/// 0 is none to that tool.
fn connect<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroU16>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        zero if zero.as_u64() == Some(0) => Ok(None),
        value => port("internal_port", &value).map(Some),
    }
}

fn firewall<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Firewall>, D::Error> {
    let value = Value::deserialize(from)?;
    match value.as_str() {
        Some("local") => Ok(Some(Firewall::Local)),
        Some("full") => Ok(Some(Firewall::Full)),
        Some("") => Ok(None),
        None if value.is_null() => Ok(None),
        Some(_) | None => {
            let remediation = "write \"local\" or \"full\", or leave the key out";
            Err(refused("firewall", &value, remediation))
        }
    }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(name) if !name.trim().is_empty() => Ok(name),
        value => Err(refused("name", &value, "write a distribution's name")),
    }
}

fn comment<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(comment) => Ok(comment),
        Value::Null => Ok(String::new()),
        value => Err(refused("comment", &value, "write a text in quotes")),
    }
}
