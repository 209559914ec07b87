//! The arguments of AddForward, read as the configuration is.

use std::num::NonZeroU16;

use serde::de::DeserializeOwned;

use super::error::Error;
use crate::{
    config::{Forward, Remarks},
    model::from_word,
};

/// Longest argument in bytes; the longest valid one is a name.
const MAX_LENGTH: usize = 64;

/// The arguments as received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) name: &'a str,
    pub(super) protocol: &'a str,
    pub(super) listen_address: &'a str,
    pub(super) listen_port: u16,
    pub(super) connect_port: u16,
    pub(super) firewall: &'a str,
}

impl Arguments<'_> {
    /// The forward. An empty address or firewall is the configuration's default, and
    /// 0 for `connect_port` is `listen_port`. The name's characters are checked where
    /// the drop-in is written.
    pub(super) fn forward(self) -> Result<Forward, Error> {
        let listen_port = NonZeroU16::new(self.listen_port).ok_or_else(|| {
            Error::Forward("listen-port is 0; it is a number from 1 to 65535".to_owned())
        })?;
        let or = |given, default| if str::is_empty(given) { default } else { given };
        Ok(Forward {
            name: short("name", self.name)?.to_owned(),
            protocol: read("protocol", self.protocol)?,
            listen_address: read("listen-address", or(self.listen_address, "0.0.0.0"))?,
            listen_port,
            connect_port: NonZeroU16::new(self.connect_port).unwrap_or(listen_port),
            firewall: read("firewall", or(self.firewall, "local"))?,
            backend: None,
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
