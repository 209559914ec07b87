//! The address that a forward leads to: that of a service on loopback alone.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Deserializer, de};

/// A loopback address, 127.0.0.0/8.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Ipv4Addr, D::Error> {
    let text = String::deserialize(from)?;
    loopback_address(&text).map_err(de::Error::custom)
}

/// One that is given.
pub(super) fn read_some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ipv4Addr>, D::Error> {
    read(from).map(Some)
}

/// A loopback address, or what to write instead of this text.
///
/// # Errors
/// It is none.
pub fn loopback_address(text: &str) -> Result<Ipv4Addr, String> {
    match text.parse() {
        Ok(IpAddr::V4(address)) if address.is_loopback() => Ok(address),
        Ok(IpAddr::V6(address)) if address.is_loopback() => Err(format!(
            "{text}: this key takes IPv4 loopback alone: let the service listen on 127.0.0.1"
        )),
        Ok(_) => Err(format!(
            "{text} is not a loopback address: write 127.0.0.1 for a service that listens there alone, or leave the key out for one that listens on all addresses"
        )),
        Err(_) => Err(format!(
            "{text:?} is not an address: write 127.0.0.1, or leave the key out"
        )),
    }
}
