//! Sockets that listen, from /proc/net (proc_pid_net(5)).
//!
//! Looked up in the kernel's tables and never tried out: a connection that says
//! nothing is an attack in the eyes of sshd, and the start of a unit of systemd's
//! that waits for one. UDP has nothing to try anyway, and the kernel's own
//! WireGuard has a socket there like any program.

use std::{
    collections::BTreeSet,
    fs::{self, DirEntry, File},
    io::{self, BufRead, BufReader},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use rtnetlink::{
    packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NlasIterator},
    sys::{Socket as Netlink, protocols::NETLINK_SOCK_DIAG},
};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::model::{Protocol, Socket};

/// States of a TCP socket that listens, and of a UDP socket without a peer
/// (include/net/tcp_states.h).
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// The sockets of a protocol, of the machine below this root.
///
/// # Errors
/// The kernel has no table of the protocol, or it cannot be read.
pub fn sockets(root: &Path, protocol: Protocol) -> io::Result<Vec<Socket>> {
    let open = |version: &str| File::open(root.join(format!("proc/net/{protocol}{version}")));
    let mut found = parse(protocol, BufReader::new(open("")?))?;
    match open("6") {
        Ok(file) => {
            let mut of_ipv6 = parse(protocol, BufReader::new(file))?;
            // Where the kernel does not say so (CONFIG_INET_DIAG), a socket takes IPv4 too.
            let only = ipv6_only(protocol).unwrap_or_default();
            for socket in of_ipv6
                .iter_mut()
                .filter(|one| one.address.is_unspecified())
            {
                socket.ipv6_only = socket.address.is_ipv6() && only.contains(&socket.port);
            }
            found.append(&mut of_ipv6);
        }
        // A kernel without IPv6 has no such table.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Whether a rule may pass packets on to a container (DNAT), for which no socket
/// listens here, on the machine below this root: it forwards IPv4, and has a bridge or
/// an interface of Kubernetes (Calico and Cilium have no bridge, IPVS serves NodePorts).
/// The rules themselves only root can read.
#[must_use]
pub fn passes_on(root: &Path) -> bool {
    let forwards = fs::read_to_string(root.join("proc/sys/net/ipv4/ip_forward"));
    let links = fs::read_dir(root.join("sys/class/net"));
    let mut links = links.into_iter().flatten().flatten();
    let is_one = |link: DirEntry| {
        let (name, names) = (link.file_name(), ["cali", "cilium_", "kube-ipvs"]);
        let is_named = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        names.into_iter().any(is_named) || link.path().join("bridge").exists()
    };
    forwards.is_ok_and(|text| text.trim() == "1") && links.any(is_one)
}

/// One table: a heading, then a line for each socket. Lines of another form are
/// skipped.
fn parse(protocol: Protocol, table: impl BufRead) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let line = line?;
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(state)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        match (protocol, state) {
            (Protocol::Tcp, LISTENS) | (Protocol::Udp, UNCONNECTED) => {
                found.extend(socket(protocol, local));
            }
            // Those that listen come first, and the others may be many.
            (Protocol::Tcp, _) => break,
            (Protocol::Udp, _) => {}
        }
    }
    Ok(found)
}

/// An address and a port in hexadecimal; each 32 bits of an address are in this
/// machine's order of bytes.
fn socket(protocol: Protocol, text: &str) -> Option<Socket> {
    let (hex, port) = text.split_once(':')?;
    let word = |place: usize| {
        let digits = hex.get(place * 8..place * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address: IpAddr = match hex.len() {
        8 => word(0)?.into(),
        32 => {
            let mut bytes = [0; 16];
            for (place, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(place)?);
            }
            IpAddr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(Socket {
        protocol,
        address,
        port: u16::from_str_radix(port, 16).ok()?,
        ipv6_only: false,
    })
}

/// Longest wait for an answer of the kernel.
const DEADLINE: Duration = Duration::from_secs(1);
/// Type of a question and of its answers, and the attribute of an answer that says
/// whether the socket takes IPv6 alone (include/uapi/linux/sock_diag.h, inet_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCPDIAG_GETSOCK: u16 = 18;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// The attribute of a question with a program that each socket must pass.
const INET_DIAG_REQ_BYTECODE: u16 = 1;

/// Families of addresses (socket(2)).
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// Whose sockets are listed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Families {
    /// Of one family.
    One(u8),
    /// Of IPv4 and IPv6 in one go, which the kernel has for TCP alone: it is the form of
    /// the question before Linux 3.3.
    All,
}

/// The ports at which sockets on `::` take IPv6 alone. No table in /proc/net tells
/// that, sock_diag(7) does.
fn ipv6_only(protocol: Protocol) -> io::Result<BTreeSet<u16>> {
    let (mut only, mut both) = (BTreeSet::new(), BTreeSet::new());
    each_socket(Families::One(AF_INET6), protocol, 0, &[], |answer| {
        if let Some((port, is_only)) = any_address(answer) {
            if is_only { &mut only } else { &mut both }.insert(port);
        }
    })?;
    Ok(&only - &both)
}

/// The kernel's number of the UDP socket without a peer at this port of 0.0.0.0, the
/// kernel's own included; `None` where there is none.
///
/// # Errors
/// The kernel's refusal, as EBUSY while a bind(2) is in progress.
pub fn udp_cookie(port: u16) -> io::Result<Option<u64>> {
    let mut found = None;
    each_socket(Families::One(AF_INET), Protocol::Udp, port, &[], |answer| {
        found = found.or(cookie(answer, port));
    })?;
    Ok(found)
}

/// A socket at a port, with the kernel's number of it and of the user who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundSocket {
    /// The socket.
    pub socket: Socket,
    /// The user's number.
    pub user: u32,
    /// What `socket:[...]` in a process's folder of open files has.
    pub inode: u32,
}

/// The sockets at a port that listen or have no peer, of all distributions: they share
/// the kernel's tables.
///
/// # Errors
/// The kernel's refusal.
pub fn bound(protocol: Protocol, port: u16) -> io::Result<Vec<BoundSocket>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        each_socket(Families::One(family), protocol, port, &[], |answer| {
            let socket = bound_socket(protocol, answer);
            found.extend(socket.filter(|one| one.socket.port == port));
        })?;
    }
    Ok(found)
}

/// A struct inet_diag_msg with its attributes.
fn bound_socket(protocol: Protocol, answer: &[u8]) -> Option<BoundSocket> {
    let word = |at: usize| answer.get(at..at + 4)?.try_into().ok();
    let port: [u8; 2] = answer.get(4..6)?.try_into().ok()?;
    let address: [u8; 16] = answer.get(8..24)?.try_into().ok()?;
    let address = match answer.first()? {
        &AF_INET => IpAddr::from(word(8)?),
        _ => IpAddr::from(address).to_canonical(),
    };
    let mut attributes = NlasIterator::new(answer.get(72..)?).flatten();
    let only = attributes.any(|one| one.kind() == INET_DIAG_SKV6ONLY && one.value() == [1]);
    Some(BoundSocket {
        socket: Socket {
            protocol,
            address,
            port: u16::from_be_bytes(port),
            ipv6_only: only && address.is_ipv6() && address.is_unspecified(),
        },
        user: u32::from_ne_bytes(word(64)?),
        inode: u32::from_ne_bytes(word(68)?),
    })
}

/// Has the kernel list the sockets of a protocol that listen or have no peer, at this port,
/// or at all of them where it is 0, and pass the filter, if there is one: each is a struct
/// inet_diag_msg with its attributes. The kernel picks one of a thousand in a fraction of the
/// time that reading all takes.
pub(super) fn each_socket(
    families: Families,
    protocol: Protocol,
    port: u16,
    filter: &[u8],
    each: impl FnMut(&[u8]),
) -> io::Result<()> {
    // Its number, and the state of sockets as above.
    let (number, state) = match protocol {
        Protocol::Tcp => (6, 0x0A),
        Protocol::Udp => (17, 0x07),
    };
    let states = (1_u32 << state).to_ne_bytes();
    let port = port.to_be_bytes();
    let (kind, mut request) = match families {
        // struct inet_diag_req_v2.
        Families::One(family) => {
            let head = [family, number, 0, 0];
            (
                SOCK_DIAG_BY_FAMILY,
                [&head[..], &states, &port, &[0; 46]].concat(),
            )
        }
        // struct inet_diag_req.
        Families::All => (
            TCPDIAG_GETSOCK,
            [&[0; 4][..], &port, &[0; 46], &states, &[0; 4]].concat(),
        ),
    };
    if let Ok(length) = u16::try_from(4 + filter.len())
        && !filter.is_empty()
    {
        request.extend(length.to_ne_bytes());
        request.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        request.extend(filter);
    }
    dump(NETLINK_SOCK_DIAG, kind, &request, each)
}

/// Asks a part of the kernel for all that it has of a kind; each answer is what follows the
/// header of a message. The wait for each is bounded.
pub(super) fn dump(
    part: isize,
    kind: u16,
    question: &[u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    // Its numbers are the kernel's (include/uapi/linux/netlink.h).
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    let length = u32::try_from(16 + question.len()).unwrap_or(u32::MAX);
    let request = [
        &length.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        &(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes(),
        &[0; 8],
        question,
    ];
    let socket = Netlink::new(part)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE))?;
    socket.send(&request.concat(), 0)?;
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            if let NLMSG_ERROR | NLMSG_DONE = message.message_type() {
                // The end, or a refusal: a negative errno.
                let code = message.payload().first_chunk().copied();
                return match code.map_or(0, i32::from_ne_bytes) {
                    0.. => Ok(()),
                    errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
                };
            }
            each(message.payload());
            let length = message.length().next_multiple_of(4) as usize;
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// The kernel's number of the socket (idiag_cookie) if it is at this port of 0.0.0.0.
fn cookie(answer: &[u8], port: u16) -> Option<u64> {
    let [_, _, _, _, high, low, _, _, a, b, c, d, ..] = answer.first_chunk::<12>()?;
    let halves: [u8; 8] = answer.get(44..52)?.try_into().ok()?;
    let is_it = ([*high, *low], [*a, *b, *c, *d]) == (port.to_be_bytes(), [0; 4]);
    is_it.then(|| u64::from_ne_bytes(halves))
}

/// The port of a socket on `::`, and whether it takes IPv6 alone, in a struct
/// inet_diag_msg with its attributes.
fn any_address(answer: &[u8]) -> Option<(u16, bool)> {
    let [_, _, _, _, high, low, _, _, address @ ..] = answer.first_chunk::<24>()?;
    let port = u16::from_be_bytes([*high, *low]);
    let only = is_ipv6_only(answer)?;
    (*address == [0; 16]).then_some((port, only))
}

/// Whether a socket of IPv6 takes IPv6 alone; `None` where the kernel does not say.
pub(super) fn is_ipv6_only(answer: &[u8]) -> Option<bool> {
    let mut attributes = NlasIterator::new(answer.get(72..)?).flatten();
    let only = attributes.find(|one| one.kind() == INET_DIAG_SKV6ONLY)?;
    Some(only.value() == [1])
}

#[cfg(test)]
mod tests;
