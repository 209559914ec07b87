//! The search for the largest packet that passes.

use std::net::IpAddr;

/// What a probe is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Kind {
    /// An ICMP echo request.
    Echo,
    /// A UDP datagram to a port that nothing should listen on: the target says so.
    Datagram,
}

/// One packet that no router may fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) struct Probe {
    pub(in crate::doctor) kind: Kind,
    /// Bytes with the IP header.
    pub(in crate::doctor) size: u32,
    /// Routers that it may pass, plus one.
    pub(in crate::doctor) hops: u8,
}

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Answer {
    /// The target answered.
    Target,
    /// It came as far as this router.
    Expired(IpAddr),
    /// This router passes no more than so many bytes on (0: it did not say).
    TooBig(IpAddr, u32),
    /// Nothing that proves anything.
    Lost,
}

/// How probes are sent.
pub(in crate::doctor) trait Wire {
    /// Why nothing can be sent.
    type Error;

    /// Sends probes and waits for their answers, a second at most: one for each.
    fn ask(&mut self, probes: &[Probe]) -> Result<Vec<Answer>, Self::Error>;

    /// Lets a moment pass in which routers may answer again; they limit how often they do.
    fn pause(&mut self);

    /// Whether the time for all of it is over.
    fn is_over(&self) -> bool;
}

/// Who answered the probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The target itself.
    Target,
    /// The target is silent; this router is the last one that answers.
    Hop(IpAddr),
}

/// Who loses bigger packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loser {
    /// This router says so; it passes so many bytes on (0: it did not say).
    Says(IpAddr, u32),
    /// No router says so: they come as far as the first one, and the second one is the
    /// next that answers to small ones.
    Beyond(Option<IpAddr>, Option<IpAddr>),
}

/// The result of a search, sizes in bytes with the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The largest size that passed.
    pub passes: u32,
    /// The least size that is lost; `None` where the interface sends no larger packets.
    pub lost: Option<u32>,
    /// Who answered.
    pub ended: Ended,
    /// Who loses bigger ones, as far as it could be found out.
    pub loser: Option<Loser>,
}

/// The size that is tried first: every path carries it.
const SMALL: u32 = 100;
/// The least that IPv6 carries, and where most narrow paths are above: tried early.
const USUAL: u32 = 1280;
/// Times that a packet is sent before it counts as lost, and where answers are limited.
const TRIES: usize = 3;
const TRIES_LIMITED: usize = 2;
/// The most hops that a walk looks at, and where a probe goes that may pass all.
const HOPS: u8 = 24;
const FAR: u8 = 64;
/// Sizes in one round of the search. Where answers are limited one after the other: Linux
/// sends six errors at once and then one a second (icmp_ratelimit), and most others less.
const PARTS: u32 = 7;
const PARTS_LIMITED: u32 = 1;

/// Measures a path whose interface sends `most` bytes; `None` where nothing answers.
///
/// # Errors
/// Nothing can be sent.
pub(in crate::doctor) fn measure<W: Wire>(
    wire: &mut W,
    most: u32,
) -> Result<Option<Measured>, W::Error> {
    let Some((probe, ended)) = reach(wire)? else {
        return Ok(None);
    };
    // Replies to echo requests are not.
    let limited = probe.kind == Kind::Datagram;
    let mut search = Search::new(most);
    while let Some(sizes) = search.next(if limited { PARTS_LIMITED } else { PARTS }) {
        if wire.is_over() {
            break;
        }
        round(wire, probe, limited, &sizes, &mut search)?;
    }
    let Search { passes, lost, .. } = search;
    // Behind a router that says so may be one that loses smaller ones in silence.
    let is_it = |mtu: u32| mtu == 0 || lost.is_none_or(|lost| lost > mtu);
    let loser = match (search.said, lost) {
        (Some((hop, mtu)), _) if is_it(mtu) => Some(Loser::Says(hop, mtu)),
        (_, Some(lost)) => walk(wire, limited, probe.kind, lost)?,
        _ => None,
    };
    Ok(Some(Measured {
        passes,
        lost,
        ended,
        loser,
    }))
}

/// A probe that is answered, and by whom.
fn reach<W: Wire>(wire: &mut W) -> Result<Option<(Probe, Ended)>, W::Error> {
    let small = |kind, hops| Probe {
        kind,
        size: SMALL,
        hops,
    };
    let kinds = [Kind::Echo, Kind::Datagram].map(|kind| small(kind, FAR));
    for _ in 0..2 {
        let answers = wire.ask(&kinds)?;
        let answered = kinds.iter().zip(&answers);
        let mut answered = answered.filter(|(_, answer)| **answer == Answer::Target);
        if let Some((probe, _)) = answered.next() {
            return Ok(Some((*probe, Ended::Target)));
        }
    }
    let probes: Vec<Probe> = (1..=HOPS).map(|hops| small(Kind::Datagram, hops)).collect();
    let answers = wire.ask(&probes)?;
    let expired = probes.iter().zip(answers).rev();
    let mut expired = expired.filter_map(|(probe, answer)| match answer {
        Answer::Expired(hop) => Some((*probe, Ended::Hop(hop))),
        _ => None,
    });
    Ok(expired.next())
}

/// Asks for some sizes until each is answered or lost.
fn round<W: Wire>(
    wire: &mut W,
    probe: Probe,
    limited: bool,
    sizes: &[u32],
    search: &mut Search,
) -> Result<(), W::Error> {
    let most = if limited { TRIES_LIMITED } else { TRIES };
    let mut tries = 0;
    let mut open = sizes.to_vec();
    while tries < most && !wire.is_over() {
        // That a small one is answered tells a lost one from a router that is tired of
        // answering.
        let control = (limited && tries > 0).then_some(SMALL);
        let probes = open.iter().copied().chain(control);
        let probes: Vec<Probe> = probes.map(|size| Probe { size, ..probe }).collect();
        let answers = wire.ask(&probes)?;
        let awake = control.is_none() || answers.last() != Some(&Answer::Lost);
        for (probe, answer) in probes.iter().zip(answers) {
            search.note(probe.size, answer);
        }
        open.retain(|size| search.is_open(*size));
        if open.is_empty() {
            return Ok(());
        }
        if awake {
            tries += 1;
        } else {
            wire.pause();
        }
    }
    if tries == most {
        for size in open {
            search.lose(size);
        }
    }
    Ok(())
}

/// Follows a packet that is lost and a small one from hop to hop.
fn walk<W: Wire>(
    wire: &mut W,
    limited: bool,
    kind: Kind,
    lost: u32,
) -> Result<Option<Loser>, W::Error> {
    if limited {
        // For one answer to each of both.
        wire.pause();
        wire.pause();
    }
    let probes = |size| (1..=HOPS).map(move |hops| Probe { kind, size, hops });
    let (mut far, mut near) = ([None; HOPS as usize], [None; HOPS as usize]);
    for _ in 0..2 {
        for (size, found) in [(lost, &mut far), (SMALL, &mut near)] {
            let probes: Vec<Probe> = probes(size).collect();
            let answers = wire.ask(&probes)?;
            for (hop, answer) in found.iter_mut().zip(answers) {
                match answer {
                    Answer::Expired(router) => *hop = Some(router),
                    Answer::TooBig(router, mtu) => return Ok(Some(Loser::Says(router, mtu))),
                    Answer::Target | Answer::Lost => {}
                }
            }
        }
    }
    let last = far.iter().rposition(Option::is_some);
    let before = last.and_then(|last| far.get(last).copied().flatten());
    let rest = near.iter().skip(last.map_or(0, |last| last + 1));
    Ok(Some(Loser::Beyond(before, rest.flatten().next().copied())))
}

/// What is known of the sizes.
#[derive(Debug)]
struct Search {
    most: u32,
    passes: u32,
    lost: Option<u32>,
    /// The router that says that packets are too big, and what it passes on.
    said: Option<(IpAddr, u32)>,
    begun: bool,
}

impl Search {
    fn new(most: u32) -> Self {
        Self {
            most: most.max(SMALL),
            passes: SMALL,
            lost: None,
            said: None,
            begun: false,
        }
    }

    /// The sizes of the next round; `None` at the end.
    fn next(&mut self, parts: u32) -> Option<Vec<u32>> {
        let Some(lost) = self.lost else {
            return (self.passes < self.most).then(|| vec![self.most]);
        };
        let between = self.passes.saturating_add(1)..lost;
        if between.is_empty() {
            return None;
        }
        // What a router says is right nearly always: two probes prove it.
        if let Some((_, mtu)) = self.said.filter(|(_, mtu)| between.contains(mtu))
            && !std::mem::replace(&mut self.begun, true)
        {
            let sizes = [mtu, mtu.saturating_add(1)].into_iter();
            return Some(sizes.filter(|size| between.contains(size)).collect());
        }
        if self.passes == SMALL && between.contains(&USUAL) {
            return Some(vec![USUAL]);
        }
        let width = lost - self.passes;
        let mut sizes: Vec<u32> = (1..=parts)
            .map(|part| self.passes + width * part / (parts + 1))
            .filter(|size| between.contains(size))
            .collect();
        sizes.dedup();
        if sizes.is_empty() {
            sizes.push(between.start);
        }
        Some(sizes)
    }

    fn note(&mut self, size: u32, answer: Answer) {
        match answer {
            Answer::Target | Answer::Expired(_) => self.passes = self.passes.max(size),
            Answer::TooBig(hop, mtu) => {
                // The narrowest one decides.
                if self.said.is_none_or(|(_, said)| mtu < said) {
                    self.said = Some((hop, mtu));
                    self.begun = false;
                }
                self.lose(size);
            }
            Answer::Lost => {}
        }
    }

    fn is_open(&self, size: u32) -> bool {
        size > self.passes && size <= self.most && self.lost.is_none_or(|lost| size < lost)
    }

    fn lose(&mut self, size: u32) {
        if size > self.passes {
            self.lost = Some(self.lost.map_or(size, |lost| lost.min(size)));
        }
    }
}

#[cfg(test)]
mod tests;
