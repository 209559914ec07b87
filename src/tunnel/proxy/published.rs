//! What is published, as Rancher Desktop's guest agent says it: JSON objects such as
//! `{"remove": false, "ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}}`,
//! one after another (its `PortMapping`, with the `PortMap` of Docker's go-connections).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

use serde::Deserialize;
use wslmesh_relay::protocol::{Listen, Protocol};

use crate::model::plain;

/// Most bytes of a message.
pub(super) const LONGEST: usize = 1 << 20;

/// The message.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default, alias = "Remove")]
    remove: bool,
    #[serde(alias = "Ports")]
    ports: BTreeMap<String, Option<Vec<Binding>>>,
}

/// Where one port is published.
#[derive(Debug, Deserialize)]
struct Binding {
    #[serde(default, rename = "HostIp", alias = "HostIP")]
    address: String,
    #[serde(default, rename = "HostPort")]
    port: String,
}

/// What a message wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// These are published no longer.
    pub(super) remove: bool,
    /// Addresses of loopback, and ports.
    pub(super) listens: BTreeSet<Listen>,
    /// What cannot be done of it, and why.
    pub(super) refused: Vec<String>,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Invalid {
    #[error("it is no message of ports: {}", plain(&.0.to_string()))]
    Json(#[from] serde_json::Error),
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
}

/// The whole messages at the beginning, and how many bytes they take. More bytes may
/// complete the rest.
pub(super) fn take(bytes: &[u8]) -> Result<(Vec<Change>, usize), Invalid> {
    let mut messages = serde_json::Deserializer::from_slice(bytes).into_iter::<Message>();
    let mut changes = Vec::new();
    let mut used = 0;
    loop {
        match messages.next() {
            Some(Ok(message)) => changes.push(message.change()),
            Some(Err(error)) if error.is_eof() => break,
            Some(Err(error)) => return Err(error.into()),
            None => {
                // White space may be left.
                return Ok((changes, bytes.len()));
            }
        }
        used = messages.byte_offset();
    }
    if bytes.len() - used > LONGEST {
        return Err(Invalid::TooLong);
    }
    Ok((changes, used))
}

impl Message {
    fn change(self) -> Change {
        let mut change = Change {
            remove: self.remove,
            ..Change::default()
        };
        for (port, bindings) in self.ports {
            for binding in bindings.unwrap_or_default() {
                match binding.listens(&port) {
                    Ok(listens) => change.listens.extend(listens),
                    Err(why) => change.refused.push(format!("{}: {why}", plain(&port))),
                }
            }
        }
        change
    }
}

impl Binding {
    /// The addresses of loopback on which it appears.
    fn listens(&self, port: &str) -> Result<impl Iterator<Item = Listen>, String> {
        let protocol = match port.split_once('/').map(|(_, protocol)| protocol) {
            // So Docker writes TCP, too.
            None => Protocol::Tcp,
            Some(name) if name.eq_ignore_ascii_case("tcp") => Protocol::Tcp,
            Some(name) if name.eq_ignore_ascii_case("udp") => Protocol::Udp,
            Some(_) => return Err("neither TCP nor UDP".to_owned()),
        };
        let listen_port: NonZeroU16 = self
            .port
            .parse()
            .map_err(|_| format!("HostPort \"{}\" is no port (1 to 65535)", plain(&self.port)))?;
        let (v4, v6) = match self.address.as_str() {
            "" => (true, true),
            text => match text.parse() {
                Ok(IpAddr::V4(ip)) if ip.is_unspecified() || ip.is_loopback() => (true, false),
                Ok(IpAddr::V6(ip)) if ip.is_unspecified() || ip.is_loopback() => (false, true),
                Ok(ip) => {
                    return Err(format!(
                        "published on {ip} alone; localhost has what is published on all addresses"
                    ));
                }
                Err(_) => {
                    return Err(format!("HostIp \"{}\" is no IP address", plain(text)));
                }
            },
        };
        let v4 = v4.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let v6 = v6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        Ok([v4, v6]
            .into_iter()
            .flatten()
            .map(move |listen_address| Listen {
                protocol,
                listen_address,
                listen_port,
            }))
    }
}

#[cfg(test)]
mod tests;
