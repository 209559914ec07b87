//! Tunnels that come, change and go: who hears of it, and who waits for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{LIMIT, SSH, config};
use crate::control::Status;
use crate::dbus::{heard, listen, talk};
use crate::options::Options;
use crate::process::Output;
use crate::runner::trial_with;
use crate::test_path::{LAN, tunnel};
use crate::topology::FIRST;
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("mesh::changes_are_said", changes_are_said),
        quick("mesh::wait_online", wait_online),
        quick("mesh::wait_online_without_an_agent", without_an_agent),
    ]
}

fn changes_are_said(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    talk(async {
        let mut signals = listen(&world.bus().await?).await?;
        let agent = world.start_agent(&config(SSH))?;
        agent.settled(FIRST)?;
        let mut change = async |key: &str, old: &str, new: &str| {
            let body = format!("(\"wg0\", \"{key}\", \"{old}\", \"{new}\")");
            let is_it = |name: &str, found: &str| name == "MeshChanged" && found.contains(&body);
            heard(&mut signals, is_it).await.map(drop)
        };
        let wireguard = world.wireguard("wg0", 1)?;
        world.shell("ip addr add 10.99.200.1/16 dev wg0")?;
        change("MESH_IP_WIREGUARD", "", "10.99.200.1").await?;
        agent.says("tunnel wg0: address 10.99.200.1 (MESH_IP_WIREGUARD)")?;
        world.shell("ip addr add 10.98.0.7/16 dev wg0; ip addr del 10.99.200.1/16 dev wg0")?;
        change("MESH_IP_WIREGUARD", "10.99.200.1", "10.98.0.7").await?;
        wireguard.remove()?;
        change("MESH_IP_WIREGUARD", "10.98.0.7", "").await?;
        change("MESH_PORT_WIREGUARD", "51820", "").await?;
        agent.says("tunnel wg0: address 10.98.0.7 is lost (MESH_IP_WIREGUARD)")?;
        agent.stop()
    })
}

fn failed_with(output: &Output, lines: &[&str]) -> Result<()> {
    let text = &output.stderr;
    let has_all = lines.iter().all(|line| text.contains(line));
    ensure!(output.status == Status::Code(1) && has_all, "{output:?}");
    Ok(())
}

fn wait_online(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    // Nothing is configured: the address is enough.
    let alone = world.wslmesh(&["wait-online", "--timeout", "30"])?.ok()?;
    ensure!(
        alone.contains("eth0 172.28.16.5; no tunnel is configured"),
        "{alone}"
    );
    let absent = world.wslmesh(&["wait-online", "-i", "wg0", "--timeout", "1"])?;
    failed_with(
        &absent,
        &[
            "wslmesh: not online after 1 s\n",
            "wslmesh: the tunnel wg0: there is no such interface (waited for: --interface)\n",
        ],
    )?;
    let usage = world.wslmesh(&["wait-online", "-i", "a-name-too-long-for-one"])?;
    ensure!(usage.status == Status::Code(2), "{usage:?}");

    // It waits, and ends with the tunnel.
    let waiting = world.agent(&["wait-online", "-i", "wg0", "--timeout", "0"])?;
    ensure!(waiting.wait(Duration::from_millis(500))?.is_none());
    let far = format!("{LAN}:51821");
    let tunnel = tunnel(world, &far)?;
    let online = waiting.finish(LIMIT * 2)?.ok()?;
    ensure!(
        online.contains("eth0 172.28.16.5; wg0 10.88.0.1, handshake "),
        "{online}"
    );
    // The file had the address by then.
    ensure!(
        world
            .read(crate::agent::FILE)?
            .contains("MESH_IP_WIREGUARD=\"10.88.0.1\"")
    );
    let any = ["wait-online", "-i", "wg0", "-i", "wg7", "--any", "--quiet"];
    ensure!(world.wslmesh(&any)?.ok()?.is_empty());
    let all = ["wait-online", "-i", "wg0", "-i", "wg7", "--timeout", "1"];
    failed_with(&world.wslmesh(&all)?, &["the tunnel wg7: there is no such"])?;

    // A peer that never answers: another key is nobody's.
    let (_, nobody) = world.key()?;
    let peer = ["wg", "set", "wg0", "peer", &tunnel.key, "remove"];
    world.guest(&peer)?.ok()?;
    let peer = ["wg", "set", "wg0", "peer", &nobody, "endpoint", &far];
    world.guest(&peer)?.ok()?;
    let silent = world.wslmesh(&["wait-online", "-i", "wg0", "--timeout", "1"])?;
    let why = format!("the tunnel wg0: no peer has answered yet: {far}");
    failed_with(&silent, &[&why])?;
    world.shell("ip link set wg0 down")?;
    let down = world.wslmesh(&["wait-online", "-i", "wg0", "--timeout", "1"])?;
    failed_with(&down, &["the tunnel wg0: the interface is not up"])?;
    agent.stop()
}

fn without_an_agent(world: &World) -> Result<()> {
    let output = world.wslmesh(&["wait-online", "--timeout", "1"])?;
    failed_with(
        &output,
        &[
            "wslmesh: the node: /etc/wslmesh/wsl-network.conf is not up to date yet (the agent is not running: systemctl start wslmesh)\n",
            "more: wslmesh doctor; journalctl -b -u wslmesh\n",
        ],
    )?;
    // It ends as soon as one has written it.
    let waiting = world.agent(&["wait-online", "--timeout", "0"])?;
    ensure!(waiting.wait(Duration::from_millis(300))?.is_none());
    let agent = world.start_agent(&config(SSH))?;
    waiting.finish(LIMIT)?.ok()?;
    agent.stop()
}
