//! One machine through the modes of WSL, and then with two distributions: after each step a
//! client in the LAN gets to its services.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{LIMIT, SSH, forward};
use crate::installed::{INSIDE, TUNNEL, both, policy, proxied};
use crate::options::Options;
use crate::process::Process;
use crate::runner::trial_with;
use crate::station::Station;
use crate::status::Status;
use crate::test_members::{agent, standby};
use crate::topology::{FIRST, Place, WINDOWS_ADDRESS};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("walk::modes_and_distributions", |world| {
            walk(world, &Stations::new(world)?)
        }),
        quick("walk::with_wireguard", with_wireguard),
    ]
}

/// The same with WireGuard of the kernel.
pub(crate) fn with_wireguard(world: &World) -> Result<()> {
    walk(world, &Peers::new(world)?)
}

/// A client in the LAN, and the service behind the UDP forward.
trait Ends {
    /// They meet at this address.
    fn meet(&self, address: &str, step: &str) -> Result<()>;
}

/// Any UDP: one says something, the other answers.
struct Stations<'w> {
    client: Station<'w>,
    service: Station<'w>,
}

impl<'w> Stations<'w> {
    fn new(world: &'w World) -> Result<Self> {
        Ok(Self {
            client: world.station(Place::Lan, "0.0.0.0:0")?,
            service: world.station(Place::Guest, INSIDE)?,
        })
    }
}

impl Ends for Stations<'_> {
    fn meet(&self, address: &str, step: &str) -> Result<()> {
        let to = format!("{address}:51820").parse()?;
        let heard = self.client.reaches(to, &self.service, step)?;
        let back = self.service.reaches(heard.from, &self.client, step)?;
        ensure!(back.from == to, "{step}: {back:?}");
        Ok(())
    }
}

/// The guest's address in the tunnel.
const NEAR: &str = "10.88.0.1";
/// The client's.
const FAR: &str = "10.88.0.2";

/// WireGuard at both ends. The client knows where the guest is, which learns where the
/// client is.
struct Peers<'w> {
    world: &'w World,
    guest: String,
    _daemons: Vec<Process<'w>>,
}

impl<'w> Peers<'w> {
    fn new(world: &'w World) -> Result<Self> {
        let (mut daemons, near, far) = (Vec::new(), world.key()?, world.key()?);
        let peer = format!("[Peer]\nPublicKey = {}\nAllowedIPs = {FAR}/32\n", far.1);
        for (place, name, private, port, more, address) in [
            (Place::Guest, "wg0", near.0, 51821, peer.as_str(), NEAR),
            (Place::Lan, "far0", far.0, 51820, "", FAR),
        ] {
            daemons.extend(world.wireguard_device(place, name)?);
            let file = format!("/run/lab/{name}.conf");
            let conf = format!("[Interface]\nPrivateKey = {private}\nListenPort = {port}\n{more}");
            world.write(&file, conf)?;
            world
                .run(place, &["wg", "setconf", name, &file], b"")?
                .ok()?;
            let lines = format!("addr add {address}/24 dev {name}\nlink set {name} mtu 1280 up\n");
            world
                .run(place, &["ip", "-batch", "-"], lines.as_bytes())?
                .ok()?;
        }
        Ok(Self {
            world,
            guest: near.1,
            _daemons: daemons,
        })
    }
}

impl Ends for Peers<'_> {
    /// A handshake of its own, a ping and TCP, all through the tunnel.
    fn meet(&self, address: &str, step: &str) -> Result<()> {
        let (world, endpoint) = (self.world, format!("{address}:51820"));
        let peer = ["wg", "set", "far0", "peer", &self.guest];
        // With it goes the session.
        world.lan(&[&peer[..], &["remove"]].concat())?.ok()?;
        let allowed = format!("{NEAR}/32");
        let more = ["endpoint", &endpoint, "allowed-ips", &allowed];
        world.lan(&[&peer[..], &more].concat())?.ok()?;
        let shown = || world.lan(&["wg", "show", "far0"])?.ok();
        until(step, LIMIT, || {
            let ping = world.lan(&["ping", "-c1", "-W1", NEAR])?;
            Ok(ping.success().then_some(()))
        })
        .with_context(|| shown().unwrap_or_default())?;
        let handshakes = world
            .lan(&["wg", "show", "far0", "latest-handshakes"])?
            .ok()?;
        let at = handshakes.split_whitespace().nth(1);
        ensure!(at.is_some_and(|at| at != "0"), "{step}: {}", shown()?);
        let probe = world.probe(format!("{NEAR}:22").parse()?)?;
        probe.success_after(0, LIMIT).context(step.to_owned())?;
        Ok(())
    }
}

/// The client's way to the service of the TCP forward and then to the other one.
fn meet(world: &World, ends: &impl Ends, address: &str, step: &str) -> Result<()> {
    let probe = world.probe(format!("{address}:2222").parse()?)?;
    probe.success_after(0, LIMIT)?;
    ends.meet(address, step)
}

fn relayed(status: &Status) -> bool {
    status.serves("relay", &["ssh", "wg"])
}

fn walk(world: &World, ends: &impl Ends) -> Result<()> {
    let meet = |address, step| meet(world, ends, address, step);
    // Where the guest has Windows' addresses, Windows passes on what comes for it.
    world
        .host(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])?
        .ok()?;
    let route = [
        "ip",
        "route",
        "add",
        "172.28.16.0/20",
        "via",
        WINDOWS_ADDRESS,
    ];
    world.lan(&route)?.ok()?;
    let behind = both("auto");
    let shared = behind.replace("\"local\"", "\"none\"");

    // NAT, by the port proxy and then by the relay.
    world.windows().install(&proxied())?;
    let ported = behind.replace(
        "connect-port = 22\n",
        "connect-port = 22\nbackend = \"portproxy\"\n",
    );
    let first = world.start_agent(&ported)?;
    first.wait("the port proxy and the relay", |status| {
        status.serves("portproxy", &["ssh"]) && status.serves("relay", &["wg"])
    })?;
    meet(WINDOWS_ADDRESS, "nat")?;
    first.stop()?;
    drop(first);
    world.forwards(&[(2222, FIRST, 22)])?;

    world.switch_mode("mirrored")?;
    world.mirror()?;
    let second = world.start_agent(&shared)?;
    second.wait("the relay in here", relayed)?;
    world.forwards(&[])?;
    meet(FIRST, "mirrored")?;
    for flap in ["a flap", "another flap"] {
        world.give(FIRST)?;
        meet(FIRST, flap)?;
    }
    second.stop()?;
    drop(second);

    world.switch_mode("consomme")?;
    let third = world.start_agent(&shared)?;
    third.wait("the relay in here", relayed)?;
    meet(FIRST, "consomme")?;
    third.stop()?;
    drop(third);

    // Two distributions in NAT mode again; the leader is killed.
    world.switch_mode("nat")?;
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", &forward("web", 8080, 22))?;
    let debian = standby(world, "Debian", &format!("{SSH}{TUNNEL}"))?;
    debian.wait("its forwards", relayed)?;
    meet(WINDOWS_ADDRESS, "on standby")?;
    leader.kill()?;
    debian.wait("the lead", |status| {
        status.role == "active" && relayed(status)
    })?;
    meet(WINDOWS_ADDRESS, "after the leader's end")?;
    debian.stop()?;
    for (kind, port) in [("t", 2222), ("u", 51820), ("t", 8080)] {
        world.closed(Place::Windows, kind, port)?;
        world.closed(Place::Guest, kind, port)?;
    }
    world.forwards(&[])
}
