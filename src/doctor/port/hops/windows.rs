//! The hops on Windows.

use std::net::{IpAddr, SocketAddr};

use super::{ON_WINDOWS, STATUS, Walk};
use crate::{
    config::Firewall,
    doctor::{
        port::{
            cause::Cause,
            facts::Kept,
            hop::{Hop, HopKind, HopResult},
            judge::{NOT_REACHED, NOT_THROUGH},
        },
        verdict::list,
    },
    model::{
        Code, PortFirewall, PortOwner, Protocol, Reach, WindowsConnect, WindowsEnd, WindowsPort,
    },
};

/// What is said where netstat failed.
const UNREAD: &str = "Windows did not say who listens";

impl Walk<'_> {
    pub(super) fn windows_side(&mut self, nat: bool) {
        let facts = self.facts;
        let windows = match &facts.windows {
            Ok(windows) => windows,
            Err(_) => {
                let found = self.take(&[Cause::WindowsUnknown]);
                let text = found.map(|one| one.detail).unwrap_or_default();
                let agent = self.status().map(|one| one.state_in_words());
                let agent = agent.map(|state| format!("; the agent says that it is {state}"));
                self.hop_of_agent(text + &agent.unwrap_or_default());
                return;
            }
        };
        if nat {
            self.guest();
        }
        self.port(windows, nat);
        self.through();
        self.firewall(windows.firewall.as_ref());
    }

    /// Without Windows' answer there is the agent's word.
    fn hop_of_agent(&mut self, text: String) {
        match self.is_down() {
            true => self.fails(HopKind::Windows, &ON_WINDOWS, &text, STATUS),
            false => self.add(HopKind::Windows, HopResult::Unknown, text),
        }
    }

    fn guest(&mut self) {
        let hop = HopKind::Guest;
        if self.is_blocked(hop, &[HopKind::Service, HopKind::Here, HopKind::Relay]) {
            return;
        }
        match self.facts.windows_connects(WindowsEnd::Guest).next() {
            Some(end) => self.end(hop, end, &[Cause::NotReached], NOT_REACHED),
            None => self.add(hop, HopResult::Unknown, "Windows did not try it"),
        }
    }

    /// A connection from Windows, or a datagram.
    fn end(&mut self, hop: HopKind, end: &WindowsConnect, of: &[Cause], fix: &str) {
        let at = end.at();
        let udp = self.facts.protocol == Protocol::Udp;
        match end.reach() {
            Reach::Answers if !self.has(of) => {
                self.ok_in(hop, at.to_string(), Some(end.milliseconds));
            }
            Reach::TimedOut if udp => {
                self.add(
                    hop,
                    HopResult::Unknown,
                    format!("{at} does not refuse a datagram"),
                );
            }
            Reach::Unknown => self.add(hop, HopResult::Unknown, format!("{at} could not be tried")),
            Reach::Refused if udp => self.fails(hop, of, &format!("{at} refuses a datagram"), fix),
            reach => {
                let text = format!("from Windows {at} {}", reach.in_words());
                self.fails(hop, of, &text, fix);
            }
        }
    }

    /// Who has the port on Windows. Where the ports are shared none there may have it.
    fn port(&mut self, windows: &WindowsPort, nat: bool) {
        let (facts, hop) = (self.facts, HopKind::Windows);
        let owner = self.status().and_then(|one| one.owner.clone());
        if let Some(owner) = owner {
            let text = format!("a forward of {owner} has {}", facts.title());
            let fix = Code::ForwardOwned.remediation();
            return self.fails(hop, &[Cause::Health], &text, fix);
        }
        let taken = [Cause::Loop, Cause::WindowsProcess, Cause::ForeignRule];
        // Behind it the forward is down all the same, where the relay here fails.
        let relay = |one: &Hop| one.hop == HopKind::Relay && one.result == HopResult::Failed;
        let is_down = self.is_down() && !self.hops.iter().any(relay);
        if !nat {
            let wrong = [
                Cause::WindowsKeeps,
                Cause::WindowsProcess,
                Cause::ExcludedRange,
            ];
            // With other ports the relay's hop has said it.
            let unserved = self.is_down() && facts.listen_port == facts.connect_port;
            let text = format!("the agent says that {} is not served", facts.title());
            return if self.has(&wrong) || self.has(&taken) || unserved {
                self.fails(hop, &ON_WINDOWS, &text, STATUS);
            } else if windows.owners.is_none() {
                self.add(hop, HopResult::Unknown, UNREAD);
            } else {
                self.add(hop, HopResult::Ok, "no program of Windows has it");
            };
        }
        let at = facts.served_address();
        let rules = windows.rules_at(facts.listen_port.get());
        let (leading, stale): (Vec<_>, Vec<_>) = rules
            .filter(|one| one.ours)
            .partition(|one| facts.node.is_err() || facts.leads_here(one));
        let ours = !leading.is_empty();
        let is_ours = |one: &&PortOwner| {
            let serves = match &*one.process {
                "wslmesh-relay" => true,
                "svchost" => ours,
                _ => false,
            };
            serves && one.overlaps(at)
        };
        let listener = windows.owners.iter().flatten().find(is_ours);
        match listener.filter(|_| !self.has(&taken) && !is_down) {
            Some(one) => {
                let text = format!("{one} on {}:{}", one.address, facts.listen_port);
                self.add(hop, HopResult::Ok, text);
            }
            None if windows.owners.is_none() && !is_down => {
                self.add(hop, HopResult::Unknown, UNREAD);
            }
            None => {
                let at = SocketAddr::new(at, facts.listen_port.get());
                let text = match stale.first().zip(facts.at()) {
                    Some((rule, to)) => format!("the port proxy rule {rule} does not lead to {to}"),
                    None => format!("nothing of wslmesh listens on {at} on Windows"),
                };
                self.fails(hop, &ON_WINDOWS, &text, STATUS);
            }
        }
    }

    /// The whole way, by each family that is listened on.
    fn through(&mut self) {
        // Of both ends of a family one says something of these hops, which is judged below.
        let silent = [Cause::WindowsSilent, Cause::NetworkSilent];
        self.causes.retain(|(cause, _)| !silent.contains(cause));
        let ends = self.facts.windows_through();
        if ends.is_empty() && !self.is_through_blocked(HopKind::Through) {
            let text = "in mirrored mode Windows reaches this distribution by 127.0.0.1 alone, unless hostAddressLoopback is on";
            self.add(HopKind::Through, HopResult::Unknown, text);
        }
        for end in ends {
            let hop = match end.address {
                IpAddr::V4(_) => HopKind::Through,
                IpAddr::V6(_) => HopKind::ThroughIpv6,
            };
            if self.is_through_blocked(hop) {
                continue;
            }
            match self.facts.protocol {
                Protocol::Udp => self.datagram_through(hop, end),
                Protocol::Tcp => self.connection_through(hop, end),
            }
        }
    }

    fn is_through_blocked(&mut self, hop: HopKind) -> bool {
        let before = [
            HopKind::Service,
            HopKind::Here,
            HopKind::Relay,
            HopKind::Guest,
            HopKind::Windows,
        ];
        self.is_blocked(hop, &before)
    }

    fn datagram_through(&mut self, hop: HopKind, end: &WindowsConnect) {
        let at = end.at();
        match (self.facts.tested.counted, end.reach()) {
            (Some(true), Reach::TimedOut | Reach::Answers) => {
                let text = format!(
                    "the relay took a datagram to {at} from Windows and passed it on; no answer is to be expected"
                );
                self.add(hop, HopResult::Ok, text);
            }
            (Some(false), Reach::TimedOut) => {
                let text =
                    format!("the relay did not count the datagram that Windows sent to {at}");
                self.fails(hop, &[], &text, NOT_THROUGH);
            }
            _ => self.end(hop, end, &[], NOT_THROUGH),
        }
    }

    fn connection_through(&mut self, hop: HopKind, end: &WindowsConnect) {
        let (facts, at) = (self.facts, end.at());
        if let Some(what) = facts.wrong_with(end) {
            let text = format!("on Windows {at} {what}");
            return self.fails(hop, &[], &text, NOT_THROUGH);
        }
        if !end.closed {
            return self.end(hop, end, &[], NOT_THROUGH);
        }
        if facts.tested.counted == Some(true) {
            let text = format!("{at}; the relay came to the service, which closed the connection");
            return self.ok_in(hop, text, Some(end.milliseconds));
        }
        let like = match facts.kept() {
            Some(Kept::Closed) => ", as the service does with one from here",
            _ => "; the service was not tried from here",
        };
        let text = format!("{at} accepts a connection and closes it at once{like}");
        self.add(hop, HopResult::Unknown, text);
    }

    /// The firewall's rules as they are read: no client of the network is at hand.
    fn firewall(&mut self, firewall: Option<&PortFirewall>) {
        let (facts, hop) = (self.facts, HopKind::Firewall);
        if facts.listen_address().is_loopback() {
            return;
        }
        if facts.served_address().is_loopback() {
            let text = "the relay listens on 127.0.0.1 alone until it is installed on Windows, so no other machine reaches it";
            self.fails(hop, &[], text, Code::RelayLoopback.remediation());
            return;
        }
        let Some(firewall) = firewall else {
            return self.add(hop, HopResult::Unknown, "Windows did not show its rules");
        };
        let wrong = [Cause::FirewallBlocks, Cause::FirewallLacks];
        let by_hand = facts
            .forward
            .as_ref()
            .is_some_and(|one| one.firewall == Firewall::None);
        if by_hand && !self.has(&[Cause::FirewallBlocks]) && self.has(&wrong) {
            let found = self.take(&wrong);
            let distribution = self.status().and_then(|one| one.distribution.as_ref());
            let whose = match distribution {
                Some(name) => {
                    format!("the configuration of {name} says whether there is to be one")
                }
                None => "firewall = \"none\" leaves it to you".to_owned(),
            };
            let text = found.map(|one| format!("{}; {whose}", one.detail));
            return self.add(hop, HopResult::Unknown, text.unwrap_or_default());
        }
        if self.has(&wrong) {
            return self.fails(hop, &wrong, "", "");
        }
        let by = match firewall.allows.first() {
            Some(name) => format!("let in by {:?}", &**name),
            None => "it is off, or lets all in".to_owned(),
        };
        let text = format!(
            "{by} (networks: {}); read, not tried",
            list(&firewall.profiles)
        );
        self.add(hop, HopResult::Ok, text);
    }
}

#[cfg(test)]
mod tests;
