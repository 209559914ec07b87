//! Ranges of ports.

use std::{fmt, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "(NonZeroU16, NonZeroU16)",
    into = "(NonZeroU16, NonZeroU16)"
)]
pub struct PortRange {
    first: NonZeroU16,
    last: NonZeroU16,
}

impl TryFrom<(NonZeroU16, NonZeroU16)> for PortRange {
    type Error = String;

    fn try_from((first, last): (NonZeroU16, NonZeroU16)) -> Result<Self, String> {
        if first <= last {
            Ok(Self { first, last })
        } else {
            Err(format!(
                "{first}-{last} is no range of ports: the lower number comes first"
            ))
        }
    }
}

impl From<PortRange> for (NonZeroU16, NonZeroU16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

impl From<NonZeroU16> for PortRange {
    fn from(port: NonZeroU16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl PortRange {
    /// Whether the port is in it.
    #[must_use]
    pub fn has(self, port: NonZeroU16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether both have a port in common.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether it has each port of the other.
    pub(super) fn includes(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Both as one range, where `next` begins right behind this one.
    pub(super) fn with(self, next: Self) -> Option<Self> {
        (self.last.checked_add(1) == Some(next.first)).then_some(Self {
            first: self.first,
            last: next.last,
        })
    }

    /// The first port.
    pub(super) fn first(self) -> NonZeroU16 {
        self.first
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for PortRange {
    type Err = String;

    /// Reads `22` or `5000-5100`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::try_from((port(first)?, port(last)?))
    }
}

/// Reads a port as a person writes it.
///
/// # Errors
/// The text is no number from 1 to 65535.
pub fn port(text: &str) -> Result<NonZeroU16, String> {
    // u16 itself would take a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.ok_or_else(|| format!("{text:?} is no port: write a number from 1 to 65535"))
}
