//! WireGuard in a userspace daemon, by its control socket
//! (<https://www.wireguard.com/xplatform/>, "Configuration Protocol").
//!
//! wireguard-control's own userspace backend is not used: on a dead socket it
//! starts a daemon, it never times out, it prints what it does not know, and it
//! cannot send `update_only`, which keeps a removed peer from coming back.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::WireGuardError;
use crate::model::{Device, InterfaceName, PublicKey};

/// Where daemons put their sockets.
pub(super) const FOLDER: &str = "/var/run/wireguard";

/// Longest wait for each read and write.
const DEADLINE: Duration = Duration::from_millis(900);

/// Most bytes of an answer: a thousand peers have well under 1 MiB.
const MOST: u64 = 16 << 20;

fn connect(name: &InterfaceName) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(Path::new(FOLDER).join(format!("{name}.sock")))?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.set_write_timeout(Some(DEADLINE))?;
    Ok(socket)
}

pub(super) fn read(name: &InterfaceName) -> Result<Device, WireGuardError> {
    let answer = || -> io::Result<Device> {
        let mut socket = connect(name)?;
        socket.write_all(b"get=1\n\n")?;
        parse(BufReader::new(socket.take(MOST)))
    };
    answer().map_err(|error| WireGuardError::Failed {
        name: name.clone(),
        what: "read the device from its daemon",
        error,
    })
}

pub(super) fn set_keepalive(
    name: &InterfaceName,
    peers: &[PublicKey],
    seconds: u16,
) -> Result<(), WireGuardError> {
    let set = || -> io::Result<()> {
        let mut socket = connect(name)?;
        socket.write_all(request(peers, seconds).as_bytes())?;
        let mut answer = BufReader::new(socket.take(MOST));
        loop {
            match line(&mut answer)?.split_once('=') {
                Some(("errno", "0")) => return Ok(()),
                Some(("errno", number)) => return Err(errno(number)),
                _ => {}
            }
        }
    };
    set().map_err(|error| WireGuardError::Failed {
        name: name.clone(),
        what: "set keepalives through its daemon",
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

/// A daemon states Linux error numbers, some of them negative.
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

fn parse(mut answer: impl BufRead) -> io::Result<Device> {
    let mut listen_port = None;
    let mut peers = BTreeMap::new();
    let mut peer = None;
    loop {
        let line = line(&mut answer)?;
        match line.split_once('=') {
            Some(("errno", "0")) => return Ok(Device { listen_port, peers }),
            Some(("errno", number)) => return Err(errno(number)),
            Some(("listen_port", port)) => {
                listen_port = Some(
                    port.parse()
                        .map_err(|_| invalid("a listen port that is none"))?,
                )
                .filter(|port| *port != 0)
            }
            Some(("public_key", hex)) => {
                let key = key(hex).ok_or_else(|| invalid("a public key that is none"))?;
                peers.insert(key, 0);
                peer = Some(key);
            }
            Some(("persistent_keepalive_interval", seconds)) => {
                let seconds = seconds
                    .parse()
                    .map_err(|_| invalid("a keepalive that is none"))?;
                let keepalive = peer
                    .and_then(|key| peers.get_mut(&key))
                    .ok_or_else(|| invalid("a keepalive before any peer"))?;
                *keepalive = seconds;
            }
            // Keys, endpoints and counters are nothing to us.
            _ => {}
        }
    }
}

fn key(hex: &str) -> Option<PublicKey> {
    let mut bytes = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(PublicKey::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(byte: u8) -> String {
        format!("{byte:02x}").repeat(32)
    }

    #[test]
    fn reads_what_a_daemon_says() {
        let text = format!(
            "private_key={}\nlisten_port=51820\npublic_key={}\nallowed_ip=10.0.0.1/32\npersistent_keepalive_interval=10\nlast_handshake_time_sec=0\npublic_key={}\nnew_thing=1\nerrno=0\n\n",
            hex(9),
            hex(1),
            hex(2)
        );
        let device = parse(text.as_bytes()).unwrap();
        assert_eq!(device.listen_port, Some(51820));
        assert_eq!(
            device.peers.into_iter().collect::<Vec<_>>(),
            [(PublicKey::new([1; 32]), 10), (PublicKey::new([2; 32]), 0)]
        );
    }

    #[test]
    fn broken_answers_are_errors() {
        let good_key = hex(1);
        for bad in [
            "",
            "listen_port=51820\n",
            "listen_port=99999\nerrno=0\n",
            "public_key=zz\nerrno=0\n",
            "persistent_keepalive_interval=1\nerrno=0\n",
            &format!("public_key={good_key}\npersistent_keepalive_interval=x\nerrno=0\n"),
            "errno=-22\n",
            "errno=lots\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn asks_for_existing_peers_only() {
        let request = request(&[PublicKey::new([0xab; 32])], 25);
        assert_eq!(
            request,
            format!(
                "set=1\npublic_key={}\nupdate_only=true\npersistent_keepalive_interval=25\n\n",
                hex(0xab)
            )
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _either = parse(&bytes[..]).is_ok();
        }
    }
}
