//! DNS: what the guest asks its nameservers is answered by this machine's resolver. Here are
//! the messages, RFC 1035, and the datagrams that wait for an answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::udp::{self, Datagram};
use super::{Config, Context, Network};
use crate::link;

/// The port of nameservers.
const PORT: u16 = 53;
/// Most datagrams that wait for an answer; others are dropped, and asked again.
const WAITING: usize = 256;

/// Types of records.
pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
const OPT: u16 = 41;
/// The class of the Internet.
const INTERNET: u16 = 1;

/// Codes of answers.
pub(crate) const NO_ERROR: u8 = 0;
pub(crate) const FORMAT_ERROR: u8 = 1;
pub(crate) const SERVER_FAILURE: u8 = 2;
pub(crate) const NO_SUCH_NAME: u8 = 3;
pub(crate) const NOT_IMPLEMENTED: u8 = 4;

const HEADER: usize = 12;
/// How long the guest may keep an address, in seconds: the system's resolver does not tell.
const TTL: u32 = 10;
/// Most bytes of an answer to a datagram without EDNS, and what we take with it: RFC 6891.
const SMALL: usize = 512;
const LARGE: u16 = 1232;

/// Domains in which the machine and the gateway have names.
const DOMAINS: [&str; 3] = ["wslmesh.internal", "docker.internal", "containers.internal"];

/// Why a name has no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    NoName,
    /// None of that family.
    NoAddress,
    /// The system's resolver could not find out.
    Unknown,
}

/// A query of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// All of it.
    pub(crate) message: Vec<u8>,
    /// In lower case, without the last dot. Without a value it is not one of a host.
    pub(crate) name: Option<String>,
    pub(crate) kind: u16,
    /// Where the question ends.
    end: usize,
    /// It has an option of EDNS.
    extended: bool,
    /// Most bytes of an answer.
    pub(crate) largest: usize,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Query(Query),
    /// To be answered so.
    Refused(Vec<u8>),
    /// No query, or too short for an answer.
    Invalid,
}

impl Query {
    /// Reads a message that came in a datagram, or else in a stream.
    pub(crate) fn parse(message: &[u8], in_datagram: bool) -> Message {
        let Some(header) = message.first_chunk::<HEADER>() else {
            return Message::Invalid;
        };
        let [i0, i1, flags, _, q0, q1, a0, a1, n0, n1, r0, r1] = *header;
        if flags & 0x80 != 0 {
            return Message::Invalid;
        }
        let refused = |code| {
            Message::Refused(vec![
                i0,
                i1,
                0x80 | flags & 0x79,
                0x80 | code,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ])
        };
        if flags & 0x78 != 0 {
            return refused(NOT_IMPLEMENTED);
        }
        let question = (u16::from_be_bytes([q0, q1]) == 1)
            .then(|| question(message))
            .flatten();
        let Some((name, kind, end)) = question else {
            return refused(FORMAT_ERROR);
        };
        // The option is the first record after the question, in what resolvers send.
        let option = (
            ([a0, a1, n0, n1], u16::from_be_bytes([r0, r1])),
            message.get(end..),
        );
        let size = match option {
            (([0, 0, 0, 0], 1..), Some([0, t0, t1, s0, s1, ..]))
                if u16::from_be_bytes([*t0, *t1]) == OPT =>
            {
                Some(u16::from_be_bytes([*s0, *s1]))
            }
            _ => None,
        };
        let largest = size.map_or(SMALL, |size| usize::from(size.min(LARGE)).max(SMALL));
        Message::Query(Self {
            message: message.to_vec(),
            name,
            kind,
            end,
            extended: size.is_some(),
            largest: if in_datagram {
                largest
            } else {
                usize::from(u16::MAX)
            },
        })
    }

    /// The answer with a code and addresses, those that fit and are of the query's type.
    pub(crate) fn answer(&self, code: u8, addresses: &[IpAddr]) -> Vec<u8> {
        let record = |address: &IpAddr| {
            let (kind, data) = match address {
                IpAddr::V4(address) => (A, address.octets().to_vec()),
                IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
            };
            let length = u16::try_from(data.len()).unwrap_or(0);
            let mut record = vec![0xc0, 12]; // the question's name
            record.extend(kind.to_be_bytes());
            record.extend(INTERNET.to_be_bytes());
            record.extend(TTL.to_be_bytes());
            record.extend(length.to_be_bytes());
            record.extend(data);
            (kind == self.kind).then_some(record)
        };
        let mut option = vec![0];
        option.extend(OPT.to_be_bytes());
        option.extend(LARGE.to_be_bytes());
        option.extend([0; 6]);
        if !self.extended {
            option.clear();
        }
        let question = self.message.get(HEADER..self.end).unwrap_or_default();
        let (mut records, mut count) = (Vec::new(), 0_u16);
        for record in addresses.iter().filter_map(record) {
            let size = HEADER + question.len() + records.len() + record.len() + option.len();
            if size > self.largest {
                break;
            }
            records.extend(record);
            count += 1;
        }
        let [id0, id1, flags] = *self.message.first_chunk().unwrap_or(&[0; 3]);
        let [count0, count1] = count.to_be_bytes();
        // An answer, recursion desired as in the query and available.
        let header = [
            id0,
            id1,
            0x80 | flags & 1,
            0x80 | code,
            0,
            1,
            count0,
            count1,
            0,
            0,
            0,
            u8::from(self.extended),
        ];
        [&header, question, &records, &option].concat()
    }

    /// The answer to a question about the machine or the gateway.
    pub(crate) fn local(&self) -> Option<Vec<u8>> {
        let (host, domain) = self.name.as_deref()?.split_once('.')?;
        let address = match host {
            "host" => link::HOST_V4,
            "gateway" => link::GATEWAY_V4,
            _ => return None,
        };
        let ours = DOMAINS.contains(&domain);
        ours.then(|| self.answer(NO_ERROR, &[address.into()]))
    }

    /// Whether the question of another message is the same, and its id.
    pub(crate) fn is_answered_by(&self, answer: &[u8]) -> bool {
        let same = |from: usize, to: usize| {
            let (one, other) = (self.message.get(from..to), answer.get(from..to));
            matches!((one, other), (Some(one), Some(other)) if one.eq_ignore_ascii_case(other))
        };
        same(0, 2) && same(HEADER, self.end) && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
    }
}

/// Name, type and end of the question.
fn question(message: &[u8]) -> Option<(Option<String>, u16, usize)> {
    let mut at = HEADER;
    let mut name = Some(String::new());
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 if at + length - HEADER <= 255 => {}
            _ => return None,
        }
        let label = message.get(at..at + length)?;
        at += length;
        // What may be given to the system's resolver.
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        name = name.filter(|_| label.iter().all(plain)).map(|mut name| {
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(
                label
                    .iter()
                    .map(|byte| char::from(byte.to_ascii_lowercase())),
            );
            name
        });
    }
    let [t0, t1, c0, c1] = *message.get(at..)?.first_chunk()?;
    let internet = u16::from_be_bytes([c0, c1]) == INTERNET;
    let name = name.filter(|name| internet && !name.is_empty());
    Some((name, u16::from_be_bytes([t0, t1]), at + 4))
}

/// Whether that is where the guest asks for names.
pub(super) fn is_nameserver(config: &Config, server: SocketAddr) -> bool {
    let gateways: [IpAddr; 2] = [link::GATEWAY_V4.into(), link::GATEWAY_V6.into()];
    let ip = server.ip();
    server.port() == PORT && (gateways.contains(&ip) || config.nameservers.contains(&ip))
}

/// The datagrams that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The guest and the nameserver, by the number of the query.
    queries: HashMap<u64, (SocketAddr, SocketAddr)>,
    last: u64,
}

impl Waiting {
    /// Takes a query of the guest. It is answered at once, or by [`Waiting::answered`].
    pub(super) fn ask<N: Network>(
        &mut self,
        context: &mut Context<'_, N>,
        datagram: &Datagram<'_>,
    ) {
        context.counters.dns_queries += 1;
        let query = match Query::parse(datagram.data, true) {
            Message::Query(query) => query,
            Message::Refused(answer) => {
                return put(context, datagram.guest, datagram.server, &answer);
            }
            Message::Invalid => {
                context.counters.invalid += 1;
                return;
            }
        };
        if let Some(answer) = query.local() {
            return put(context, datagram.guest, datagram.server, &answer);
        }
        self.last += 1;
        if self.queries.len() < WAITING && context.network.ask(self.last, query) {
            self.queries
                .insert(self.last, (datagram.guest, datagram.server));
        } else {
            context.counters.dropped += 1;
        }
    }

    /// The answer to the query of that number.
    pub(super) fn answered<N: Network>(
        &mut self,
        context: &mut Context<'_, N>,
        number: u64,
        answer: &[u8],
    ) {
        if let Some((guest, server)) = self.queries.remove(&number) {
            put(context, guest, server, answer);
        }
    }
}

fn put<N>(context: &mut Context<'_, N>, guest: SocketAddr, server: SocketAddr, answer: &[u8]) {
    if !udp::put(context.out, (server, guest), answer, context.config.mtu) {
        context.counters.dropped += 1;
    }
}

#[cfg(test)]
mod tests;
