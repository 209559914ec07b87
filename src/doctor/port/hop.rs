//! What a hop is, and what is said about all of them.

use serde::Serialize;

use super::facts::PortFacts;
use crate::model::{HealthEntry, Protocol};

/// One hop of a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HopKind {
    /// The service has a socket.
    Service,
    /// This distribution's address answers here.
    Here,
    /// The relay in this distribution listens.
    Relay,
    /// This distribution's address answers from Windows.
    Guest,
    /// What serves the forward has the port on Windows.
    Windows,
    /// A connection to Windows' port comes to the service.
    Through,
    /// The same by IPv6.
    ThroughIpv6,
    /// Windows' firewall lets clients in.
    Firewall,
}

impl HopKind {
    /// For a person.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Here => "service from here",
            Self::Relay => "relay in this distribution",
            Self::Guest => "service from Windows",
            Self::Windows => "port on Windows",
            Self::Through => "forward from Windows",
            Self::ThroughIpv6 => "forward from Windows by IPv6",
            Self::Firewall => "Windows' firewall",
        }
    }
}

/// What a hop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HopResult {
    /// It works.
    Ok,
    /// It does not.
    Failed,
    /// One before it does not.
    NotTried,
    /// It could not be tried, or that says nothing.
    Unknown,
}

impl HopResult {
    /// For a person.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NotTried => "not tried",
            Self::Unknown => "not known",
        }
    }
}

/// One hop and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hop {
    /// Which one.
    pub hop: HopKind,
    /// What it came to.
    pub result: HopResult,
    /// The facts, without a final dot.
    pub detail: String,
    /// How long a connection took, in milliseconds.
    pub milliseconds: Option<u32>,
    /// What to do about a failure.
    pub remediation: Option<String>,
}

/// All hops of a forward in the networking mode of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hops {
    /// From the service outwards.
    pub hops: Vec<Hop>,
    /// What was found besides.
    pub more: Vec<HealthEntry>,
    /// Which one fails and what to do, in a sentence.
    pub advice: String,
}

impl Hops {
    /// The place of the first hop that fails, from 1.
    #[must_use]
    pub fn failed(&self) -> Option<usize> {
        first(&self.hops, HopResult::Failed).map(|(place, _)| place)
    }
}

/// The first hop with this result, and its place from 1.
fn first(hops: &[Hop], result: HopResult) -> Option<(usize, &Hop)> {
    (1..).zip(hops).find(|(_, one)| one.result == result)
}

/// Which hop fails and what to do, or how to go on.
pub(super) fn advice_of(hops: &[Hop], facts: &PortFacts) -> String {
    if let Some((place, one)) = first(hops, HopResult::Failed) {
        let fix = one.remediation.as_deref().unwrap_or_default();
        let (title, detail) = (one.hop.title(), &one.detail);
        let fix = fix.trim_end_matches('.');
        return format!("Hop {place} fails ({title}): {detail}. {fix}.");
    }
    let found = match first(hops, HopResult::Unknown) {
        None => "Every hop answers".to_owned(),
        Some((place, _)) => format!("No hop fails, and hop {place} is not known"),
    };
    if facts.served_address().is_loopback() {
        return format!("{found}; no other machine reaches it, as it listens on loopback alone.");
    }
    let udp = match facts.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
    };
    let port = facts.listen_port;
    format!(
        "{found}; run `wslmesh port {port}{udp} --host ADDRESS` on another machine to try it from there."
    )
}
