//! Which name servers lead through the tunnel.

use std::net::IpAddr;

use crate::model::Nameserver;

/// The name servers of this machine that the switch answers for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Servers {
    /// Whose address leads through the tunnel.
    pub(super) whole: Vec<IpAddr>,
    /// Of whose address only port 53 does: what Windows forwards to this machine comes from
    /// it as well.
    pub(super) by_port: Vec<IpAddr>,
}

impl Servers {
    /// Decides it. `local` are the addresses of this machine, as that of WSL's DNS tunnelling
    /// is: those are left alone, as are addresses of one link.
    pub(super) fn of(named: &[Nameserver], local: &[IpAddr], gateways: &[IpAddr]) -> Self {
        let mut servers = Self::default();
        for Nameserver { address, zone } in named {
            let address = *address;
            let of_link = match address {
                IpAddr::V4(ip) => ip.is_link_local(),
                IpAddr::V6(ip) => ip.is_unicast_link_local(),
            };
            let unusable = address.is_loopback() || address.is_unspecified();
            let here = unusable || local.contains(&address);
            if zone.is_some() || of_link || here || servers.all().any(|known| known == address) {
                continue;
            }
            match gateways.contains(&address) {
                true => servers.by_port.push(address),
                false => servers.whole.push(address),
            }
        }
        servers
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.whole.iter().chain(&self.by_port).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_servers_are_left_alone() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let texts = [
            "10.255.255.254",
            "127.0.0.53",
            "172.28.16.1",
            "9.9.9.9",
            "9.9.9.9",
            "fe80::1",
            "2620:fe::fe",
        ];
        let named = texts.map(|text| Nameserver::from(ip(text)));
        let servers = Servers::of(
            &named,
            &[ip("10.255.255.254"), ip("172.28.16.5")],
            &[ip("172.28.16.1")],
        );
        assert_eq!(servers.whole, [ip("9.9.9.9"), ip("2620:fe::fe")]);
        assert_eq!(servers.by_port, [ip("172.28.16.1")]);
    }
}
