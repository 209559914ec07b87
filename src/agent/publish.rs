//! Publishing: the journal, the service manager, the status document, D-Bus.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    bus::Bus,
    config::Settings,
    control::Signal,
    model::{
        Action, Code, Fact, FactKey, Finding, ForwardState, ForwardStatus, HostMemory,
        InterfaceName, Link, LinkKind, Mesh, MeshChange, ModeState, Node, RelayLocation,
        RelayMemory, Severity, micros, or_empty,
    },
    observe,
    plan::{Group, PortWay},
    report::{
        Changes, DnsEntry, Document, Forwards, LifetimeEntry, LinkEntry, Manager, MemberEntry,
        Numbers, PortEntry, RecoveryEntry, RelayEntry, RestoredEntry, STATUS_VERSION, Tracker,
        TunnelEntry, read_status, write_status,
    },
};

/// What there is to publish of one pass.
pub(super) struct Pass<'a> {
    pub(super) settings: &'a Settings,
    pub(super) mode: &'a ModeState,
    pub(super) host: &'a HostMemory,
    /// The distributions that are served.
    pub(super) group: &'a Group,
    /// All interfaces; `None` where the kernel did not answer.
    pub(super) links: Option<&'a [Link]>,
    /// Ports of WireGuard before it.
    pub(super) ports: Vec<(InterfaceName, u16, PortWay)>,
    /// The state of name resolution.
    pub(super) dns: DnsEntry,
    /// The changes made.
    pub(super) changes: &'a [String],
    pub(super) took: Duration,
}

/// What was published last, and where to publish.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    runtime: PathBuf,
    /// Published on too, once it is there.
    pub(super) bus: Option<Bus>,
    tracker: Tracker,
    /// The last node, which may have lost its address.
    pub(super) node: Option<Node>,
    /// Its address; `None` while it has none.
    address: Option<IpAddr>,
    /// The address that was published last.
    published: Option<IpAddr>,
    /// The tunnels; of each fact that is not known now the last one.
    pub(super) mesh: Mesh,
    /// The tunnels that were published last; nothing before the first pass.
    published_mesh: Option<Mesh>,
    pub(super) forwards: Vec<ForwardStatus>,
    /// The tunnel to Windows.
    pub(super) tunnel: Option<TunnelEntry>,
    /// What becomes of this distribution when it is idle.
    pub(super) lifetime: Option<LifetimeEntry>,
    /// The last recovery.
    resumed: Option<RecoveryEntry>,
    /// What was lost on Windows last.
    restored: Option<RestoredEntry>,
    /// What is counted.
    pub(super) numbers: Numbers,
    passes: u64,
    /// Why the status document was not written the last time.
    unwritable: Option<Finding>,
}

impl Publisher {
    /// Nothing is published yet; the status document goes into this folder.
    pub(super) fn new(runtime: PathBuf) -> Self {
        Self {
            runtime,
            numbers: Numbers::since(observe::now_unix()),
            ..Self::default()
        }
    }

    /// The findings in force.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.tracker.findings()
    }

    /// Takes what was lost on Windows and made again.
    pub(super) fn restored(&mut self, lost: &[String]) {
        let before = self.restored.as_ref();
        self.restored = Some(RestoredEntry {
            unix: observe::now_unix(),
            lost: lost.to_vec(),
            times: before.map_or(1, |before| before.times.saturating_add(1)),
        });
    }

    /// Takes what a plan says of the node, the tunnels and the forwards.
    pub(super) fn decided(
        &mut self,
        node: Option<Node>,
        mesh: Mesh,
        forwards: Option<Vec<ForwardStatus>>,
    ) {
        for (key, mut fact) in mesh {
            let known = self.mesh.remove(&key).and_then(|known| known.interface);
            fact.interface = fact.interface.or(known);
            self.mesh.insert(key, fact);
        }
        self.address = node.as_ref().map(Node::address);
        // Without an address the interface has no node: it is that of the last one.
        self.node = node.or(self.node.take());
        if let Some(forwards) = forwards {
            self.forwards = forwards;
        }
    }

    /// Takes the last recovery.
    pub(super) fn recovered(&mut self, last: Option<&RecoveryEntry>) {
        if let Some(entry) = last.filter(|last| self.resumed.as_ref() != Some(last)) {
            self.numbers.recovered(entry);
            self.resumed = Some(entry.clone());
        }
    }

    /// Publishes a pass everywhere; gives back the journal's lines.
    pub(super) fn publish(
        &mut self,
        pass: &Pass<'_>,
        findings: Vec<Finding>,
        manager: &mut Manager,
    ) -> Vec<String> {
        self.passes += 1;
        self.numbers.passed(pass.took, self.address, Instant::now());
        let mut signals = Vec::new();
        let mut lines = Vec::from_iter(self.publish_changes(pass, &mut signals));
        for change in self.mesh_changes() {
            lines.push(publish_mesh(&change));
            signals.push(Signal::MeshChanged(change));
        }
        let mut document = self.write(pass, &findings, &mut lines, &mut signals);
        let before = self.unwritable.take();
        self.unwritable = document.1.take();
        if self.unwritable != before {
            // It is a finding itself, or no longer.
            document = self.write(pass, &findings, &mut lines, &mut signals);
        }
        manager.status(&self.status_line(pass.mode));
        if let Some(bus) = &self.bus {
            bus.publish(document.0, signals);
        }
        lines
    }

    /// Takes the findings and writes the status document; gives it back, with what kept it
    /// from being written.
    fn write(
        &mut self,
        pass: &Pass<'_>,
        findings: &[Finding],
        lines: &mut Vec<String>,
        signals: &mut Vec<Signal>,
    ) -> (Document, Option<Finding>) {
        let findings = findings.iter().chain(&self.unwritable);
        let findings: Vec<Finding> = findings.cloned().collect();
        let changes = self.tracker.update(findings);
        lines.extend(publish_health(&changes));
        let raised = changes.raised.iter();
        let raised = raised.map(|one| Signal::HealthRaised(one.into()));
        let cleared = changes.cleared.into_iter();
        let cleared = cleared.map(|one| Signal::HealthCleared {
            code: one.code.to_string(),
            subject: one.subject,
        });
        signals.extend(raised.chain(cleared));
        let document = self.document(pass);
        let failed = write_status(&self.runtime, &document).err();
        let failed =
            failed.map(|error| Finding::new(Code::StatusUnwritable, "", error.to_string()));
        (document, failed)
    }

    /// One line for a pass that did something.
    fn publish_changes(&mut self, pass: &Pass<'_>, signals: &mut Vec<Signal>) -> Option<String> {
        let (old, new) = (self.published, self.address);
        let interface = self.node.as_ref().map(|node| node.link.name.to_string());
        let mut parts = Vec::new();
        if old != new {
            let interface = interface.clone().unwrap_or_default();
            parts.push(match (old, new) {
                (Some(old), Some(new)) => {
                    let why = match (old, new) {
                        (IpAddr::V6(_), IpAddr::V4(_)) => " (IPv4 comes first)",
                        (IpAddr::V4(_), IpAddr::V6(_)) => " (no usable IPv4)",
                        _ => "",
                    };
                    format!("{interface} address {old} -> {new}{why}")
                }
                (Some(old), None) => format!("{interface} address {old} is lost"),
                (None, new) => format!("{interface} address {}", or_empty(new)),
            });
            signals.push(Signal::AddressChanged {
                interface,
                old: or_empty(old),
                new: or_empty(new),
            });
            self.published = new;
        }
        parts.extend_from_slice(pass.changes);
        if parts.is_empty() {
            return None;
        }
        let line = parts.join("; ");
        let duration_us = micros(pass.took);
        tracing::info!(
            event = "pass",
            mode = %pass.mode,
            interface,
            address_old = old.map(|old| old.to_string()),
            address_new = new.map(|new| new.to_string()),
            duration_us,
            "{line} ({:.1} ms)",
            pass.took.as_secs_f64() * 1e3
        );
        signals.push(Signal::Changed {
            changes: parts,
            duration_us,
        });
        Some(line)
    }

    /// What changed of the tunnels since the last pass; nothing at the first one.
    fn mesh_changes(&mut self) -> Vec<MeshChange> {
        let before = self.published_mesh.replace(self.mesh.clone());
        let Some(mut before) = before else {
            return Vec::new();
        };
        let change = |(key, fact): (&FactKey, &Fact)| {
            let old = before.remove(key).unwrap_or_default().value;
            (old != fact.value).then(|| MeshChange {
                interface: or_empty(fact.interface.as_ref()),
                key: *key,
                old,
                new: fact.value.clone(),
            })
        };
        self.mesh.iter().filter_map(change).collect()
    }

    fn status_line(&self, mode: &ModeState) -> String {
        let address = self
            .address
            .map_or_else(|| "no address".to_owned(), |address| address.to_string());
        let is_up = |forward: &&ForwardStatus| forward.state == ForwardState::Up;
        let forwards = match self.forwards.iter().filter(is_up).count() {
            0 => String::new(),
            up => format!(", {up} forwarded"),
        };
        let degraded: Vec<&str> = self
            .tracker
            .listed()
            .filter(|finding| finding.code.severity() > Severity::Info)
            .map(|finding| finding.code.as_str())
            .collect();
        let health = if degraded.is_empty() {
            "healthy".to_owned()
        } else {
            format!("degraded: {}", degraded.join(", "))
        };
        format!("{address} ({mode}){forwards}, {health}")
    }

    /// Ports of WireGuard after the pass, which may have claimed some.
    fn ports(&self, pass: &Pass<'_>) -> Vec<PortEntry> {
        let entry = |(device, port, way): &(InterfaceName, u16, PortWay)| {
            let (mut word, mut detail) = (way.word(), way.to_string());
            if let PortWay::Due(claim) = way {
                let action = Action::ClaimPort(claim.clone());
                let refused = |one: &&Finding| {
                    one.code == Code::WireguardPortRefused && one.subject == action.key()
                };
                if pass.changes.contains(&action.to_string()) {
                    (word, detail) = (PortWay::Claimed.word(), PortWay::Claimed.to_string());
                } else if let Some(refused) = self.findings().find(refused) {
                    // The device and the port are beside it.
                    let what = format!("{device} port {port}: ");
                    let why = refused.detail.strip_prefix(&what);
                    (word, detail) = ("refused", why.unwrap_or(&refused.detail).to_owned());
                }
            }
            PortEntry {
                device: device.to_string(),
                port: *port,
                way: word.to_owned(),
                detail,
            }
        };
        pass.ports.iter().map(entry).collect()
    }

    fn document(&self, pass: &Pass<'_>) -> Document {
        // Neither is known where the kernel did not answer.
        let address = self.address.filter(|_| pass.links.is_some());
        let node = self.node.as_ref().filter(|_| address.is_some());
        // As Windows read them back: where it may not change them, they lead to
        // an earlier address.
        let rules = &pass.host.facts.rules;
        let confirmed = pass.host.settled.as_ref().and(rules.first());
        Document {
            requested_mode: pass.host.requested_mode.map(|mode| mode.to_string()),
            interface: node.map(|node| node.link.name.to_string()),
            interface_reason: node.and_then(|node| node.reason.clone()),
            address,
            gateway: node.and_then(|node| node.gateway),
            links: links(pass, node),
            wireguard_ports: self.ports(pass),
            dns: Some(pass.dns.clone()),
            tunnel: self.tunnel.clone(),
            lifetime: self.lifetime.clone(),
            network_file: pass.settings.config_file.clone(),
            forwards: confirmed.map(|first| Forwards {
                count: rules.len(),
                connect_address: *first.connect.ip(),
            }),
            served: self.forwards.clone(),
            distribution: Some(pass.group.own.clone()).filter(|own| !own.is_empty()),
            members: pass
                .group
                .members
                .iter()
                .map(|member| MemberEntry {
                    distribution: member.distribution.clone(),
                    forwards: member.forwards.len(),
                    registered: member.forwards.clone(),
                    discovered: member.discovered.clone(),
                })
                .collect(),
            relay: relay(&pass.host.relay),
            loopback_relay: relay(&pass.host.loopback),
            windows_address: pass.host.facts.windows_address,
            lowest_mtu: pass.host.facts.lowest_mtu.clone(),
            guest_firewall: pass.host.facts.guest_firewall,
            resumed: self.resumed.clone(),
            restored: self.restored.clone(),
            numbers: Some(self.numbers.clone()),
            passes: self.passes,
            last_pass_us: micros(pass.took),
            health: self.tracker.listed().map(Into::into).collect(),
            unlisted: self.tracker.unlisted(),
            ..empty("active", pass.mode)
        }
    }
}

/// A relay that has something to do.
fn relay(memory: &RelayMemory) -> Option<RelayEntry> {
    memory.wanted.as_ref().map(|wanted| RelayEntry {
        location: match &wanted.location {
            RelayLocation::Installed { program, .. } => program.to_string(),
            RelayLocation::Unpacked(folder) => folder.to_string(),
            RelayLocation::Guest => "guest".to_owned(),
        },
        applied: memory.applied,
        sessions: memory.sessions,
        counters: memory.counted.clone(),
    })
}

/// A document that says nothing yet.
fn empty(role: &str, mode: &ModeState) -> Document {
    Document {
        version: STATUS_VERSION,
        pid: std::process::id(),
        role: role.to_owned(),
        mode: mode.to_string(),
        ..Document::default()
    }
}

/// The watched interface first, then the tunnels that [mtu] or [wireguard] names.
fn links(pass: &Pass<'_>, node: Option<&Node>) -> Vec<LinkEntry> {
    let settings = pass.settings;
    let all = pass.links.unwrap_or_default();
    let watched = node.map(|node| node.link.index);
    let is_watched = |link: &&Link| Some(link.index) == watched;
    let is_tunnel = |link: &&Link| {
        let named = settings.mtu_interfaces.covers(link)
            || link.kind.is_wireguard() && settings.wireguard_interfaces.covers(link);
        named && link.kind != LinkKind::Loopback && !is_watched(link)
    };
    let tunnels = all.iter().filter(is_tunnel);
    let watched = all.iter().filter(is_watched);
    watched.chain(tunnels).map(LinkEntry::from).collect()
}

/// The line of a change of a tunnel.
fn publish_mesh(change: &MeshChange) -> String {
    let line = change.to_string();
    tracing::info!(
        event = "mesh",
        key = %change.key,
        interface = change.interface,
        old = change.old,
        new = change.new,
        "{line}"
    );
    line
}

/// One line for each finding that is raised or cleared.
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
        let line = format!("{} cleared", finding.title());
        tracing::info!(event = "health-cleared", health, subject, "{line}");
        lines.push(line);
    }
    lines
}

/// What an agent on standby says without its forwards.
pub(super) fn standby_document<'a>(findings: impl Iterator<Item = &'a Finding>) -> Document {
    Document {
        health: findings.map(Into::into).collect(),
        ..empty("standby", &ModeState::Pending)
    }
}

/// Publishes the status of an agent on standby.
pub(super) fn publish_standby(runtime: &Path, bus: &Bus, document: Document) {
    // Two agents of one distribution share the folder: a running leader's document
    // stays.
    let other = read_status(runtime).ok().flatten();
    if other.is_none_or(|other| other.pid == document.pid || !other.is_alive()) {
        write_status(runtime, &document).unwrap_or_default();
    }
    bus.publish(document, Vec::new());
}
