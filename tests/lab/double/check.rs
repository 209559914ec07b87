//! Whether a request to `refresh.ps1` is the contract's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::contract::{
    Firewall, Forward, MIRRORED, NAT, Protocol, SYNC, SYNC_AND_PORTS, ServedBy, Sync, VERSION,
};

/// A forward whose every part is what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) protocol: Protocol,
    pub(crate) listen_address: IpAddr,
    pub(crate) listen_port: u16,
    pub(crate) connect_port: u16,
    pub(crate) served_by: ServedBy,
    pub(crate) firewall: Firewall,
}

/// A whole request.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) mirrored: bool,
    pub(crate) connect_address: Ipv4Addr,
    pub(crate) forwards: Vec<Wanted>,
}

/// Reads a request; the error names the field.
pub(crate) fn order(request: &Sync) -> Result<Order, String> {
    if request.version != VERSION {
        return Err("version: only 1 is known".to_owned());
    }
    if ![SYNC, SYNC_AND_PORTS].contains(&request.action.as_str()) {
        return Err("action: unknown".to_owned());
    }
    let mirrored = match request.mode.as_str() {
        NAT => false,
        MIRRORED => true,
        _ => return Err("mode: must be \"nat\" or \"mirrored\"".to_owned()),
    };
    let connect_address: Ipv4Addr = address(&request.connect_address, "connect-address")?;
    if connect_address.is_loopback() || connect_address.octets() < [1, 0, 0, 0] {
        return Err("connect-address: must be another machine's".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut forwards = Vec::new();
    for entry in &request.forwards {
        let wanted = forward(entry)?;
        if mirrored != (wanted.served_by == ServedBy::Guest) {
            return Err(format!(
                "served-by: not in mode {}",
                if mirrored { MIRRORED } else { NAT }
            ));
        }
        let name = (wanted.protocol, wanted.listen_address, wanted.listen_port);
        if !names.insert(name) {
            return Err(format!("{}/{} is asked for twice", name.1, name.2));
        }
        forwards.push(wanted);
    }
    Ok(Order {
        mirrored,
        connect_address,
        forwards,
    })
}

fn forward(entry: &Forward) -> Result<Wanted, String> {
    let wanted = Wanted {
        protocol: match entry.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err("protocol: must be \"tcp\" or \"udp\"".to_owned()),
        },
        listen_address: address(&entry.listen_address, "listen-address")?,
        listen_port: port(entry.listen_port, "listen-port")?,
        connect_port: port(entry.connect_port, "connect-port")?,
        served_by: match entry.served_by.as_str() {
            "portproxy" => ServedBy::Portproxy,
            "relay" => ServedBy::Relay,
            "guest" => ServedBy::Guest,
            _ => return Err("served-by: unknown".to_owned()),
        },
        firewall: match entry.firewall.as_str() {
            "none" => Firewall::None,
            "local" => Firewall::Local,
            "full" => Firewall::Full,
            _ => return Err("firewall: unknown".to_owned()),
        },
    };
    if wanted.served_by == ServedBy::Portproxy && wanted.listen_address.is_ipv6() {
        return Err("served-by: Windows' port proxy does IPv4 only".to_owned());
    }
    if wanted.served_by == ServedBy::Portproxy && wanted.protocol == Protocol::Udp {
        return Err("served-by: Windows' port proxy does TCP only".to_owned());
    }
    Ok(wanted)
}

fn address<T: Into<IpAddr> + Copy + std::str::FromStr>(
    text: &str,
    field: &str,
) -> Result<T, String> {
    let right = |address: &T| match (*address).into() {
        IpAddr::V4(address) => address.octets() < [224, 0, 0, 0],
        IpAddr::V6(address) => !address.is_multicast(),
    };
    match text.parse().ok().filter(right) {
        Some(address) => Ok(address),
        None => Err(format!("{field}: {text:?} is no address of a machine")),
    }
}

fn port(number: u64, field: &str) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(format!("{field}: must be from 1 to 65535")),
    }
}
