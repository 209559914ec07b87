//! A Windows on which wslmesh is installed, and what trials of forwards through it
//! have in common.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::agent::{LIMIT, SSH};
use crate::contract::{Backend, Firewall, Grant, NAT, POLICY, Policy, Protocol};
use crate::topology::Place;
use crate::world::{World, until};

/// The port of [`TUNNEL`] on Windows.
pub(crate) const LISTEN: &str = "192.168.50.10:51820";
/// Its port in the guest.
pub(crate) const INSIDE: &str = "0.0.0.0:51821";
/// A UDP forward.
pub(crate) const TUNNEL: &str = "[[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 51820\nconnect-port = 51821\nfirewall = \"local\"\n";

/// [`LISTEN`] as an address.
pub(crate) fn listen() -> Result<SocketAddr> {
    Ok(LISTEN.parse()?)
}

/// [`SSH`] and [`TUNNEL`], with a backend.
pub(crate) fn both(backend: &str) -> String {
    format!("[host]\nbackend = \"{backend}\"\n{SSH}{TUNNEL}")
}

/// Every TCP port without firewall rules, every UDP port with one.
pub(crate) fn policy() -> Policy {
    let grant = |protocol, firewall| Grant {
        protocol,
        listen_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        listen_ports: (1, 65535),
        connect_ports: (1, 65535),
        firewall,
        backend: Backend::Auto,
    };
    Policy {
        version: POLICY,
        package: env!("CARGO_PKG_VERSION").to_owned(),
        distribution: crate::init::DISTRIBUTION.to_owned(),
        logon: true,
        mode: NAT.to_owned(),
        profiles: vec!["domain".to_owned(), "private".to_owned()],
        grants: vec![
            grant(Protocol::Tcp, Firewall::None),
            grant(Protocol::Udp, Firewall::Local),
        ],
    }
}

/// The same with TCP by the port proxy.
pub(crate) fn proxied() -> Policy {
    let mut policy = policy();
    for grant in &mut policy.grants {
        if grant.protocol == Protocol::Tcp {
            grant.backend = Backend::Portproxy;
        }
    }
    policy
}

/// Ten addresses that the guest gets one after the other, each another than the
/// one before, without prefix length.
pub(crate) fn ten() -> impl Iterator<Item = String> {
    (0..10).map(|number| format!("172.28.{}.{}", 16 + number % 8, 40 + number))
}

/// A listener as `ss` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listener {
    /// Local address and port.
    pub(crate) at: String,
    /// The program.
    pub(crate) program: String,
    /// The socket's number: another one is another socket.
    pub(crate) inode: String,
}

/// The listeners in the output of `ss -Hlnpe`.
pub(crate) fn listeners(text: &str) -> BTreeSet<Listener> {
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let at = words.nth(3)?.to_owned();
        let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest);
        let program = after("users:((\"")?.split('"').next()?.to_owned();
        let inode = after("ino:")?.split_whitespace().next()?.to_owned();
        Some(Listener { at, program, inode })
    };
    text.lines().filter_map(read).collect()
}

impl World {
    /// What listens there on this port, by `ss`; `kind` is `t` or `u`.
    pub(crate) fn listens(
        &self,
        place: Place,
        kind: &str,
        port: u16,
    ) -> Result<BTreeSet<Listener>> {
        let options = format!("-H{kind}lnpe");
        let filter = format!("sport = :{port}");
        let text = self.run(place, &["ss", &options, &filter], b"")?.ok()?;
        Ok(listeners(&text))
    }

    /// Waits until no service listens there on this port.
    pub(crate) fn closed(&self, place: Place, kind: &str, port: u16) -> Result<()> {
        until(&format!("port {port} free"), LIMIT, || {
            Ok(self.listens(place, kind, port)?.is_empty().then_some(()))
        })
    }

    /// The one listener there on this port.
    pub(crate) fn listener(&self, place: Place, kind: &str, port: u16) -> Result<Listener> {
        let found = self.listens(place, kind, port)?;
        let mut all = found.iter();
        all.next()
            .filter(|_| all.next().is_none())
            .cloned()
            .with_context(|| format!("on port {port} listen {found:?}"))
    }
}
