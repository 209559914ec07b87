//! One rule of nftables: which packets it is for, as far as ports, addresses and interfaces
//! go, and what it does with them (include/uapi/linux/netfilter/nf_tables.h). What it matches
//! besides that is taken as met.

use std::{collections::BTreeMap, net::Ipv4Addr};

use rtnetlink::packet_core::NlasIterator;

use crate::{model::Protocol, netlink::index_of};

/// A chain or a set: family, table and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chain {
    family: u8,
    pub(super) table: String,
    pub(super) name: String,
}

impl Chain {
    /// Of the attributes with these numbers; only where it is for IPv4.
    pub(super) fn of(family: u8, attributes: &[u8], table: u16, name: u16) -> Option<Self> {
        const INET: u8 = 1;
        const IPV4: u8 = 2;
        Some(Self {
            family: Some(family).filter(|family| [INET, IPV4].contains(family))?,
            table: text(attribute(attributes, table)?)?,
            name: text(attribute(attributes, name)?)?,
        })
    }

    /// Another one of the same table.
    pub(super) fn beside(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// The question for the elements of the set of this name.
    pub(super) fn question(&self) -> Vec<u8> {
        let mut question = vec![self.family, 0, 0, 0];
        for (kind, name) in [(1_u16, &self.table), (2, &self.name)] {
            let length = u16::try_from(4 + name.len() + 1).unwrap_or(u16::MAX);
            question.extend(length.to_ne_bytes());
            question.extend(kind.to_ne_bytes());
            question.extend(name.as_bytes());
            question.push(0);
            question.resize(question.len().next_multiple_of(4), 0);
        }
        question
    }
}

/// Which packets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Matches {
    /// Number of the protocol.
    pub(super) protocol: Option<u8>,
    /// Their ports; all where `None`.
    pub(super) ports: Option<Vec<(u16, u16)>>,
    /// Where they go.
    pub(super) address: Option<Ipv4Addr>,
    /// The index of the interface by which they come.
    pub(super) interface: Option<u32>,
    /// Whether no packet from another machine to this one is among them.
    pub(super) never: bool,
}

impl Matches {
    /// Those that are in both; `None` where there are none.
    pub(super) fn with(&self, other: &Self) -> Option<Self> {
        fn both<T: PartialEq + Copy>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
            match (one, other) {
                (Some(one), Some(other)) if one != other => None,
                (one, other) => Some(one.or(other)),
            }
        }
        let ports = match (&self.ports, &other.ports) {
            (Some(ours), Some(theirs)) => {
                let theirs = |(first, last): &(u16, u16)| {
                    let (first, last) = (*first, *last);
                    let cut = move |one: &(u16, u16)| (one.0.max(first), one.1.min(last));
                    theirs.iter().map(cut).filter(|(first, last)| first <= last)
                };
                Some(ours.iter().flat_map(theirs).collect())
            }
            (ours, theirs) => ours.clone().or(theirs.clone()),
        };
        let both = Self {
            protocol: both(self.protocol, other.protocol)?,
            address: both(self.address, other.address)?,
            interface: both(self.interface, other.interface)?,
            ports,
            never: self.never || other.never,
        };
        (!both.never).then_some(both)
    }

    pub(super) fn protocol(&self) -> Option<Protocol> {
        match self.protocol {
            Some(6) => Some(Protocol::Tcp),
            Some(17) => Some(Protocol::Udp),
            Some(_) | None => None,
        }
    }

    fn narrow(&mut self, first: u16, last: u16) {
        let (from, to) = self
            .ports
            .as_ref()
            .and_then(|ports| ports.first().copied())
            .unwrap_or((0, u16::MAX));
        self.ports = Some(vec![(from.max(first), to.min(last))]);
    }
}

/// What is done with the packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They go through this chain of the same table.
    Chain(String),
    /// They go to another address, if the rule says which.
    Dnat(Option<Ipv4Addr>),
    /// Something that publishes no port.
    Other,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) matches: Matches,
    /// The set or map in which their ports are.
    pub(super) set: Option<String>,
    pub(super) verdict: Verdict,
}

/// What a register has.
#[derive(Debug, Clone)]
enum Loaded {
    Protocol,
    Port,
    Address,
    Interface,
    InterfaceIndex,
    Value(Vec<u8>),
}

impl Rule {
    /// Reads a rule's attributes; `None` where it does nothing that matters here.
    pub(super) fn parse(attributes: &[u8]) -> Option<Self> {
        const EXPRESSIONS: u16 = 4;
        const NAME: u16 = 1;
        const DATA: u16 = 2;
        let mut rule = Self {
            matches: Matches::default(),
            set: None,
            verdict: Verdict::Other,
        };
        let mut registers = BTreeMap::new();
        for expression in NlasIterator::new(attribute(attributes, EXPRESSIONS)?).flatten() {
            let name = attribute(expression.value(), NAME).and_then(text)?;
            let data = attribute(expression.value(), DATA).unwrap_or_default();
            rule.expression(&name, data, &mut registers);
        }
        (rule.verdict != Verdict::Other).then_some(rule)
    }

    fn expression(&mut self, name: &str, data: &[u8], registers: &mut BTreeMap<u32, Loaded>) {
        let number = |kind| attribute(data, kind).and_then(number);
        match name {
            // Key, and the register that it goes to.
            "meta" => {
                let loaded = match number(2) {
                    Some(4) => Some(Loaded::InterfaceIndex),
                    Some(6) => Some(Loaded::Interface),
                    Some(16) => Some(Loaded::Protocol),
                    _ => None,
                };
                load(registers, number(1), loaded);
            }
            // Which header, offset and length.
            "payload" => {
                let loaded = match (number(2), number(3), number(4)) {
                    (Some(2), Some(2), Some(2)) => Some(Loaded::Port),
                    (Some(1), Some(16), Some(4)) => Some(Loaded::Address),
                    (Some(1), Some(9), Some(1)) => Some(Loaded::Protocol),
                    _ => None,
                };
                load(registers, number(1), loaded);
            }
            "cmp" => {
                let value = attribute(data, 3).and_then(|value| attribute(value, 1));
                let loaded = number(1).and_then(|register| registers.get(&register));
                if let (Some(loaded), Some(value), Some(how)) = (loaded, value, number(2)) {
                    self.compare(loaded, how, value);
                }
            }
            "range" => {
                let loaded = number(1).and_then(|register| registers.get(&register));
                let end = |kind| {
                    attribute(data, kind)
                        .and_then(|one| attribute(one, 1))
                        .and_then(port)
                };
                if let (Some(Loaded::Port), Some(0), Some(first), Some(last)) =
                    (loaded, number(2), end(3), end(4))
                {
                    self.matches.narrow(first, last);
                }
            }
            // Set, register; what a map gives is not known here.
            "lookup" => {
                let loaded = number(2).and_then(|register| registers.get(&register));
                let inverted = number(5).is_some_and(|flags| flags & 1 == 1);
                if let (Some(Loaded::Port), false) = (loaded, inverted) {
                    self.set = attribute(data, 1).and_then(text);
                }
                load(registers, number(3), None);
            }
            "immediate" => {
                let value = attribute(data, 2).unwrap_or_default();
                let bytes = attribute(value, 1).map(|bytes| Loaded::Value(bytes.to_vec()));
                load(registers, number(1), bytes);
                // NFT_JUMP and NFT_GOTO.
                let verdict = attribute(value, 2);
                let code = verdict.and_then(|verdict| attribute(verdict, 1));
                let chain = verdict
                    .and_then(|verdict| attribute(verdict, 2))
                    .and_then(text);
                let follows = code
                    .is_some_and(|code| [-3_i32, -4].iter().any(|one| code == one.to_be_bytes()));
                if let (true, Some(chain)) = (follows, chain) {
                    self.verdict = Verdict::Chain(chain);
                }
            }
            // NFT_NAT_DNAT, and the register with the address.
            "nat" if number(1) == Some(1) => {
                let to = number(3).and_then(|register| match registers.get(&register)? {
                    Loaded::Value(bytes) => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
                    _ => None,
                });
                self.verdict = Verdict::Dnat(to);
            }
            "match" => self.extension(data),
            "target" if attribute(data, 1).and_then(text).as_deref() == Some("DNAT") => {
                self.verdict = Verdict::Dnat(target(number(2), attribute(data, 3)));
            }
            _ => {}
        }
    }

    /// NFT_CMP_EQ, NEQ, LT, LTE, GT, GTE.
    fn compare(&mut self, loaded: &Loaded, how: u32, value: &[u8]) {
        match (loaded, how) {
            (Loaded::Port, _) => {
                let Some(port) = port(value) else { return };
                let (first, last) = match how {
                    0 => (port, port),
                    2 => (0, port.saturating_sub(1)),
                    3 => (0, port),
                    4 => (port.saturating_add(1), u16::MAX),
                    5 => (port, u16::MAX),
                    _ => return,
                };
                self.matches.narrow(first, last);
            }
            (Loaded::Protocol, 0) => self.matches.protocol = value.first().copied(),
            (Loaded::Address, 0) => {
                let address = value.first_chunk::<4>().copied().map(Ipv4Addr::from);
                self.matches.never |= address.is_none_or(|address| address.is_loopback());
                self.matches.address = address;
            }
            (Loaded::InterfaceIndex, 0) => {
                let index = value.first_chunk().copied().map(u32::from_ne_bytes);
                self.matches.interface = index;
            }
            // A name with its end; without it, it is the beginning of several names.
            (Loaded::Interface, 0) if value.contains(&0) => {
                let name = text(value).unwrap_or_default();
                let index = index_of(&name).filter(|_| name != "lo");
                self.matches.never |= index.is_none();
                self.matches.interface = index;
            }
            _ => {}
        }
    }

    /// A match of iptables (include/uapi/linux/netfilter/xt_tcpudp.h, xt_multiport.h).
    fn extension(&mut self, data: &[u8]) {
        let half = |info: &[u8], at: usize| {
            let bytes = info
                .get(at..)
                .and_then(|rest| rest.first_chunk::<2>().copied());
            bytes.map(u16::from_ne_bytes)
        };
        let (name, info) = (attribute(data, 1).and_then(text), attribute(data, 3));
        let (Some(name), Some(info)) = (name, info) else {
            return;
        };
        const TO: u8 = 2;
        match name.as_str() {
            "tcp" | "udp" => {
                let inverted = info.get(if name == "tcp" { 11 } else { 8 });
                let is_plain = inverted.is_some_and(|flags| flags & TO == 0);
                if let (true, Some(first), Some(last)) = (is_plain, half(info, 4), half(info, 6))
                    && (first, last) != (0, u16::MAX)
                {
                    self.matches.narrow(first, last);
                }
            }
            "multiport" => {
                let [kind, count, rest @ ..] = info else {
                    return;
                };
                let count = usize::from(*count).min(15);
                // The destination's ports, not inverted.
                if *kind == 0 || rest.get(45) == Some(&1) {
                    return;
                }
                let mut ports = Vec::new();
                let mut places = 0..count;
                while let Some(place) = places.next() {
                    let Some(first) = half(rest, place * 2) else {
                        return;
                    };
                    let is_range = rest.get(30 + place) == Some(&1);
                    let last = is_range.then(|| places.next()).flatten();
                    let last = last
                        .and_then(|place| half(rest, place * 2))
                        .unwrap_or(first);
                    ports.push((first, last));
                }
                self.matches.ports = Some(ports);
            }
            _ => {}
        }
    }
}

/// Where the target DNAT of iptables leads (include/uapi/linux/netfilter/nf_nat.h).
fn target(revision: Option<u32>, info: Option<&[u8]>) -> Option<Ipv4Addr> {
    let (flags, address) = match revision {
        None | Some(0) => (4, 8),
        Some(_) => (0, 4),
    };
    let info = info?;
    let has_address = info
        .get(flags..)?
        .first_chunk()
        .copied()
        .map(u32::from_ne_bytes)?
        & 1
        == 1;
    let address = info.get(address..)?.first_chunk::<4>()?;
    has_address.then(|| Ipv4Addr::from(*address))
}

fn load(registers: &mut BTreeMap<u32, Loaded>, register: Option<u32>, loaded: Option<Loaded>) {
    match (register, loaded) {
        (Some(register), Some(loaded)) => drop(registers.insert(register, loaded)),
        (Some(register), None) => drop(registers.remove(&register)),
        (None, _) => {}
    }
}

/// The value of the first attribute of this number.
pub(super) fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let [a, b, c, d] = *rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = rest.get(4..length)?;
        // Two bits are flags.
        if u16::from_ne_bytes([c, d]) & 0x3FFF == kind {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// A text, up to its end.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    String::from_utf8(bytes.to_vec()).ok()
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

fn port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}
