//! The PROXY protocol's header, version 2: what a service learns of its client before the
//! client's own data (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, 2.2).

use std::net::{IpAddr, SocketAddr};

/// With it every header begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection that is carried for a client.
const PROXY: u8 = 0x21;
/// TCP over IPv4 and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header for a connection of this client to this address of ours, both of one family. A
/// client of IPv4 that came to a listener on `::` is one of IPv4.
#[must_use]
pub fn header(client: SocketAddr, at: SocketAddr) -> Vec<u8> {
    let (family, length, addresses) = match (client.ip().to_canonical(), at.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(at)) => {
            (TCP4, 12_u16, [client.octets(), at.octets()].concat())
        }
        _ => (TCP6, 36, [client, at].map(|end| octets(end.ip())).concat()),
    };
    let ports = [client.port().to_be_bytes(), at.port().to_be_bytes()].concat();
    let length = length.to_be_bytes();
    [
        &SIGNATURE[..],
        &[PROXY, family],
        &length,
        &addresses,
        &ports,
    ]
    .concat()
}

/// As IPv6 has it.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests;
