//! Publishing: the journal, the service manager, the status document.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use super::{machine::Machine, reconcile::Agent};
use crate::{
    bus::Bus,
    config::Settings,
    control::Signal,
    model::{
        Finding, Link, LinkKind, ModeState, Observation, RelayPlace, Served, ServedState, Severity,
        micros,
    },
    paths::Paths,
    plan,
    report::{
        Changes, Document, Forwards, LinkEntry, Manager, RelayEntry, STATUS_VERSION, read_status,
        write_status,
    },
};

impl<M: Machine> Agent<M> {
    /// One line for a pass that did something.
    pub(super) fn say(
        &mut self,
        seen: &Observation,
        changes: &[String],
        took: Duration,
    ) -> Option<String> {
        let node = plan::node(&self.settings, seen).ok();
        let (old, new) = (self.address, node.as_ref().map(plan::Node::address));
        // Without an address the interface has no node: it is that of the last one.
        let interface = match (&node, &self.place) {
            (Some(node), _) => Some(node.link.name.to_string()),
            (None, place) => place.as_ref().map(|place| place.interface.to_string()),
        };
        let mut parts = Vec::new();
        if old != new {
            let text =
                |address: Option<Ipv4Addr>| address.map(|a| a.to_string()).unwrap_or_default();
            let name = interface.clone().unwrap_or_default();
            parts.push(match (old, new) {
                (Some(old), Some(new)) => format!("{name} address {old} -> {new}"),
                (Some(old), None) => format!("{name} address {old} is lost"),
                (None, _) => format!("{name} address {}", text(new)),
            });
            self.signals.push(Signal::AddressChanged {
                interface: name,
                old: text(old),
                new: text(new),
            });
            self.address = new;
        }
        parts.extend(changes.iter().cloned());
        if parts.is_empty() {
            return None;
        }
        let line = parts.join("; ");
        self.signals.push(Signal::Changed {
            changes: parts,
            duration_us: micros(took),
        });
        tracing::info!(
            event = "pass",
            mode = %seen.mode,
            interface,
            address_old = old.map(|old| old.to_string()),
            address_new = new.map(|new| new.to_string()),
            duration_us = micros(took),
            "{line} ({:.1} ms)",
            took.as_secs_f64() * 1e3
        );
        Some(line)
    }

    /// Tells everybody how things are; gives back the journal's lines.
    pub(super) fn publish(
        &mut self,
        seen: Option<&Observation>,
        findings: Vec<Finding>,
        took: Duration,
        manager: &mut Manager,
    ) -> Vec<String> {
        let changes = self.tracker.update(findings);
        let lines = publish_health(&changes);
        let Changes { raised, cleared } = changes;
        self.signals
            .extend(raised.iter().map(|one| Signal::HealthRaised(one.into())));
        self.signals
            .extend(cleared.into_iter().map(|one| Signal::HealthCleared {
                code: one.code.to_string(),
                subject: one.subject,
            }));
        if let Some(served) = seen.and_then(|seen| plan::served(&self.settings, seen)) {
            self.served = served;
        }
        manager.status(&self.status_line());
        let document = self.document(seen, took);
        match write_status(&self.paths.runtime, &document) {
            Ok(()) => self.status_works = true,
            Err(error) => {
                if std::mem::replace(&mut self.status_works, false) {
                    tracing::info!(event = "status", "no status document: {error}");
                }
            }
        }
        let signals = std::mem::take(&mut self.signals);
        if let Some(bus) = &self.bus {
            bus.publish(document, signals);
        }
        lines
    }

    fn status_line(&self) -> String {
        let address = self
            .address
            .map_or_else(|| "no address".to_owned(), |address| address.to_string());
        let is_up = |served: &&Served| served.state == ServedState::Up;
        let up = self.served.iter().filter(is_up).count();
        let forwards = if up > 0 {
            format!(", {up} forwarded")
        } else {
            String::new()
        };
        let troubles: Vec<&str> = self
            .tracker
            .findings()
            .filter(|finding| finding.code.severity() > Severity::Info)
            .map(|finding| finding.code.as_str())
            .collect();
        let health = if troubles.is_empty() {
            "healthy".to_owned()
        } else {
            format!("degraded: {}", troubles.join(", "))
        };
        format!("{address} ({}){forwards}, {health}", self.mode)
    }

    fn document(&self, seen: Option<&Observation>, took: Duration) -> Document {
        let node = seen.and_then(|seen| plan::node(&self.settings, seen).ok());
        // As Windows read them back: where it may not change them, they lead to
        // an earlier address.
        let rules = &self.host.facts.rules;
        let confirmed = self.host.settled.as_ref().and(rules.first());
        let relay = &self.host.relay;
        Document {
            version: STATUS_VERSION,
            pid: std::process::id(),
            role: "active".to_owned(),
            mode: self.mode.to_string(),
            interface: node.as_ref().map(|node| node.link.name.to_string()),
            address: node.as_ref().map(plan::Node::address),
            gateway: node.as_ref().and_then(|node| node.gateway),
            links: seen.map_or_else(Vec::new, |seen| links(&self.settings, seen, node.as_ref())),
            wireguard: None,
            network_file: self.settings.config_file.clone(),
            forwards: confirmed.map(|first| Forwards {
                count: rules.len(),
                connect_address: *first.connect.ip(),
            }),
            served: self.served.iter().map(Into::into).collect(),
            relay: relay.wanted.as_ref().map(|wanted| RelayEntry {
                place: match &wanted.place {
                    RelayPlace::Installed { program, .. } => program.to_string(),
                    RelayPlace::Unpacked(folder) => folder.to_string(),
                    RelayPlace::Guest => "guest".to_owned(),
                },
                applied: relay.applied,
                sessions: relay.sessions,
                counters: relay.counted.clone(),
            }),
            windows_address: self.host.facts.windows_address,
            passes: self.passes,
            last_pass_us: micros(took),
            health: self.tracker.findings().map(Into::into).collect(),
        }
    }
}

/// The watched interface first, then the tunnels that [mtu] or [wireguard] names.
fn links(settings: &Settings, seen: &Observation, node: Option<&plan::Node>) -> Vec<LinkEntry> {
    let watched = node.map(|node| node.link.index);
    let is_watched = |link: &&Link| Some(link.index) == watched;
    let is_tunnel = |link: &&Link| {
        let named = settings.mtu_interfaces.matches(&link.name)
            || link.kind.is_wireguard() && settings.wireguard_interfaces.matches(&link.name);
        named && link.kind != LinkKind::Loopback && !is_watched(link)
    };
    let tunnels = seen.links.iter().filter(is_tunnel);
    let watched = seen.links.iter().filter(is_watched);
    watched.chain(tunnels).map(LinkEntry::from).collect()
}

/// One line for each finding that is new or over.
pub(super) fn publish_health(changes: &Changes) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &changes.raised {
        let (health, subject) = (finding.code.as_str(), finding.subject.as_str());
        let line = finding.to_string();
        match finding.code.severity() {
            Severity::Error => tracing::error!(event = "health", health, subject, "{line}"),
            Severity::Warning => tracing::warn!(event = "health", health, subject, "{line}"),
            Severity::Info => tracing::info!(event = "health", health, subject, "{line}"),
        }
        lines.push(line);
    }
    for finding in &changes.cleared {
        let (health, subject) = (finding.code.as_str(), finding.subject.as_str());
        let line = if subject.is_empty() {
            format!("{health} cleared")
        } else {
            format!("{health} ({subject}) cleared")
        };
        tracing::info!(event = "health-cleared", health, subject, "{line}");
        lines.push(line);
    }
    lines
}

/// The status document of an agent that stands by.
pub(super) fn publish_standby(paths: &Paths, finding: &Finding, bus: &Bus) {
    let document = Document {
        version: STATUS_VERSION,
        pid: std::process::id(),
        role: "standby".to_owned(),
        mode: ModeState::Pending.to_string(),
        interface: None,
        address: None,
        gateway: None,
        links: Vec::new(),
        wireguard: None,
        network_file: PathBuf::new(),
        forwards: None,
        served: Vec::new(),
        relay: None,
        windows_address: None,
        passes: 0,
        last_pass_us: 0,
        health: vec![finding.into()],
    };
    // Two agents of one distribution share the folder: a living leader's document
    // stays.
    let other = read_status(&paths.runtime).ok().flatten();
    if other.is_none_or(|other| other.pid == document.pid || !other.is_alive()) {
        write_status(&paths.runtime, &document).unwrap_or_default();
    }
    bus.publish(document, Vec::new());
}
