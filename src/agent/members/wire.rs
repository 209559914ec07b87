//! What the agents of several distributions write each other: lines of JSON, each bounded.
//!
//! One on standby writes a [`Registration`], at any time another one that replaces it. The
//! leader answers each with an [`Answer`], and writes one whenever its content changes.

use std::{collections::BTreeSet, io};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::inheritance::Inheritance;
use crate::{
    config::{Backend, Forward, Remarks, Settings, connect_ports, is_name},
    model::{ForwardStatus, excerpt},
    plan::Member,
};

/// Of these lines, and of the hello that comes before them.
pub(in crate::agent) const VERSION: u32 = 1;
/// Of a registration that says more than one of [`VERSION`] can. A leader that knows that one
/// alone refuses it and says so.
const RICHER: u32 = 2;
/// Longest line in bytes.
pub(super) const LONGEST: usize = 256 * 1024;
/// Most forwards of one distribution; one of several ports counts as so many.
pub(super) const MOST_FORWARDS: usize = 256;

/// Why a registration is not taken, for the one that made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its line has more than {LONGEST} bytes: remove forwards")]
    TooLong,
    #[error(
        "{0} ports are registered, and a distribution may have {MOST_FORWARDS}: shorten a range, or remove forwards"
    )]
    TooMany(usize),
    #[error(
        "all distributions together have more than {0} ports: shorten a range, or remove forwards"
    )]
    Full(usize),
    #[error(
        "it is a registration of version {0}, and the leader knows version {RICHER}: upgrade wslmesh in the leader's distribution or in this one, whichever is older"
    )]
    Version(u32),
    #[error("it cannot be read ({0}): upgrade wslmesh in both distributions")]
    Unreadable(String),
    #[error("{0:?} is no name of a distribution")]
    Name(String),
    #[error("forward {0:?} is there twice")]
    Twice(String),
    #[error("the agent has no CAP_NET_ADMIN: run it as root and outside of containers")]
    Unproven,
}

/// The forwards of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::agent) struct Registration {
    version: u32,
    pub(super) distribution: String,
    pub(super) forwards: Vec<Forward>,
    /// What it discovered, which has no port of what is configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) discovered: Vec<Forward>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Registration {
    /// What these settings want of the leader: each forward with the backend that they
    /// give it.
    pub(in crate::agent) fn new(
        distribution: &str,
        settings: &Settings,
        discovered: &[Forward],
    ) -> Self {
        let with_backend = |forward: &Forward| Forward {
            backend: Some(settings.backend_of(forward)),
            remarks: Remarks::default(),
            ..forward.clone()
        };
        let forwards = settings.forwards.iter().map(with_backend);
        let forwards = forwards.filter(|forward| forward.backend != Some(Backend::None));
        let forwards = Vec::from_iter(forwards);
        // What listens never costs what is configured its place.
        let room = MOST_FORWARDS.saturating_sub(ports(&forwards));
        let discovered = discovered.iter().take(room).map(with_backend);
        let discovered = Vec::from_iter(discovered);
        let is_plain = |forward: &Forward| {
            forward.listen_port.len() == 1
                && forward.proxy_protocol.is_none()
                && forward.listen_address.is_ipv4()
                && forward.connect_address.is_none()
        };
        Self {
            version: match forwards.iter().all(is_plain) && discovered.is_empty() {
                true => VERSION,
                false => RICHER,
            },
            distribution: distribution.to_owned(),
            forwards,
            discovered,
        }
    }

    /// How many ports it wants.
    pub(super) fn ports(&self) -> usize {
        ports(&self.forwards) + ports(&self.discovered)
    }

    /// As [`Self::parse`] reads it.
    pub(in crate::agent) fn line(&self) -> Vec<u8> {
        line(self)
    }

    /// Its distribution, with its forwards.
    pub(in crate::agent) fn member(self) -> Member {
        Member {
            distribution: self.distribution,
            forwards: self.forwards,
            discovered: self.discovered,
        }
    }

    /// Reads and checks the line of another process.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let unreadable =
            |error: serde_json::Error| Refusal::Unreadable(excerpt(&error.to_string()));
        let Version { version } = serde_json::from_slice(line).map_err(unreadable)?;
        if !(VERSION..=RICHER).contains(&version) {
            return Err(Refusal::Version(version));
        }
        let registration: Self = serde_json::from_slice(line).map_err(unreadable)?;
        if !is_name(&registration.distribution) {
            return Err(Refusal::Name(excerpt(&registration.distribution)));
        }
        let (forwards, ports) = (&registration.forwards, registration.ports());
        if ports > MOST_FORWARDS {
            return Err(Refusal::TooMany(ports));
        }
        let discovered = &registration.discovered;
        for Forward {
            listen_port,
            connect_port,
            ..
        } in forwards.iter().chain(discovered)
        {
            connect_ports(*listen_port, Some(*connect_port)).map_err(Refusal::Unreadable)?;
        }
        let mut names = BTreeSet::new();
        let mut all = forwards.iter().chain(discovered);
        match all.find(|forward| !names.insert(&forward.name)) {
            Some(twice) => Err(Refusal::Twice(twice.name.clone())),
            None => Ok(registration),
        }
    }
}

/// How many ports these forwards have.
pub(super) fn ports(forwards: &[Forward]) -> usize {
    let forwards = forwards.iter();
    forwards.map(|forward| forward.listen_port.len()).sum()
}

/// What the leader says of a distribution's forwards. Fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::agent) struct Answer {
    pub(super) version: u32,
    /// Its distribution; empty until it is known.
    #[serde(default)]
    pub(in crate::agent) leader: String,
    #[serde(default)]
    pub(in crate::agent) forwards: Vec<Answered>,
    /// Why it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::agent) refused: Option<String>,
    /// For the case that the reader leads next. Nothing else fails with it.
    #[serde(flatten, skip_deserializing)]
    pub(in crate::agent) left: Inheritance,
}

/// One forward, by its name in its own distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::agent) struct Answered {
    #[serde(flatten)]
    pub(in crate::agent) status: ForwardStatus,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::agent) detail: Option<String>,
}

impl Answer {
    /// As [`Self::parse`] reads it. Where that is too much for a line, the next leader finds
    /// out by itself whom it serves.
    pub(super) fn line(&self) -> Vec<u8> {
        let whole = line(self);
        if whole.len() <= LONGEST {
            return whole;
        }
        let mut alone = self.clone();
        alone.left.members.clear();
        line(&alone)
    }

    /// Reads a line of the leader, which has proven to be one; `None` where it is another
    /// version's.
    pub(in crate::agent) fn parse(line: &[u8]) -> Option<Self> {
        let mut answer: Self = serde_json::from_slice(line).ok()?;
        let left: Inheritance = serde_json::from_slice(line).unwrap_or_default();
        answer.left = left.without(None);
        (answer.version == VERSION && answer.forwards.len() <= MOST_FORWARDS).then_some(answer)
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Texts, numbers and words alone cannot fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The lines of another process. What is longer than [`LONGEST`] is read to its end and
/// not kept.
#[derive(Debug)]
pub(in crate::agent) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(in crate::agent) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            too_long: false,
        }
    }

    /// The next line, without its end; an error for one that was too long. `None` at the
    /// end, before which half a line does not count. Nothing is lost where this is dropped.
    pub(in crate::agent) async fn next(&mut self) -> io::Result<Option<Result<Vec<u8>, TooLong>>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            if self.line.len() + part.len() > LONGEST {
                (self.too_long, self.line) = (true, Vec::new());
            }
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let read = part.len() + usize::from(end.is_some());
            self.reader.consume(read);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                let too_long = std::mem::take(&mut self.too_long);
                return Ok(Some(if too_long { Err(TooLong) } else { Ok(line) }));
            }
        }
    }
}

/// A line that was too long.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) struct TooLong;

impl From<TooLong> for Refusal {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

#[cfg(test)]
mod tests;
