//! WireGuard in a userspace daemon, by its control socket
//! (<https://www.wireguard.com/xplatform/>, "Configuration Protocol").
//!
//! wireguard-control's own userspace backend is not used: on a dead socket it
//! starts a daemon, it never times out, it prints what it does not know, and it
//! cannot send `update_only`, which keeps a removed peer from coming back.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    str::FromStr,
    time::Duration,
};

use wireguard_control::Key;

use super::WireGuardError;
use crate::model::{DeviceDetails, InterfaceName, PeerDetails, PublicKey};

/// Where daemons put their sockets.
pub(super) const FOLDER: &str = "/var/run/wireguard";

/// Longest wait for each read and write.
const DEADLINE: Duration = Duration::from_millis(900);

/// Most bytes of an answer: a thousand peers have well under 1 MiB.
const MOST: u64 = 16 << 20;

pub(super) fn read(name: &InterfaceName) -> Result<DeviceDetails, WireGuardError> {
    exchange(name, "get=1\n\n", "read the device from its daemon")
}

pub(super) fn set_keepalive(
    name: &InterfaceName,
    peers: &[PublicKey],
    seconds: u16,
) -> Result<(), WireGuardError> {
    let request = request(peers, seconds);
    exchange(name, &request, "set keepalives through its daemon").map(drop)
}

/// Sends a request and parses the answer, which ends with an error number.
fn exchange(
    name: &InterfaceName,
    request: &str,
    what: &'static str,
) -> Result<DeviceDetails, WireGuardError> {
    let answer = || -> io::Result<DeviceDetails> {
        let mut socket = UnixStream::connect(Path::new(FOLDER).join(format!("{name}.sock")))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        socket.write_all(request.as_bytes())?;
        parse(BufReader::new(socket.take(MOST)))
    };
    answer().map_err(|error| WireGuardError::Failed {
        name: name.clone(),
        what,
        error,
    })
}

/// `update_only` makes the daemon skip a peer that has been removed.
fn request(peers: &[PublicKey], seconds: u16) -> String {
    let mut request = String::from("set=1\n");
    for peer in peers {
        request.push_str("public_key=");
        for byte in peer.bytes() {
            // Writing to a String cannot fail.
            write!(request, "{byte:02x}").unwrap_or_default();
        }
        write!(
            request,
            "\nupdate_only=true\npersistent_keepalive_interval={seconds}\n"
        )
        .unwrap_or_default();
    }
    request.push('\n');
    request
}

fn line(answer: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if answer.read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the daemon's answer ends in the middle",
        ));
    }
    Ok(line.trim_end().to_owned())
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

fn parse(mut answer: impl BufRead) -> io::Result<DeviceDetails> {
    let mut device = DeviceDetails::default();
    let mut peer = None;
    loop {
        let line = line(&mut answer)?;
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        match (name, value) {
            ("errno", "0") => return Ok(device),
            ("errno", number) => return Err(errno(number)),
            ("listen_port", port) => {
                let port = number(port, "a listen port that is none")?;
                device.listen_port = Some(port).filter(|port| *port != 0);
            }
            ("public_key", hex) => {
                let key = Key::from_hex(hex).map_err(|_| invalid("a public key that is none"))?;
                let key = PublicKey::new(key.0);
                device.peers.insert(key, PeerDetails::default());
                peer = Some(key);
            }
            _ => {
                let peer = peer.and_then(|key| device.peers.get_mut(&key));
                peer_line(peer, name, value)?;
            }
        }
    }
}

/// A line about the peer whose key came last. Private keys, addresses and unknown
/// lines are ignored.
fn peer_line(peer: Option<&mut PeerDetails>, name: &str, value: &str) -> io::Result<()> {
    let Some(peer) = peer else {
        return match name {
            "persistent_keepalive_interval" => Err(invalid("a keepalive before any peer")),
            _ => Ok(()),
        };
    };
    match name {
        "persistent_keepalive_interval" => {
            peer.keepalive = number(value, "a keepalive that is none")?;
        }
        // An address with a zone that is a name is shown as none.
        "endpoint" => peer.endpoint = value.parse().ok(),
        "last_handshake_time_sec" => {
            let seconds = number(value, "a time that is none")?;
            peer.handshake = Some(seconds).filter(|seconds| *seconds != 0);
        }
        "rx_bytes" => peer.received = number(value, "a count that is none")?,
        "tx_bytes" => peer.sent = number(value, "a count that is none")?,
        _ => {}
    }
    Ok(())
}

fn number<T: FromStr>(text: &str, otherwise: &str) -> io::Result<T> {
    text.parse().map_err(|_| invalid(otherwise))
}

#[cfg(test)]
mod tests;
