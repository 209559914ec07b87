//! The machine is back after it was asleep or cut off: what showed it, and what was done.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{InterfaceName, PublicKey, display_as_serialized};

display_as_serialized!(ResumeSign, RecoveryStep);

/// What shows that the machine is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResumeSign {
    /// The wall clock was set forward, as after a sleep of Windows.
    Clock,
    /// The node's interface has its carrier and address again.
    Link,
    /// All peers of WireGuard went silent at once.
    Handshakes,
}

/// The machine is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// What showed it.
    pub sign: ResumeSign,
    /// How long it was away, as far as the sign tells.
    pub away: Duration,
    /// When it was there for the last time, in seconds since 1970 (UTC) and as the clock
    /// was then: stamps of handshakes before the sleep are by that clock.
    pub awake_unix: u64,
}

impl Resume {
    /// This one and a later one as one story: the first sign, all the time away.
    #[must_use]
    pub fn followed_by(self, next: Self) -> Self {
        let sign = match next.sign {
            ResumeSign::Clock => ResumeSign::Clock,
            ResumeSign::Link | ResumeSign::Handshakes => self.sign,
        };
        let away = match (self.sign, next.sign) {
            (ResumeSign::Clock, ResumeSign::Clock) => self.away.saturating_add(next.away),
            (_, ResumeSign::Clock) => next.away,
            _ => self.away,
        };
        let awake_unix = self.awake_unix.min(next.awake_unix);
        Self {
            sign,
            away,
            awake_unix,
        }
    }
}

/// What a recovery goes through, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecoveryStep {
    /// The wall clock is right.
    Time,
    /// The node's interface has its carrier and address.
    Link,
    /// The kernel has routes to the gateway and to WireGuard's endpoints.
    Route,
    /// The first name server answers.
    Dns,
    /// WireGuard's peers answer.
    Wireguard,
    /// Windows programs start.
    Interop,
    /// The forwards lead here.
    Forwards,
}

impl RecoveryStep {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Time,
        Self::Link,
        Self::Route,
        Self::Dns,
        Self::Wireguard,
        Self::Interop,
        Self::Forwards,
    ];

    /// The step without which this one cannot succeed. Name servers may be at this
    /// machine itself (DNS tunnelling), and Windows programs need no network.
    #[must_use]
    pub fn needs(self) -> Option<Self> {
        match self {
            Self::Time | Self::Link | Self::Dns | Self::Interop => None,
            Self::Route | Self::Forwards => Some(Self::Link),
            Self::Wireguard => Some(Self::Route),
        }
    }

    /// How long a recovery stays with it at most; all together 97 s.
    #[must_use]
    pub fn deadline(self) -> Duration {
        Duration::from_secs(match self {
            // Hyper-V's driver looks every 5 s (kernel: drivers/hv/hv_util.c).
            Self::Time => 7,
            // Windows connects to a wireless network.
            Self::Link => 15,
            Self::Route => 5,
            Self::Dns => 10,
            // The kernel begins a new session 15 s after a packet that was not answered
            // (WireGuard's KEEPALIVE_TIMEOUT and REKEY_TIMEOUT), and tries again after 5 s.
            Self::Wireguard => 25,
            // A call has 15 s.
            Self::Interop => 20,
            Self::Forwards => 15,
        })
    }

    /// For a person, as the subject of a sentence.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Time => "the clock",
            Self::Link => "the interface",
            Self::Route => "the route",
            Self::Dns => "DNS",
            Self::Wireguard => "WireGuard",
            Self::Interop => "interop",
            Self::Forwards => "the forwards",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// It has no meaning here.
    Skipped,
    /// Nothing was wrong.
    Well,
    /// Something was wrong and is right now; a clause for the journal.
    Repaired(String),
    /// It is still wrong, for this reason.
    Failed(String),
    /// What it needs has failed.
    Untried(RecoveryStep),
}

/// A recovery that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// What began it.
    pub resume: Resume,
    /// How often the machine slept until it ended.
    pub times: u32,
    /// Its steps.
    pub steps: Vec<(RecoveryStep, StepOutcome)>,
    /// How long it took.
    pub took: Duration,
}

/// A peer of a device.
pub type PeerId = (InterfaceName, PublicKey);
