//! Sockets that listen, from /proc/net (proc_pid_net(5)).
//!
//! Looked up in the kernel's tables and never tried out: a connection that says
//! nothing is an attack in the eyes of sshd, and the start of a unit of systemd's
//! that waits for one. UDP has nothing to try anyway, and the kernel's own
//! WireGuard has a socket there like any program.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    net::IpAddr,
    path::Path,
};

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
        Ok(file) => found.extend(parse(protocol, BufReader::new(file))?),
        // A kernel without IPv6 has no such table.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Whether a rule may pass packets on to a container (DNAT), for which no socket
/// listens here, on the machine below this root: it forwards IPv4 and has a bridge. The
/// rules themselves only root can read.
#[must_use]
pub fn passes_on(root: &Path) -> bool {
    let forwards = fs::read_to_string(root.join("proc/sys/net/ipv4/ip_forward"));
    let mut links = fs::read_dir(root.join("sys/class/net"))
        .into_iter()
        .flatten();
    forwards.is_ok_and(|text| text.trim() == "1")
        && links.any(|link| link.is_ok_and(|link| link.path().join("bridge").exists()))
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
    })
}

#[cfg(test)]
mod tests;
