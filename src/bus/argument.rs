//! The arguments of AddForward and AddForwardWith, read as the configuration is.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::error::Error;
use crate::{
    config::{Forward, Remarks, connect_ports, loopback_address, parse_listen_address},
    model::{PortRange, from_word},
};

/// Longest argument in bytes; the longest valid one is a name.
const MAX_LENGTH: usize = 64;

/// The arguments as received; an empty one is not given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arguments<'a> {
    pub(super) name: &'a str,
    pub(super) protocol: &'a str,
    pub(super) listen_address: &'a str,
    pub(super) listen_port: &'a str,
    pub(super) connect_address: &'a str,
    pub(super) connect_port: &'a str,
    pub(super) firewall: &'a str,
    pub(super) backend: &'a str,
    pub(super) proxy_protocol: &'a str,
}

impl<'a> Arguments<'a> {
    /// Those with the names that a configuration file has for them.
    pub(super) fn of(keys: &'a HashMap<String, String>) -> Result<Self, Error> {
        let mut arguments = Self::default();
        for (key, value) in keys {
            let argument = match key.as_str() {
                "name" => &mut arguments.name,
                "protocol" => &mut arguments.protocol,
                "listen-address" => &mut arguments.listen_address,
                "listen-port" => &mut arguments.listen_port,
                "connect-address" => &mut arguments.connect_address,
                "connect-port" => &mut arguments.connect_port,
                "firewall" => &mut arguments.firewall,
                "backend" => &mut arguments.backend,
                "proxy-protocol" => &mut arguments.proxy_protocol,
                other => {
                    let other = short("a key", other)?;
                    return Err(Error::Forward(format!(
                        "unknown key {other:?}: known are name, protocol, listen-address, listen-port, connect-address, connect-port, firewall, backend, proxy-protocol"
                    )));
                }
            };
            *argument = value;
        }
        Ok(arguments)
    }

    /// The forward. What is not given is the configuration's default. The name's
    /// characters are checked where the drop-in is written.
    pub(super) fn forward(self) -> Result<Forward, Error> {
        let or = |given, default| if str::is_empty(given) { default } else { given };
        let wrong = |key| move |why| Error::Forward(format!("{key}: {why}"));
        let ports = |key, given| -> Result<PortRange, Error> {
            short(key, given)?.parse().map_err(wrong(key))
        };
        let given = |given: &'a str| Some(given).filter(|given| !given.is_empty());
        let listen_port = ports("listen-port", self.listen_port)?;
        let connect = given(self.connect_port).map(|given| ports("connect-port", given));
        let connect = connect_ports(listen_port, connect.transpose()?);
        let backend = given(self.backend).map(|backend| read("backend", backend));
        let listen_address = or(self.listen_address, "0.0.0.0");
        let header = given(self.proxy_protocol).map(|header| read("proxy-protocol", header));
        let to = given(self.connect_address).map(|to| {
            loopback_address(short("connect-address", to)?).map_err(wrong("connect-address"))
        });
        Ok(Forward {
            name: short("name", self.name)?.to_owned(),
            protocol: read("protocol", self.protocol)?,
            listen_address: parse_listen_address(short("listen-address", listen_address)?)
                .map_err(wrong("listen-address"))?,
            listen_port,
            connect_address: to.transpose()?,
            connect_port: connect.map_err(wrong("connect-port"))?,
            firewall: read("firewall", or(self.firewall, "local"))?,
            backend: backend.transpose()?,
            proxy_protocol: header.transpose()?,
            remarks: Remarks::default(),
        })
    }
}

/// A text that is short enough to be repeated in an error.
pub(super) fn short<'a>(key: &str, given: &'a str) -> Result<&'a str, Error> {
    if given.len() > MAX_LENGTH {
        return Err(Error::Forward(format!(
            "{key} has {} bytes, more than any right one ({MAX_LENGTH})",
            given.len()
        )));
    }
    Ok(given)
}

fn read<T: DeserializeOwned>(key: &str, given: &str) -> Result<T, Error> {
    let given = short(key, given)?;
    from_word(given).map_err(|error| Error::Forward(format!("{key} {given:?}: {error}")))
}

#[cfg(test)]
mod tests;
