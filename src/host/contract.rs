//! What the agent and `refresh.ps1` say to each other: one JSON request on the
//! script's standard input, one JSON answer on its standard output, version 1.
//!
//! Everything that comes back is untrusted text of another system. It is checked
//! here once; past [`Answer::parse`] addresses are addresses, ports are ports, and
//! free text is short and has no control characters, so that it may go to a journal.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// The version of the contract that this agent and its script speak.
pub const VERSION: u32 = 1;

/// Most characters of free text that [`plain`] lets through.
const PLAIN_MAX: usize = 300;

/// Most characters of a rejected answer that an error quotes.
const EXCERPT_MAX: usize = 120;

/// One call of the script: the whole wanted state, never a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// Always [`VERSION`] in a request that this agent makes.
    pub version: u32,
    /// What to do.
    pub action: Action,
    /// The guest's own IPv4 address, where every rule leads.
    pub connect_address: Ipv4Addr,
    /// The wanted rules, TCP only. Empty withdraws all rules of ours.
    pub forwards: Vec<ForwardRequest>,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Make our rules equal to the list in the request.
    Sync,
}

/// One wanted rule. Listen address and port together must be unique in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ForwardRequest {
    /// The Windows address to listen on; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The Windows port to listen on.
    pub listen_port: NonZeroU16,
    /// The port in the guest.
    pub connect_port: NonZeroU16,
}

impl Request {
    /// A request that makes our rules equal to `forwards`, all towards `connect_address`.
    #[must_use]
    pub fn sync(connect_address: Ipv4Addr, forwards: Vec<ForwardRequest>) -> Self {
        Self {
            version: VERSION,
            action: Action::Sync,
            connect_address,
            forwards,
        }
    }

    /// The request as the script reads it: ASCII, one line, ended by a newline.
    ///
    /// # Errors
    /// None is known; serialisation hands on what serde_json reports.
    pub fn to_json_line(&self) -> Result<String, serde_json::Error> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        Ok(line)
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All wanted rules that are not in conflict stand, as read back.
    Synced,
    /// Reading back found something else than was wanted; `detail` says what.
    Partial,
    /// The Windows process lacks administrator rights: nothing was changed.
    NotElevated,
    /// The Windows service iphlpsvc, which does the forwarding, is not running: nothing was changed.
    ServiceStopped,
    /// The script refused the request; `detail` names the field.
    InvalidRequest,
    /// Something went wrong on Windows; `detail` names the step.
    Failed,
}

/// One rule of ours, as it stands in Windows' table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// The Windows address that is listened on; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The Windows port that is listened on.
    pub listen_port: NonZeroU16,
    /// Where connections are led to.
    pub connect_address: Ipv4Addr,
    /// The port that connections are led to.
    pub connect_port: NonZeroU16,
}

/// Another tool's rule that stands where we want to listen. Its target is whatever
/// that tool wrote: netsh takes host names, and the registry takes anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Conflict {
    /// The Windows address that is taken; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The Windows port that is taken.
    pub listen_port: NonZeroU16,
    /// An IPv4 address or a host name, as [`plain`] text; none where it could not be read.
    pub connect_address: Option<String>,
    /// The port it leads to; none where it could not be read.
    pub connect_port: Option<NonZeroU16>,
}

/// The connected Windows interface whose IPv4 MTU is the lowest: WSL gives the
/// guest's eth0 the same value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LowestMtu {
    /// The interface's alias, as [`plain`] text.
    pub name: String,
    /// Bytes.
    pub mtu: u32,
}

/// What the script reported. Fields that a newer script may add are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// How the call ended.
    pub state: State,
    /// More about it for a person, in any language, as [`plain`] text.
    pub detail: Option<String>,
    /// Our rules as read back from the registry.
    pub rules: Vec<Rule>,
    /// Rules that this call made or re-pointed.
    pub added: u32,
    /// Rules of ours that this call took away.
    pub removed: u32,
    /// Wanted rules that stood already; where a call changes nothing, all rules of ours.
    pub kept: u32,
    /// Foreign rules in the way, left untouched.
    pub conflicts: Vec<Conflict>,
    /// Windows' own IPv4 address on its default route, where it could be told.
    pub windows_address: Option<Ipv4Addr>,
    /// The interface that lowers the guest's MTU, where it could be told.
    pub lowest_mtu: Option<LowestMtu>,
}

/// Why an output of the script is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing but white space.
    #[error(
        "Windows PowerShell printed nothing; run the script by hand on Windows to see its error text"
    )]
    Empty,
    /// UTF-16 with or without its mark, as some Windows programs print.
    #[error(
        "the answer is UTF-16 text instead of UTF-8; a wrapper or profile changes PowerShell's output"
    )]
    Utf16,
    /// Bytes of some other code page.
    #[error("the answer is not UTF-8 text: \"{excerpt}\"")]
    NotUtf8 {
        /// Its beginning, escaped.
        excerpt: String,
    },
    /// Another version of the script answered.
    #[error(
        "the script answers in version {found}, this agent speaks version {expected}; install the script that belongs to this agent"
    )]
    Version {
        /// [`VERSION`].
        expected: u32,
        /// The version in the answer.
        found: u64,
    },
    /// Something printed before the object.
    #[error(
        "text before the answer: \"{excerpt}\"; another program or a PowerShell profile printed into it"
    )]
    TextBefore {
        /// Its beginning, escaped.
        excerpt: String,
    },
    /// Something printed after the object.
    #[error(
        "text after the answer: \"{excerpt}\"; another program or a PowerShell profile printed into it"
    )]
    TextAfter {
        /// Its beginning, escaped.
        excerpt: String,
    },
    /// The output ends inside the object.
    #[error("the answer breaks off after {length} bytes; the script was stopped while it wrote")]
    Truncated {
        /// Bytes that did arrive.
        length: usize,
    },
    /// An object, and not the one that was agreed.
    #[error("the answer is not what the contract says: {reason}: \"{excerpt}\"")]
    Malformed {
        /// What is wrong, escaped.
        reason: String,
        /// The answer's beginning, escaped.
        excerpt: String,
    },
}

/// The one field that must be understood before the others are looked at.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Answer {
    /// Reads what the script printed. A byte order mark and white space around the
    /// object are passed over.
    ///
    /// # Errors
    /// Anything but exactly one answer of [`VERSION`]; each way to fail has its own
    /// [`AnswerError`].
    pub fn parse(output: &[u8]) -> Result<Self, AnswerError> {
        if looks_like_utf16(output) {
            return Err(AnswerError::Utf16);
        }
        let text = std::str::from_utf8(output).map_err(|_| AnswerError::NotUtf8 {
            excerpt: excerpt(&String::from_utf8_lossy(
                output.get(..512).unwrap_or(output),
            )),
        })?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err(AnswerError::Empty);
        }
        if !text.starts_with('{') {
            let before = text.split('{').next().unwrap_or(text);
            return Err(AnswerError::TextBefore {
                excerpt: excerpt(before),
            });
        }
        let Versioned { version } = one_object(text)?;
        if version != u64::from(VERSION) {
            return Err(AnswerError::Version {
                expected: VERSION,
                found: version,
            });
        }
        let mut answer: Self = one_object(text)?;
        answer.detail = answer.detail.as_deref().map(plain);
        for conflict in &mut answer.conflicts {
            conflict.connect_address = conflict.connect_address.as_deref().map(plain);
        }
        if let Some(lowest) = &mut answer.lowest_mtu {
            lowest.name = plain(&lowest.name);
        }
        Ok(answer)
    }
}

/// The object at the start of `text`, which must be all there is.
fn one_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, AnswerError> {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let first = objects.next();
    let rest = text.get(objects.byte_offset()..).unwrap_or_default().trim();
    match first {
        Some(Ok(_)) if !rest.is_empty() => Err(AnswerError::TextAfter {
            excerpt: excerpt(rest),
        }),
        Some(Ok(object)) => Ok(object),
        Some(Err(error)) if !error.is_eof() => Err(AnswerError::Malformed {
            reason: excerpt(&error.to_string()),
            excerpt: excerpt(text),
        }),
        Some(Err(_)) | None => Err(AnswerError::Truncated { length: text.len() }),
    }
}

/// Whether these bytes are UTF-16: by their mark, or by the zero byte that every
/// ASCII character has in it. JSON in UTF-8 has no zero byte at all.
fn looks_like_utf16(output: &[u8]) -> bool {
    let start = output.get(..64).unwrap_or(output);
    output.starts_with(&[0xff, 0xfe])
        || output.starts_with(&[0xfe, 0xff])
        || start
            .chunks_exact(2)
            .filter(|pair| pair.contains(&0))
            .count()
            * 4
            > start.len()
}

/// Whether a character could disturb the line it is printed in: control characters,
/// line separators and the marks that turn the direction of writing around.
fn disturbs(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The beginning of a rejected text, with what disturbs a line written as `\u{..}`.
fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    for character in text.trim().chars().take(EXCERPT_MAX) {
        if disturbs(character) {
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
    let mut characters = text
        .trim()
        .chars()
        .map(|c| if disturbs(c) { ' ' } else { c });
    let mut line: String = characters.by_ref().take(PLAIN_MAX).collect();
    if characters.next().is_some() {
        line.pop();
        line.push('\u{2026}');
    }
    line
}

#[cfg(test)]
mod tests;
