//! `[dns]`: name resolution.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize as _;
use toml::de::DeValue;

use super::reader::Reader;
use crate::model::{Zone, no_zone_server};

/// Name resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whether the agent starts systemd-resolved where it is enabled, has failed, and
    /// /etc/resolv.conf names it.
    pub repair: bool,
    /// Domains of the mesh, and the servers in it that resolve each.
    pub zones: Zones,
}

/// Servers by domain.
pub type Zones = BTreeMap<Zone, Vec<IpAddr>>;

impl Default for Dns {
    fn default() -> Self {
        Self {
            repair: true,
            zones: Zones::new(),
        }
    }
}

/// Most zones, and most servers of each.
const MOST: (usize, usize) = (32, 8);

impl Reader<'_> {
    /// Takes a table of zones, and says all that is wrong with it, each at its place.
    pub(super) fn zones(&mut self, key: &'static str, zones: &mut Zones) {
        let Some(value) = self.value(key) else {
            return;
        };
        let offset = value.span().start;
        let DeValue::Table(entries) = value.into_inner() else {
            let why = "is no table: write { \"mesh.internal\" = [\"10.10.0.1\"] }";
            return self.refuse(offset, key, why);
        };
        let mut found: BTreeMap<Zone, (usize, Vec<IpAddr>)> = BTreeMap::new();
        for (name, value) in entries {
            let (at, name) = (name.span().start, name.into_inner().into_owned());
            let what = format!("{key}.{name:?}");
            let zone = Zone::parse(&name).map_err(|why| self.refuse(at, &what, &why));
            let servers = self.servers(&what, value);
            let (Ok(zone), Some(servers)) = (zone, servers) else {
                continue;
            };
            if let Some((first, _)) = found.get(&zone) {
                let there = self.place(*first);
                let why = format!("{zone} is at {there} already; leave one out");
                self.refuse(at, &what, &why);
                continue;
            }
            found.insert(zone, (at, servers));
        }
        if found.len() > MOST.0 {
            let why = format!("{} zones: {} is the most", found.len(), MOST.0);
            self.refuse(offset, key, &why);
        }
        let found = found.into_iter();
        *zones = found.map(|(zone, (_, servers))| (zone, servers)).collect();
    }

    /// The servers of one zone.
    fn servers(&mut self, what: &str, value: toml::Spanned<DeValue<'_>>) -> Option<Vec<IpAddr>> {
        let offset = value.span().start;
        let DeValue::Array(values) = value.into_inner() else {
            let why = "is no list of servers: write [\"10.10.0.1\"]";
            self.refuse(offset, what, why);
            return None;
        };
        let (count, mut servers) = (values.len(), Vec::new());
        for value in values {
            let at = value.span().start;
            let text = String::deserialize(toml::de::ValueDeserializer::from(value));
            let address = text.ok().and_then(|text| text.parse::<IpAddr>().ok());
            let wrong = match address {
                None => Some("a server is an IP address without a port, such as \"10.10.0.1\""),
                Some(address) if servers.contains(&address) => Some("it is named twice"),
                Some(address) => no_zone_server(address),
            };
            match (wrong, address) {
                (None, Some(address)) => servers.push(address),
                (why, _) => self.refuse(at, what, why.unwrap_or_default()),
            }
        }
        if count == 0 {
            self.refuse(
                offset,
                what,
                "name a server, such as [\"10.10.0.1\"], or leave the zone out",
            );
        } else if count > MOST.1 {
            let why = format!("{count} servers: {} is the most", MOST.1);
            self.refuse(offset, what, &why);
        }
        (servers.len() == count && (1..=MOST.1).contains(&count)).then_some(servers)
    }
}

#[cfg(test)]
mod tests;
