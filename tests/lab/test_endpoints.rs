//! A peer of WireGuard moves while the node is away: its name leads the node there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::agent::{Agent, LIMIT, SSH, config};
use crate::process::Process;
use crate::test_doctor::usual;
use crate::test_path::{LAN, tunnel};
use crate::topology::{FIRST, GUEST_ADDRESS};
use crate::world::{World, until};

/// Where the peer was: no machine has this address any more.
pub(crate) const WAS: &str = "192.168.50.99:51821";

/// Its name.
pub(crate) const NAME: &str = "hub.example.test";

/// Longer than an agent takes for a flap of mirrored mode.
const AWAY: Duration = Duration::from_secs(6);

/// What the name server answers, and what it was asked (with `.log`).
pub(crate) const ANSWERS: &str = "/run/lab/answers";

/// Has the name server answer this from now on.
pub(crate) fn answer(world: &World, how: &str) -> Result<()> {
    // In one piece: it may be read at any moment.
    world.write(format!("{ANSWERS}.new"), how)?;
    let from = world.path(format!("{ANSWERS}.new"));
    Ok(std::fs::rename(from, world.path(ANSWERS))?)
}

/// A name server for [`NAME`], which is the peer's by wg0's configuration, and for no other.
pub(crate) fn by_name<'w>(world: &'w World, key: &str, how: &str) -> Result<Process<'w>> {
    world.shell("rm -f /etc/nsswitch.conf; echo 'hosts: dns' >/etc/nsswitch.conf")?;
    let conf = format!(
        "[Interface]\nPrivateKey = not read\n[Peer]\nPublicKey = {key}\nEndpoint = {NAME}:51821\n"
    );
    world.write("/etc/wireguard/wg0.conf", conf)?;
    answer(world, how)?;
    world.name_server("10.255.255.254", &format!("file={ANSWERS}"))
}

/// What `wg show wg0 WHAT` says of the only peer.
pub(crate) fn shown(world: &World, what: &str) -> Result<String> {
    let text = world.guest(&["wg", "show", "wg0", what])?.ok()?;
    let (_, value) = text.trim().split_once('\t').context("no value")?;
    Ok(value.to_owned())
}

/// Takes the network away for a while, in which the peer moves, and waits for the recovery.
fn be_away(world: &World, agent: &Agent) -> Result<()> {
    world.link_down()?;
    agent.wait("the loss", |status| status.address.is_none())?;
    answer(world, &format!("a=10.88.0.2,{LAN}"))?;
    // How long it is away is what this is about.
    std::thread::sleep(AWAY);
    world.link_up(GUEST_ADDRESS)?;
    agent.wait("the recovery", |status| status.resumed.is_some())?;
    Ok(())
}

/// The peer has no endpoint of the node and cannot speak first, so that a handshake shows
/// that the node has found it. Names of the mesh lead into the tunnel, and are no way to it.
pub(crate) fn a_peer_has_moved(world: &World) -> Result<()> {
    usual(world)?;
    let tunnel = tunnel(world, WAS)?;
    let _server = by_name(world, &tunnel.key, "a=192.168.50.99")?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    ensure!(shown(world, "endpoints")? == WAS);
    be_away(world, &agent)?;
    let moved = format!("endpoint {WAS} -> {LAN}:51821 ({NAME})");
    agent.says(&moved)?;
    ensure!(shown(world, "endpoints")? == format!("{LAN}:51821"));
    until("a handshake", LIMIT * 2, || {
        Ok((shown(world, "latest-handshakes")? != "0").then_some(()))
    })?;
    let log = agent.log()?;
    let sets = log.matches(&format!("({NAME})")).count();
    ensure!(sets == 1, "it is set once: {log}");
    agent.stop()
}
