//! A WireGuard tunnel between a peer on the home network and the guest, both in
//! the kernel. The peer knows Windows' address alone; the guest knows no
//! endpoint and learns it.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};

use crate::topology::{Place, WINDOWS_ADDRESS};
use crate::world::World;

/// The guest's address in the tunnel.
pub(crate) const GUEST: &str = "10.77.0.1";
/// The peer's address in the tunnel.
pub(crate) const PEER: &str = "10.77.0.2";

/// A tunnel of a world, `wg0` at both ends. It ends with the world.
#[derive(Debug)]
pub(crate) struct Tunnel<'w> {
    world: &'w World,
}

impl World {
    /// Makes the tunnel's two ends. An error where the kernel has no WireGuard:
    /// one in userspace behaves differently when addresses change.
    pub(crate) fn tunnel(&self) -> Result<Tunnel<'_>> {
        for place in [Place::Guest, Place::Lan] {
            let added = self.run(
                place,
                &["ip", "link", "add", "wg0", "type", "wireguard"],
                b"",
            )?;
            added.ok().context(
                "this kernel has no WireGuard: load its module (modprobe wireguard), or run \
                 tests/vm/run.sh, which boots a kernel that has it",
            )?;
        }
        let (guest, peer) = (self.key()?, self.key()?);
        let at_guest = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = {PEER}/32\n",
            guest.0, peer.1
        );
        let at_peer = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = {GUEST}/32\nEndpoint = {WINDOWS_ADDRESS}:51820\n",
            peer.0, guest.1
        );
        for (place, conf, address) in [(Place::Guest, at_guest, GUEST), (Place::Lan, at_peer, PEER)]
        {
            let file = format!("/run/lab/{}-wg0.conf", place.name());
            self.write(&file, conf)?;
            self.run(place, &["wg", "setconf", "wg0", &file], b"")?
                .ok()?;
            let lines = format!("addr add {address}/24 dev wg0\nlink set wg0 up\n");
            self.run(place, &["ip", "-batch", "-"], lines.as_bytes())?
                .ok()?;
        }
        Ok(Tunnel { world: self })
    }

    /// A private key and its public one.
    pub(crate) fn key(&self) -> Result<(String, String)> {
        let private = self.guest(&["wg", "genkey"])?.ok()?;
        let public = self
            .run(Place::Guest, &["wg", "pubkey"], private.as_bytes())?
            .ok()?;
        Ok((private.trim().to_owned(), public.trim().to_owned()))
    }
}

impl Tunnel<'_> {
    /// What `wg show wg0 WHAT` in the guest says of the only peer.
    fn show(&self, what: &str) -> Result<String> {
        let text = self.world.guest(&["wg", "show", "wg0", what])?.ok()?;
        ensure!(text.lines().count() == 1, "{text:?}");
        let (_, value) = text.trim().split_once('\t').context("no value")?;
        Ok(value.to_owned())
    }

    /// Where the guest answers the peer: the relay.
    pub(crate) fn endpoint(&self) -> Result<SocketAddrV4> {
        let text = self.show("endpoints")?;
        text.parse().context(text)
    }

    /// The keepalive that the guest sends, in seconds or `off`.
    pub(crate) fn keepalive(&self) -> Result<String> {
        self.show("persistent-keepalive")
    }
}
