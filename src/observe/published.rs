//! Ports that rules of the kernel pass on to a container (DNAT), for which no socket need
//! listen: how Docker, Podman, CNI's portmap plugin (containerd, nerdctl, CRI-O) and
//! kube-proxy publish ports. The rules are nftables' own, or those of iptables-nft in the
//! same tables; iptables-legacy has others, which only its own programs can read.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
};

use futures_util::FutureExt;
use rtnetlink::{
    packet_core::NlasIterator,
    sys::{AsyncSocket, AsyncSocketExt, TokioSocket, protocols::NETLINK_NETFILTER},
};
use rustix::io::Errno;

use super::{
    rule::{Chain, Matches, Rule, Verdict, attribute, text},
    sockets::dump,
};
use crate::{
    config::Discovery,
    model::{Listener, PortRange, Protocol},
};

/// Of include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h: the subsystem, with the
/// numbers of its questions, and the group of its announcements.
const NFTABLES: u16 = 10 << 8;
const GETCHAIN: u16 = NFTABLES | 4;
const GETRULE: u16 = NFTABLES | 7;
const GETSETELEM: u16 = NFTABLES | 13;
const NFNLGRP_NFTABLES: u32 = 7;
/// struct nfgenmsg, which begins each message.
const HEAD: usize = 4;

/// Most rules that are looked at, and steps from rule to rule.
const RULES: usize = 20_000;
const STEPS: usize = 200_000;
/// Most chains one below the other.
const DEEP: usize = 16;
/// Most ports.
const PORTS: usize = 1_000;

/// A port that a rule passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What made the rule, as far as its chain's name tells.
    pub by: String,
    /// Where it leads, if the rule says that itself.
    pub to: Option<Ipv4Addr>,
}

/// Announcements of changed rules.
pub struct RuleWatch(TokioSocket);

impl RuleWatch {
    /// Announces from now on.
    ///
    /// # Errors
    /// The kernel's refusal; one without nftables has no such socket.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_mut().add_membership(NFNLGRP_NFTABLES)?;
        Ok(Self(socket))
    }

    /// Waits for a change, and takes all that are announced by then. Cancel safe.
    ///
    /// # Errors
    /// The system's reason, where the socket fails.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut next = Some(self.0.recv_from_full().await);
        while let Some(received) = next {
            match received {
                Ok(_) => {}
                // Some were dropped.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {}
                Err(error) => return Err(error),
            }
            next = self.0.recv_from_full().now_or_never();
        }
        Ok(())
    }
}

/// The ports of `[discovery]` that rules pass on, for packets that come to IPv4 addresses of
/// this machine.
///
/// # Errors
/// The kernel's refusal.
pub fn published(discovery: &Discovery) -> io::Result<BTreeMap<Listener, Published>> {
    let mut tables = Tables::default();
    // All families in one answer each.
    let chains = dump(NETLINK_NETFILTER, GETCHAIN, &[0; HEAD], |answer| {
        tables
            .chains
            .extend(answer.get(HEAD..).and_then(|attributes| {
                let entrance = entrance(attributes)?;
                let chain = Chain::of(answer.first().copied()?, attributes, 1, 3)?;
                entrance.then_some(chain)
            }));
    });
    match chains.as_ref().map_err(Errno::from_io_error) {
        // A kernel without netfilter, or without nftables.
        Err(Some(Errno::PROTONOSUPPORT | Errno::INVAL)) => return Ok(BTreeMap::new()),
        _ => chains?,
    }
    if tables.chains.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut count = 0;
    dump(NETLINK_NETFILTER, GETRULE, &[0; HEAD], |answer| {
        count += 1;
        let rule = answer
            .first()
            .zip(answer.get(HEAD..))
            .filter(|_| count <= RULES);
        let rule = rule.and_then(|(family, attributes)| {
            Some((
                Chain::of(*family, attributes, 1, 2)?,
                Rule::parse(attributes)?,
            ))
        });
        if let Some((chain, rule)) = rule {
            tables.rules.entry(chain).or_default().push(rule);
        }
    })?;
    Ok(follow(&tables, discovery))
}

/// The ports that packets from outside may have when they come to a rule that passes them on.
fn follow(tables: &Tables, discovery: &Discovery) -> BTreeMap<Listener, Published> {
    let mut walk = Walk {
        tables,
        wanted: [Protocol::Tcp, Protocol::Udp].map(|one| (one, discovery.ports(one))),
        sets: BTreeMap::new(),
        left: STEPS,
        found: BTreeMap::new(),
    };
    for chain in &tables.chains {
        walk.chain(chain, &Matches::default(), &[]);
    }
    walk.found
}

/// Whether a chain sees packets that come to this machine before they are routed: of type
/// nat, at the hook prerouting.
fn entrance(attributes: &[u8]) -> Option<bool> {
    const HOOK: u16 = 4;
    const HOOK_NUMBER: u16 = 1;
    const TYPE: u16 = 7;
    let kind = attribute(attributes, TYPE).and_then(text);
    let hook = attribute(attributes, HOOK).and_then(|hook| attribute(hook, HOOK_NUMBER));
    Some(kind.as_deref() == Some("nat") && hook == Some(&[0; 4]))
}

/// Chains at which packets come in, and the rules of all.
#[derive(Debug, Default)]
struct Tables {
    chains: Vec<Chain>,
    rules: BTreeMap<Chain, Vec<Rule>>,
}

struct Walk<'a> {
    tables: &'a Tables,
    /// What may become a forward, by protocol.
    wanted: [(Protocol, Vec<PortRange>); 2],
    /// The ports in sets that were looked up.
    sets: BTreeMap<Chain, Vec<(u16, u16)>>,
    left: usize,
    found: BTreeMap<Listener, Published>,
}

impl Walk<'_> {
    /// Follows packets that match `so_far` through a chain; `above` are the chains before.
    fn chain(&mut self, chain: &Chain, so_far: &Matches, above: &[&Chain]) {
        let rules = self.tables.rules.get(chain).map_or(&[][..], Vec::as_slice);
        for rule in rules {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return;
            }
            let mut own = rule.matches.clone();
            if let Some(set) = &rule.set {
                own.ports = Some(self.set(&chain.beside(set)));
            }
            let Some(matches) = so_far.with(&own) else {
                continue;
            };
            match &rule.verdict {
                Verdict::Other => {}
                Verdict::Chain(name) if above.len() < DEEP => {
                    let next = chain.beside(name);
                    self.chain(&next, &matches, &[above, &[chain]].concat());
                }
                Verdict::Chain(_) => {}
                Verdict::Dnat(to) => {
                    let names = above.iter().copied().chain([chain]);
                    let by = maker(names);
                    self.publish(&matches, &Published { by, to: *to });
                }
            }
        }
    }

    /// The ports of the packets, as far as they may become forwards.
    fn publish(&mut self, matches: &Matches, published: &Published) {
        let (Some(protocol), Some(ports)) = (matches.protocol(), &matches.ports) else {
            return;
        };
        let wanted = self.wanted.iter().find(|(one, _)| *one == protocol);
        let wanted = wanted.map_or(&[][..], |(_, ranges)| ranges);
        for (first, last) in ports {
            for range in wanted {
                let both = (
                    range.first().get().max(*first),
                    range.last().get().min(*last),
                );
                let both = (both.0.try_into().ok(), both.1.try_into().ok());
                let (Some(first), Some(last)) = both else {
                    continue;
                };
                let ports = PortRange::try_from((first, last)).ok();
                for port in ports.into_iter().flat_map(PortRange::ports) {
                    if self.found.len() >= PORTS {
                        return;
                    }
                    let listener = Listener {
                        protocol,
                        port,
                        address: IpAddr::V4(matches.address.unwrap_or(Ipv4Addr::UNSPECIFIED)),
                        ipv6_only: false,
                        interface: matches.interface,
                    };
                    self.found
                        .entry(listener)
                        .or_insert_with(|| published.clone());
                }
            }
        }
    }

    /// The ports in a set or a map.
    fn set(&mut self, set: &Chain) -> Vec<(u16, u16)> {
        if let Some(known) = self.sets.get(set) {
            return known.clone();
        }
        let mut starts = Vec::new();
        let question = set.question();
        // A set that is gone by now has no ports.
        let read = dump(NETLINK_NETFILTER, GETSETELEM, &question, |answer| {
            starts.extend(elements(answer.get(HEAD..).unwrap_or_default()));
        });
        starts.sort_by_key(|(port, is_end)| (*port, !is_end));
        let mut ports = Vec::new();
        let mut all = starts.into_iter().filter(|_| read.is_ok()).peekable();
        while let Some((first, is_end)) = all.next() {
            if is_end {
                continue;
            }
            // In a set of ranges each is followed by the end of it, which is no longer in it.
            let end = all.next_if(|(_, is_end)| *is_end);
            ports.push((first, end.map_or(first, |(end, _)| end.saturating_sub(1))));
        }
        self.sets.insert(set.clone(), ports.clone());
        ports
    }
}

/// The keys that are ports, and whether each ends a range.
fn elements(attributes: &[u8]) -> impl Iterator<Item = (u16, bool)> {
    const ELEMENTS: u16 = 3;
    const KEY: u16 = 1;
    const VALUE: u16 = 1;
    const FLAGS: u16 = 3;
    let all = attribute(attributes, ELEMENTS).unwrap_or_default();
    NlasIterator::new(all).flatten().filter_map(|element| {
        let key = attribute(element.value(), KEY).and_then(|key| attribute(key, VALUE))?;
        let [high, low] = key else { return None };
        let flags = attribute(element.value(), FLAGS).and_then(|flags| flags.last());
        let is_end = flags.is_some_and(|flags| flags & 1 == 1);
        Some((u16::from_be_bytes([*high, *low]), is_end))
    })
}

/// What made a rule, by the names of its chains and their table.
fn maker<'a>(chains: impl Iterator<Item = &'a Chain>) -> String {
    const MAKERS: [(&str, &str); 4] = [
        ("docker", "docker"),
        ("netavark", "podman"),
        ("cni", "cni"),
        ("kube", "kubernetes"),
    ];
    let mut table = String::new();
    for chain in chains {
        let names = [&chain.table, &chain.name].map(|name| name.to_ascii_lowercase());
        let is_in = |(word, _): &&(&str, &str)| names.iter().any(|name| name.contains(word));
        if let Some((_, maker)) = MAKERS.iter().find(is_in) {
            return (*maker).to_owned();
        }
        table.clone_from(&chain.table);
    }
    format!("a rule of table {}", crate::model::plain_within(&table, 40))
}

#[cfg(test)]
mod tests;
