//! WireGuard in a userspace daemon, by its control socket
//! (<https://www.wireguard.com/xplatform/>, "Configuration Protocol").
//!
//! wireguard-control's own userspace backend is not used: on a dead socket it
//! starts a daemon, it never times out, it prints what it does not know, and it
//! cannot send `update_only`, which keeps a removed peer from coming back.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use wireguard_control::Key;

use crate::model::{Device, InterfaceName, Peer, PublicKey};

/// Longest wait for each read and write.
const DEADLINE: Duration = Duration::from_millis(900);

/// Most bytes of an answer: a thousand peers have well under 1 MiB.
const MOST: u64 = 16 << 20;

/// The control socket of a device, whether it exists or not.
pub(super) fn socket(name: &InterfaceName) -> PathBuf {
    Path::new("/var/run/wireguard").join(format!("{name}.sock"))
}

pub(super) fn read(name: &InterfaceName) -> io::Result<Device> {
    exchange(name, "get=1\n\n")
}

pub(super) fn set_keepalive(
    name: &InterfaceName,
    peers: &[PublicKey],
    seconds: u16,
) -> io::Result<()> {
    let line = format!("persistent_keepalive_interval={seconds}");
    let peers = peers.iter().map(|key| (key, line.clone()));
    exchange(name, &request(peers)).map(drop)
}

pub(super) fn set_endpoints(
    name: &InterfaceName,
    peers: &[(PublicKey, SocketAddr)],
) -> io::Result<()> {
    let peers = peers
        .iter()
        .map(|(key, to)| (key, format!("endpoint={to}")));
    exchange(name, &request(peers)).map(drop)
}

/// Sends a request and parses the answer, which ends with an error number.
fn exchange(name: &InterfaceName, request: &str) -> io::Result<Device> {
    let mut stream = UnixStream::connect(socket(name))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    parse(BufReader::new(stream.take(MOST)))
}

/// `update_only` makes the daemon skip a peer that has been removed.
fn request<'a>(peers: impl Iterator<Item = (&'a PublicKey, String)>) -> String {
    let peer = |(peer, line): (&PublicKey, String)| {
        let key: String = peer.bytes().iter().map(|b| format!("{b:02x}")).collect();
        format!("public_key={key}\nupdate_only=true\n{line}\n")
    };
    let peers: String = peers.map(peer).collect();
    format!("set=1\n{peers}\n")
}

/// A daemon sends Linux error numbers, some of them negative.
fn errno(number: &str) -> io::Error {
    match number.parse::<i32>() {
        Ok(number) => io::Error::from_raw_os_error(number.saturating_abs()),
        Err(_) => invalid("an error number that is none"),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the daemon's answer has {what}"),
    )
}

/// Private keys and unknown lines are ignored.
fn parse(answer: impl BufRead) -> io::Result<Device> {
    let mut device = Device::default();
    // The one whose key came last.
    let mut peer: Option<&mut Peer> = None;
    for line in answer.lines() {
        let line = line?;
        let Some((name, value)) = line.trim_end().split_once('=') else {
            continue;
        };
        match (name, &mut peer) {
            ("errno", _) if value == "0" => return Ok(device),
            ("errno", _) => return Err(errno(value)),
            ("listen_port", _) => {
                let port = number(value, "a listen port that is none")?;
                device.listen_port = Some(port).filter(|port| *port != 0);
            }
            ("fwmark", _) => device.mark = number(value, "a mark that is none")?,
            ("public_key", _) => {
                let key = Key::from_hex(value).map_err(|_| invalid("a public key that is none"))?;
                peer = Some(device.peers.entry(PublicKey::new(key.0)).or_default());
            }
            ("persistent_keepalive_interval", None) => {
                return Err(invalid("a keepalive before any peer"));
            }
            ("persistent_keepalive_interval", Some(peer)) => {
                peer.keepalive = number(value, "a keepalive that is none")?;
            }
            // An address with a zone that is a name is shown as none.
            ("endpoint", Some(peer)) => peer.endpoint = value.parse().ok(),
            ("allowed_ip", Some(peer)) => {
                let net = number(value, "an allowed address that is none")?;
                peer.allowed.push(net);
            }
            ("last_handshake_time_sec", Some(peer)) => {
                let seconds = number(value, "a time that is none")?;
                peer.handshake = Some(seconds).filter(|seconds| *seconds != 0);
            }
            ("rx_bytes", Some(peer)) => peer.received = number(value, "a count that is none")?,
            ("tx_bytes", Some(peer)) => peer.sent = number(value, "a count that is none")?,
            _ => {}
        }
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the daemon's answer ends in the middle",
    ))
}

fn number<T: FromStr>(text: &str, otherwise: &str) -> io::Result<T> {
    text.parse().map_err(|_| invalid(otherwise))
}

#[cfg(test)]
mod tests;
