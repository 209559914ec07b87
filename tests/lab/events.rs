//! What WSL and Windows do to the guest's network, played on purpose.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;

use crate::options::AGENT;
use crate::probe::{Attempt, Outage, PROBE, outages};
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

impl World {
    fn ip(&self, place: Place, lines: &str) -> Result<()> {
        // -4: WSL leaves the link-local IPv6 address alone.
        self.run(place, &["ip", "-4", "-batch", "-"], lines.as_bytes())?
            .ok()
            .map(drop)
            .context("ip -batch")
    }

    /// A new address for eth0 as a new start of WSL gives one: everything is
    /// flushed, then the address and the default route are set. Windows has the
    /// first address of the same network, and gets it if it is a new one.
    pub(crate) fn change_address(&self, address: &str) -> Result<()> {
        let (net, gateway) = network(address)?;
        self.ip(
            Place::Guest,
            &format!("addr flush dev eth0\naddr add {address} dev eth0\nroute add default via {gateway}\n"),
        )?;
        let windows = format!("{gateway}/{}", net.prefix_len());
        let there = self
            .host(&["ip", "-4", "-o", "addr", "show", "dev", "vEthernet"])?
            .ok()?;
        if !there.split_whitespace().any(|word| word == windows) {
            self.ip(
                Place::Windows,
                &format!("addr flush dev vEthernet\naddr add {windows} dev vEthernet\n"),
            )?;
        }
        Ok(())
    }

    /// Deletes and adds the same address and route at once, as mirrored mode
    /// does on every change of the host.
    pub(crate) fn flap(&self, address: &str) -> Result<()> {
        let (_, gateway) = network(address)?;
        self.ip(
            Place::Guest,
            &format!("addr del {address} dev eth0\naddr add {address} dev eth0\nroute add default via {gateway}\n"),
        )
    }

    /// Adds a second address to eth0.
    pub(crate) fn add_address(&self, address: &str) -> Result<()> {
        self.ip(Place::Guest, &format!("addr add {address} dev eth0\n"))
    }

    /// Deletes one address of eth0.
    pub(crate) fn delete_address(&self, address: &str) -> Result<()> {
        self.ip(Place::Guest, &format!("addr del {address} dev eth0\n"))
    }

    /// Sets eth0's MTU, as WSL copies the lowest of Windows' interfaces.
    pub(crate) fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.ip(Place::Guest, &format!("link set eth0 mtu {mtu}\n"))
    }

    /// Takes eth0 down; its routes go with that.
    pub(crate) fn link_down(&self) -> Result<()> {
        self.ip(Place::Guest, "link set eth0 down\n")
    }

    /// Takes eth0 up again and sets the default route of `address`.
    pub(crate) fn link_up(&self, address: &str) -> Result<()> {
        let (_, gateway) = network(address)?;
        self.ip(
            Place::Guest,
            &format!("link set eth0 up\nroute replace default via {gateway}\n"),
        )
    }

    /// Takes eth0 away altogether.
    pub(crate) fn remove_eth0(&self) -> Result<()> {
        self.ip(Place::Guest, "link del eth0\n")
    }

    /// Makes a new eth0 with this address.
    pub(crate) fn create_eth0(&self, address: &str) -> Result<()> {
        let (net, gateway) = network(address)?;
        self.ip(
            Place::Guest,
            "link add eth0 type veth peer name vEthernet netns windows\n",
        )?;
        self.ip(
            Place::Windows,
            &format!(
                "addr add {gateway}/{} dev vEthernet\nlink set vEthernet up\n",
                net.prefix_len()
            ),
        )?;
        self.ip(
            Place::Guest,
            &format!(
                "addr add {address} dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
            ),
        )
    }

    /// Starts a client on the home network that tries `address` every 5 ms.
    pub(crate) fn probe(&self, address: SocketAddr) -> Result<Probe<'_>> {
        self.probe_from(Place::Lan, address)
    }

    /// The same from another place.
    pub(crate) fn probe_from(&self, place: Place, address: SocketAddr) -> Result<Probe<'_>> {
        Ok(Probe {
            process: self.spawn(
                place,
                &["/init", crate::ROLE, PROBE, &address.to_string()],
                &[],
            )?,
        })
    }

    /// Whether there is an agent to start. Trials that need one check it first.
    pub(crate) fn has_agent(&self) -> bool {
        self.path(AGENT).exists()
    }

    /// Makes a link that is named like a tunnel.
    pub(crate) fn add_tunnel(&self, name: &str) -> Result<()> {
        let peer = format!("far-{name}");
        self.guest(&[
            "ip", "link", "add", name, "type", "veth", "peer", "name", &peer,
        ])?
        .ok()
        .map(drop)
    }

    /// Takes eth0's link-local IPv6 address away: the kernel has a late event for
    /// it, when no other trial holds it. For trials that count passes.
    pub(crate) fn no_late_events(&self) -> Result<()> {
        self.guest(&["ip", "-6", "addr", "flush", "dev", "eth0"])?
            .ok()
            .map(drop)
    }
}

fn network(address: &str) -> Result<(Ipv4Net, Ipv4Addr)> {
    let net: Ipv4Net = address
        .parse()
        .with_context(|| format!("{address} is not an address with a prefix length"))?;
    let gateway = net.hosts().next().context("a network without hosts")?;
    if gateway == net.addr() {
        bail!("{address} is Windows' own address in that network");
    }
    Ok((net, gateway))
}

/// A client on the home network, see [`World::probe`].
#[derive(Debug)]
pub(crate) struct Probe<'w> {
    process: Process<'w>,
}

impl Probe<'_> {
    /// All tries so far.
    pub(crate) fn attempts(&self) -> Result<Vec<Attempt>> {
        let text = self.process.stdout()?;
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// Waits for a successful try that began after `moment` (see
    /// [`now`](crate::probe::now)); an error after `limit`.
    pub(crate) fn success_after(&self, moment: u64, limit: Duration) -> Result<Attempt> {
        until("a successful connection", limit, || {
            Ok(self
                .attempts()?
                .into_iter()
                .find(|a| a.ok && a.start > moment))
        })
    }

    /// The outages so far that are over.
    pub(crate) fn outages(&self) -> Result<Vec<Outage>> {
        Ok(outages(&self.attempts()?))
    }
}
