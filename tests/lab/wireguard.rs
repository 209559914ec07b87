//! WireGuard in the guest: the kernel's when it has it, else wireguard-go.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::launch::Unavailable;
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// A WireGuard interface of the guest.
#[derive(Debug)]
pub(crate) struct WireGuard<'w> {
    world: &'w World,
    name: String,
    daemon: Option<Process<'w>>,
}

/// The public key of peer `index`: any 32 bytes are one, so these can be read.
pub(crate) fn peer_key(index: usize) -> String {
    format!("peer{index:0>38}A=")
}

impl World {
    /// Makes a WireGuard interface with `peers` peers that have no keepalive,
    /// and sets it up. The error is [`Unavailable`] when this machine has
    /// neither the kernel's WireGuard nor what wireguard-go needs.
    pub(crate) fn wireguard(&self, name: &str, peers: usize) -> Result<WireGuard<'_>> {
        let daemon = self.wireguard_device(Place::Guest, name)?;
        let wireguard = WireGuard {
            world: self,
            name: name.to_owned(),
            daemon,
        };
        let mut conf = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\n",
            format_args!("{:a>42}A=", "priv")
        );
        for index in 0..peers {
            let key = peer_key(index);
            write!(
                conf,
                "[Peer]\nPublicKey = {key}\nAllowedIPs = 10.99.{}.{}/32\n",
                index / 256,
                index % 256
            )?;
        }
        let file = format!("/run/lab/{name}.conf");
        self.write(&file, conf)?;
        let set = self.guest(&["wg", "setconf", name, &file]);
        let set = set.map_err(|e| {
            Unavailable(format!(
                "the program wg of wireguard-tools is needed: {e:#}"
            ))
        })?;
        set.ok().context("wg setconf")?;
        self.guest(&["ip", "link", "set", name, "up"])?.ok()?;
        Ok(wireguard)
    }

    /// Makes a WireGuard device there: the kernel's, else that of the wireguard-go that is
    /// given back. All of a world share the folder of control sockets.
    pub(crate) fn wireguard_device(&self, place: Place, name: &str) -> Result<Option<Process<'_>>> {
        let add = ["ip", "link", "add", name, "type", "wireguard"];
        if self.run(place, &add, b"")?.success() {
            return Ok(None);
        }
        self.wireguard_go(place, name).map(Some)
    }

    fn wireguard_go(&self, place: Place, name: &str) -> Result<Process<'_>> {
        let open = self.guest(&["sh", "-c", "exec 3<>/dev/net/tun"])?;
        if !open.success() {
            return Err(Unavailable(
                "/dev/net/tun is not accessible for this user, and the kernel has no WireGuard"
                    .to_owned(),
            )
            .into());
        }
        let daemon = self
            .spawn(
                place,
                &["wireguard-go", "-f", name],
                &[("LOG_LEVEL", "error")],
            )
            .map_err(|e| {
                Unavailable(format!(
                    "the kernel has no WireGuard and wireguard-go is missing: {e:#}"
                ))
            })?;
        let socket = self.path(format!("/run/wireguard/{name}.sock"));
        until(
            "the socket of wireguard-go",
            Duration::from_secs(10),
            || {
                if let Some(status) = daemon.wait(Duration::ZERO)? {
                    bail!("wireguard-go ended: {status:?}: {}", daemon.stderr()?);
                }
                // It is there before it listens.
                Ok(UnixStream::connect(&socket).ok().map(drop))
            },
        )?;
        Ok(daemon)
    }
}

impl WireGuard<'_> {
    /// Whether wireguard-go serves it, and not the kernel.
    pub(crate) fn userspace(&self) -> bool {
        self.daemon.is_some()
    }

    /// The process that serves it in userspace.
    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Process::pid)
    }

    /// Where the kernel serves the device nothing can stand between it and the agent.
    pub(crate) fn only_userspace(&self) -> Result<()> {
        if self.userspace() {
            return Ok(());
        }
        Err(Unavailable(
            "this kernel serves WireGuard itself; the VM test has these cases".to_owned(),
        )
        .into())
    }

    /// Sends a signal to the wireguard-go of its world: there must be only one.
    pub(crate) fn signal_daemon(&self, signal: &str) -> Result<()> {
        let script = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = wireguard-go ] && kill -$0 ${p#/proc/}; done 2>/dev/null; true";
        self.world
            .guest(&["sh", "-c", script, signal])?
            .ok()
            .map(drop)
    }

    /// Each peer's public key with its keepalive in seconds; `None` is off.
    pub(crate) fn keepalives(&self) -> Result<BTreeMap<String, Option<u16>>> {
        let text = self
            .world
            .guest(&["wg", "show", &self.name, "persistent-keepalive"])?
            .ok()?;
        let entry = |line: &str| {
            let (key, value) = line.split_once('\t').context("a line without a tab")?;
            Ok((
                key.to_owned(),
                if value == "off" {
                    None
                } else {
                    Some(value.parse()?)
                },
            ))
        };
        text.lines().map(entry).collect()
    }

    /// Sets one peer's keepalive in seconds, 0 for off.
    pub(crate) fn set_keepalive(&self, index: usize, seconds: u16) -> Result<()> {
        let (key, seconds) = (peer_key(index), seconds.to_string());
        self.world
            .guest(&[
                "wg",
                "set",
                &self.name,
                "peer",
                &key,
                "persistent-keepalive",
                &seconds,
            ])?
            .ok()
            .map(drop)
    }

    /// Adds one peer without a keepalive.
    pub(crate) fn add_peer(&self, index: usize) -> Result<()> {
        self.world
            .guest(&["wg", "set", &self.name, "peer", &peer_key(index)])?
            .ok()
            .map(drop)
    }

    /// Removes one peer.
    pub(crate) fn remove_peer(&self, index: usize) -> Result<()> {
        self.world
            .guest(&["wg", "set", &self.name, "peer", &peer_key(index), "remove"])?
            .ok()
            .map(drop)
    }

    /// Removes the interface; a daemon that serves it ends.
    pub(crate) fn remove(self) -> Result<()> {
        self.world.guest(&["ip", "link", "del", &self.name])?.ok()?;
        if let Some(daemon) = &self.daemon {
            daemon.finish(Duration::from_secs(10))?;
        }
        Ok(())
    }
}
