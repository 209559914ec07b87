//! The proof of `CAP_NET_ADMIN` in this network namespace: a message between two rtnetlink
//! sockets, which the kernel passes on from such a process only.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    io,
    rc::Rc,
};

use rtnetlink::sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_ROUTE};

/// A number that a stranger cannot guess.
pub(super) fn random() -> u64 {
    // Seeded by the kernel.
    RandomState::new().hash_one(())
}

/// Where to send the proof, and the number that belongs into it.
pub(super) fn parse_request(line: &str) -> Option<(u32, u64)> {
    let (port, nonce) = line.strip_suffix('\n')?.split_once(' ')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some((port, u64::from_str_radix(nonce, 16).ok()?))
}

/// What a proof says. It names the socket, so that a stranger cannot pass on that of an
/// agent, and is no netlink message: another receiver drops it for its length.
fn proof(nonce: u64, name: &str) -> Vec<u8> {
    format!("wslmesh {nonce:016x} {name}").into_bytes()
}

pub(super) fn prove(port: u32, nonce: u64, name: &str) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    let to = NetlinkAddress::new(port, 0);
    socket.send_to(&proof(nonce, name), &to, 0).map(drop)
}

/// The proofs that arrived.
pub(super) struct Proofs {
    socket: Socket,
    port: u32,
    nonce: u64,
    arrived: BTreeSet<Vec<u8>>,
}

impl Proofs {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        Ok(Self {
            socket,
            port,
            nonce: random(),
            arrived: BTreeSet::new(),
        })
    }

    /// What to ask for one.
    pub(super) fn request(&self) -> Rc<str> {
        format!("{} {:016x}\n", self.port, self.nonce).into()
    }

    /// Whether the holder of this name, which has said hello, sent one before.
    pub(super) fn has(&mut self, name: &str) -> bool {
        loop {
            let mut bytes = Vec::with_capacity(128);
            if self.socket.recv(&mut bytes, 0).is_err() {
                break;
            }
            self.arrived.insert(bytes);
        }
        self.arrived.contains(&proof(self.nonce, name))
    }
}
