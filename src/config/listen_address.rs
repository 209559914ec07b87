//! The address that a forward listens on: how it is read and what it may be.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Deserializer, de};

/// An address that something can listen on.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<IpAddr, D::Error> {
    parse_listen_address(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// An address that something can listen on, or why it is none and what to write.
///
/// # Errors
/// The text is no address, or one that a forward cannot listen on.
pub fn parse_listen_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.trim_matches(['[', ']']);
    if bare != text && bare.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("{text:?} has brackets: write {bare:?}"));
    }
    if text.contains('%') {
        return Err(format!(
            "{text:?} names an interface, which is another one after a restart of Windows: write \"::\" to listen on all addresses"
        ));
    }
    let address = text.parse().map_err(|_| {
        format!(
            "{text:?} is no address: write one such as \"0.0.0.0\" (all of IPv4), \"::\" (all of IPv4 and IPv6) or \"192.168.1.7\""
        )
    })?;
    match not_for_listening(address) {
        None => Ok(address),
        Some(what) => Err(format!("{address} is {what}")),
    }
}

/// Why a forward cannot listen on an address
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, RFC 4291).
fn not_for_listening(address: IpAddr) -> Option<String> {
    let what = match address {
        IpAddr::V4(address) => match address.octets() {
            [0, 0, 0, 0] => None,
            [0, ..] => Some("of network 0"),
            [255, 255, 255, 255] => Some("the broadcast address"),
            [224..=239, ..] => Some("a multicast address"),
            [240..=255, ..] => Some("a reserved address"),
            _ => None,
        },
        IpAddr::V6(address) => {
            if let Some(ipv4) = address.to_ipv4_mapped() {
                return Some(format!("IPv4 in the form of IPv6: write \"{ipv4}\""));
            }
            if address.is_unicast_link_local() {
                let text = "a link's own address, which several interfaces may have: write \"::\" to listen on all addresses";
                return Some(text.to_owned());
            }
            address.is_multicast().then_some("a multicast address")
        }
    };
    what.map(|what| {
        format!(
            "{what}, on which nothing can listen: write an address of Windows (`ipconfig` lists them), or leave the key out to listen on all of IPv4"
        )
    })
}

#[cfg(test)]
mod tests;
