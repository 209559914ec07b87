//! A forward's hops, from the service outwards, and the first that fails.

mod windows;

use std::net::Ipv4Addr;

use super::{
    cause::Cause,
    facts::{Kept, PortFacts},
    hop::{Hop, HopKind, HopResult, Hops, advice_of},
    judge::causes,
};
use crate::model::{
    Code, ForwardBackend, ForwardState, ForwardStatus, HealthEntry, Listening, Mode, Protocol,
    Reach,
};

/// Causes that are about the port on Windows.
const ON_WINDOWS: [Cause; 8] = [
    Cause::WindowsKeeps,
    Cause::Loop,
    Cause::WindowsProcess,
    Cause::ExcludedRange,
    Cause::ForeignRule,
    Cause::Health,
    Cause::NoAgent,
    Cause::OutsidePolicy,
];

/// Where the reason of an unserved forward is to be found.
const STATUS: &str =
    "Run `wslmesh status`, which says why; with [host] backend = \"none\" no forward is made";

/// The hops so far, and the findings that none of them has taken.
struct Walk<'a> {
    facts: &'a PortFacts,
    causes: Vec<(Cause, HealthEntry)>,
    hops: Vec<Hop>,
}

/// What each hop came to.
#[must_use]
pub fn judge_hops(facts: &PortFacts) -> Hops {
    let mut walk = Walk {
        facts,
        causes: causes(facts),
        hops: Vec::new(),
    };
    walk.service();
    walk.here();
    let mode = facts.mode.known();
    if matches!(mode, Some(Mode::NotWsl | Mode::None)) {
        walk.unserved();
    } else {
        // The tunnel's switch listens on Windows in every mode, as the relay does in NAT mode.
        let nat =
            matches!(mode, None | Some(Mode::Nat)) || facts.served_by == ForwardBackend::Tunnel;
        // At that address clients reach the service itself.
        let leads = |to: Ipv4Addr| facts.listen_address() != to;
        let relayed =
            facts.listen_port != facts.connect_port || facts.loopback().is_some_and(leads);
        if nat && facts.loopback().is_some() {
            walk.relay_behind();
        } else if !nat && (relayed || walk.is_down() && !facts.on_windows()) {
            walk.relay();
        }
        if facts.on_windows() {
            walk.windows_side(nat);
        }
    }
    Hops {
        advice: advice_of(&walk.hops, facts),
        more: walk.causes.into_iter().map(|(_, one)| one).collect(),
        hops: walk.hops,
    }
}

impl Walk<'_> {
    fn add(&mut self, hop: HopKind, result: HopResult, detail: impl Into<String>) {
        self.hops.push(Hop {
            hop,
            result,
            detail: detail.into(),
            milliseconds: None,
            remediation: None,
        });
    }

    fn ok_in(&mut self, hop: HopKind, detail: impl Into<String>, milliseconds: Option<u32>) {
        self.add(hop, HopResult::Ok, detail);
        if let Some(last) = self.hops.last_mut() {
            last.milliseconds = milliseconds;
        }
    }

    /// A hop that fails: the first finding of these kinds says why, else the texts.
    fn fails(&mut self, hop: HopKind, of: &[Cause], detail: &str, fix: &str) {
        let found = self.take(of);
        let text = found.as_ref().map_or(detail, |one| &one.detail).to_owned();
        let fix = found.as_ref().map_or(fix, |one| &one.remediation);
        let remediation = Some(fix.to_owned());
        self.add(hop, HopResult::Failed, text);
        if let Some(last) = self.hops.last_mut() {
            last.remediation = remediation;
        }
    }

    fn has(&self, of: &[Cause]) -> bool {
        self.causes.iter().any(|(cause, _)| of.contains(cause))
    }

    fn take(&mut self, of: &[Cause]) -> Option<HealthEntry> {
        let at = self.causes.iter().position(|(one, _)| of.contains(one))?;
        Some(self.causes.remove(at).1)
    }

    /// Adds the hop as not tried where one of these before it has failed.
    fn is_blocked(&mut self, hop: HopKind, by: &[HopKind]) -> bool {
        let is_bad = |one: &Hop| one.result == HopResult::Failed && by.contains(&one.hop);
        let Some(at) = self.hops.iter().position(is_bad) else {
            return false;
        };
        self.add(hop, HopResult::NotTried, format!("hop {} fails", at + 1));
        true
    }

    fn status(&self) -> Option<&ForwardStatus> {
        self.facts.status.as_ref()
    }

    /// Whether the agent says that the port is not served. Of a range it says so of some.
    fn is_down(&self) -> bool {
        self.status().is_some_and(|one| {
            one.owner.is_some() || one.state == ForwardState::Down && one.state_ports.is_none()
        })
    }

    fn service(&mut self) {
        let (facts, hop) = (self.facts, HopKind::Service);
        let port = facts.connect_port;
        let holder = facts.holder().map(|one| {
            let only = if one.socket.ipv6_only {
                " (IPv6 alone)"
            } else {
                ""
            };
            format!("{one} on {}:{port}{only}", one.socket.address)
        });
        let answers = facts.here == Some(Reach::Answers);
        match (facts.listening(), holder) {
            (Some(Listening::Yes), Some(holder)) => self.add(hop, HopResult::Ok, holder),
            (_, Some(holder)) if answers => self.add(hop, HopResult::Ok, holder),
            (_, None) if answers => {
                let by = facts
                    .forward
                    .as_ref()
                    .and_then(|one| one.remarks.discovered.clone());
                let by = by.filter(|by| !by.is_empty());
                let by = by.map(|by| format!(" ({by})")).unwrap_or_default();
                let text = format!("a rule passes port {port} on, as to a container{by}");
                self.add(hop, HopResult::Ok, text);
            }
            (None, _) => {
                let why = facts.holders.as_ref().err().map_or("", String::as_str);
                self.add(
                    hop,
                    HopResult::Unknown,
                    format!("sockets could not be read: {why}"),
                );
            }
            (Some(Listening::No), _) if facts.passes_on && facts.protocol == Protocol::Udp => {
                let found = self.take(&[Cause::NothingListens]);
                let text = found.map(|one| one.detail).unwrap_or_default();
                self.add(hop, HopResult::Unknown, text);
            }
            _ => {
                let of = [Cause::NothingListens, Cause::LoopbackOnly];
                self.fails(hop, &of, "no service listens", "Start the service");
            }
        }
    }

    fn here(&mut self) {
        let (facts, hop) = (self.facts, HopKind::Here);
        if self.is_blocked(hop, &[HopKind::Service]) {
            return;
        }
        let Some(at) = facts.at() else {
            let why = facts.node.as_ref().err().map_or("", String::as_str);
            let text = format!("this distribution's address is not known: {why}");
            return self.add(hop, HopResult::Unknown, text);
        };
        let sends = facts
            .forward
            .as_ref()
            .is_some_and(|one| one.proxy_protocol.is_some());
        match facts.here {
            Some(Reach::Answers) if self.has(&[Cause::HeaderUnknown]) => {
                self.fails(hop, &[Cause::HeaderUnknown], "", "");
            }
            Some(Reach::Answers)
                if sends
                    && facts.kept() == Some(Kept::Closed)
                    && facts.tested.plain == Some(Kept::Open) =>
            {
                let text = format!(
                    "{at} answers, and closes a connection from here that begins with the PROXY header; it keeps the relay's, so it may take the header from there alone"
                );
                self.add(hop, HopResult::Unknown, text);
            }
            Some(Reach::Answers) => {
                let what = match (sends, facts.kept()) {
                    (true, Some(Kept::Open)) => {
                        " keeps a connection that begins with the PROXY header"
                    }
                    (true, Some(_)) => {
                        " answers; it ends each connection at once, so whether it knows the PROXY header cannot be seen"
                    }
                    (false, Some(Kept::Closed)) => " answers, and closes the connection at once",
                    _ => "",
                };
                self.ok_in(hop, format!("{at}{what}"), facts.tested.milliseconds);
            }
            Some(reach @ (Reach::Refused | Reach::TimedOut | Reach::Unreachable)) => {
                let text = format!("{at} {}", reach.in_words());
                let fix =
                    "Look at the packet filter in this distribution (`sudo nft list ruleset`)";
                self.fails(hop, &[Cause::FilteredHere], &text, fix);
            }
            _ if facts.protocol == Protocol::Udp => {
                let text = format!(
                    "{at} does not refuse a datagram; a UDP service answers its own protocol alone"
                );
                self.add(hop, HopResult::Unknown, text);
            }
            _ => self.add(hop, HopResult::Unknown, format!("{at} could not be tried")),
        }
    }

    /// Without WSL or a network of it.
    fn unserved(&mut self) {
        let mode = &self.facts.mode;
        let (text, fix) = match mode.known() {
            Some(Mode::NotWsl) => (
                "this is not WSL, so nothing forwards it",
                Code::ForwardNotWsl,
            ),
            _ => (
                "without a network nothing can be forwarded",
                Code::ForwardMode,
            ),
        };
        self.fails(HopKind::Windows, &[], text, fix.remediation());
    }

    /// The relay of NAT mode that leads to a service on loopback, by its socket.
    fn relay_behind(&mut self) {
        let (facts, hop) = (self.facts, HopKind::Relay);
        let Some((at, holder)) = facts.relay_place() else {
            let text = "this distribution's address is not known, where it is to listen";
            return self.add(hop, HopResult::Unknown, text);
        };
        match (holder, &facts.holders) {
            (Some(one), _) if one.is_relay() => {
                self.add(hop, HopResult::Ok, format!("{one} on {at}"));
            }
            (None, Err(why)) => {
                let text = format!("sockets could not be read: {why}");
                self.add(hop, HopResult::Unknown, text);
            }
            _ => {
                let text = format!("no relay listens on {at}");
                let of = [Cause::RelayTaken, Cause::NoAgent, Cause::Health];
                self.fails(hop, &of, &text, STATUS);
            }
        }
    }

    /// The relay in this distribution, of which the agent says whether it serves.
    fn relay(&mut self) {
        let (facts, hop) = (self.facts, HopKind::Relay);
        let listens = format!("{} {}", facts.protocol, facts.listen_port);
        match self.status() {
            Some(one) if self.is_down() => {
                let text = format!("{:?} is not served", one.name);
                self.fails(hop, &ON_WINDOWS, &text, STATUS);
            }
            Some(one) if one.state == ForwardState::Pending => {
                let text = format!("it does not listen on {listens} yet");
                self.fails(hop, &[Cause::Health], &text, STATUS);
            }
            Some(_) => self.add(hop, HopResult::Ok, format!("it listens on {listens}")),
            None => {
                let text = "the agent, which starts it, is not running or has not read the forward";
                let fix = "Run `sudo systemctl start wslmesh`, or reload it";
                self.fails(hop, &[Cause::Health, Cause::NoAgent], text, fix);
            }
        }
    }
}

#[cfg(test)]
mod tests;
