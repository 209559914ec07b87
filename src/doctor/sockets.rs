//! Sockets that wait for somebody, from /proc/net (proc_pid_net(5)).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::Protocol;

/// A TCP socket that listens, or a UDP socket without a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    /// TCP or UDP.
    pub(super) protocol: Protocol,
    /// The address it is bound to; all where unspecified.
    pub(super) address: IpAddr,
    /// Its port.
    pub(super) port: u16,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match self.address {
            IpAddr::V4(address) => write!(f, "{} {address}:{port}", self.protocol),
            IpAddr::V6(address) => write!(f, "{} [{address}]:{port}", self.protocol),
        }
    }
}

impl Socket {
    /// Whether packets to this address of ours reach it. A socket on `::` takes
    /// IPv4 too unless it was told not to, which cannot be seen here.
    pub(super) fn takes(&self, address: Ipv4Addr) -> bool {
        match self.address {
            IpAddr::V4(own) => own == address || own.is_unspecified(),
            IpAddr::V6(own) => own.is_unspecified() || own.to_ipv4_mapped() == Some(address),
        }
    }
}

/// State of a TCP socket that listens, and of a UDP socket that is not connected.
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// The sockets in a table of /proc/net: `tcp`, `tcp6`, `udp` or `udp6`. Lines of
/// another form are skipped.
pub(super) fn parse(protocol: Protocol, table: &str) -> Vec<Socket> {
    let state = match protocol {
        Protocol::Tcp => LISTENS,
        Protocol::Udp => UNCONNECTED,
    };
    let socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, port) = fields.next()?.split_once(':')?;
        let found = fields.nth(1)?;
        (found == state).then_some(Socket {
            protocol,
            address: ip(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
        })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Words of 32 bits in the machine's own byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = hex.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(IpAddr::V4(word(0)?.into())),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As a little-endian machine prints them.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 05101CAC:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2
   2: 05101CAC:0016 01101CAC:C350 01 00000000:00000000 00:00000000 00000000     0        0 3
   3: broken
";
    const UDP6: &str = "  sl  local_address                         remote_address                        st
  10: 00000000000000000000000000000000:CA6C 00000000000000000000000000000000:0000 07 00000000:00000000
  11: 0000000000000000FFFF00000100007F:0035 00000000000000000000000000000000:0000 07 00000000:00000000
";

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_tables() {
        let text = |sockets: Vec<Socket>| -> Vec<String> {
            sockets.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            text(parse(Protocol::Tcp, TCP)),
            ["tcp 127.0.0.1:8080", "tcp 172.28.16.5:22"]
        );
        let udp = parse(Protocol::Udp, UDP6);
        assert!(udp[0].takes([172, 28, 16, 5].into()) && !udp[1].takes([1, 1, 1, 1].into()));
        assert!(udp[1].takes(Ipv4Addr::LOCALHOST));
        assert_eq!(text(udp), ["udp [::]:51820", "udp [::ffff:127.0.0.1]:53"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}", hex in "[0-9A-F:]{0,60}") {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let table = format!("head\n{text}\n 0: {hex} {hex} 0A 07\n0: {text}:{hex} x 07");
                proptest::prop_assert!(parse(protocol, &table).len() <= table.lines().count());
            }
        }
    }
}
