//! The main job: whatever WSL does to the network, the file, the tunnels and
//! Windows' forwards follow by themselves.

use std::os::unix::fs::MetadataExt;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, CONFIG, FILE, LIMIT, SSH, config};
use crate::options::Options;
use crate::probe::now;
use crate::runner::{trial, trial_with};
use crate::topology::{FIRST, GUEST_ADDRESS};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        trial("agent::address_change", address_change),
        quick("agent::three_changes", three_changes),
        quick("agent::file_keeps_what_is_not_ours", foreign_lines),
        quick("agent::flap", flap),
        quick("agent::mtu_lowered", mtu_lowered),
        quick("agent::mtu_set_back", mtu_set_back),
        quick("agent::tunnel_appears_later", tunnel_appears_later),
        quick("agent::link_down_and_up", link_down_and_up),
        quick("agent::second_address", second_address),
        quick("agent::eth0_gone_and_back", eth0_gone_and_back),
        quick("agent::started_before_the_network", before_the_network),
        trial_with(
            "agent::without_binfmt",
            Options {
                binfmt: false,
                ..Options::quick()
            },
            without_binfmt,
        ),
    ]
}

/// Calls until the first forwards are made: what WSL's user may do is asked first.
const FIRST_CALLS: usize = 2;

fn started(world: &World) -> Result<Agent<'_>> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    world.forwards(&[(2222, FIRST, 22)])?;
    Ok(agent)
}

/// After `address/20`, with its gateway, everything follows, and a client on
/// the home network gets through.
fn follows(world: &World, agent: &Agent, address: &str, gateway: &str) -> Result<()> {
    let before = now();
    agent.settled(address)?;
    world.forwards(&[(2222, address, 22)])?;
    world.states("WSL_IP", address)?;
    let (network, prefix) = (
        gateway.rsplit_once('.').map_or("", |(start, _)| start),
        "0/20",
    );
    ensure!(
        world.sourced(&[
            "WSL_GATEWAY",
            "WSL_NETWORK",
            "WSL_INTERFACE",
            "WSL_NETWORKING_MODE"
        ])? == [gateway, &format!("{network}.{prefix}"), "eth0", "nat"]
    );
    let probe = world.probe("192.168.50.10:2222".parse()?)?;
    probe.success_after(before, LIMIT)?;
    Ok(())
}

fn address_change(world: &World) -> Result<()> {
    let agent = started(world)?;
    let probe = world.probe("192.168.50.10:2222".parse()?)?;
    probe.success_after(now(), LIMIT)?;
    world.change_address("172.28.27.77/20")?;
    // In-distro effects do not wait for the 0.7 s of Windows.
    world.states("WSL_IP", "172.28.27.77")?;
    ensure!(
        world
            .windows()
            .table()?
            .iter()
            .all(|rule| rule.connect_address.as_deref() == Some(FIRST)),
        "the file came after Windows"
    );
    follows(world, &agent, "172.28.27.77", "172.28.16.1")?;
    probe.success_after(now(), LIMIT)?;
    let line = agent.says("address 172.28.16.5 -> 172.28.27.77")?;
    ensure!(line.contains(&format!("rewrite {FILE}")), "{line}");
    agent.says("Windows forward 0.0.0.0:2222 -> 172.28.27.77: 1 set")?;
    let calls = world.windows().calls()?;
    ensure!(
        calls.len() == FIRST_CALLS + 1,
        "one call for each address: {calls:?}"
    );
    ensure!(
        agent
            .heard()
            .iter()
            .any(|line| line.contains("STATUS=172.28.27.77 (nat), 1 forwarded, healthy")),
        "{:?}",
        agent.heard()
    );
    Ok(())
}

fn three_changes(world: &World) -> Result<()> {
    let agent = started(world)?;
    for (address, gateway) in [
        ("172.28.27.77", "172.28.16.1"),
        ("172.19.3.4", "172.19.0.1"),
        ("172.28.16.5", "172.28.16.1"),
    ] {
        world.change_address(&format!("{address}/20"))?;
        follows(world, &agent, address, gateway)?;
    }
    ensure!(world.windows().calls()?.len() == FIRST_CALLS + 3);
    ensure!(world.windows().ledger()? == world.windows().table()?);
    Ok(())
}

fn foreign_lines(world: &World) -> Result<()> {
    let before = "# mine\r\nexport SITE='a b'   # kept\nWSL_IP=10.0.0.1 # old\n\n\tQUOTED=\"1\\$2\"\nWSL_MTU='9'\nLAST=no-newline";
    world.write(FILE, before)?;
    let agent = world.start_agent(&config(SSH))?;
    for (address, plain) in [(GUEST_ADDRESS, FIRST), ("172.28.27.77/20", "172.28.27.77")] {
        if plain != FIRST {
            world.change_address(address)?;
        }
        agent.settled(plain)?;
        let text = world.read(FILE)?;
        let (ours, theirs): (Vec<&str>, Vec<&str>) = text.split('\n').partition(|line| {
            ["WSL_", "PRIMARY_", "MESH_", "KEEPALIVE_", "WINDOWS_"]
                .iter()
                .any(|key| line.starts_with(key))
        });
        ensure!(
            theirs
                .iter()
                .filter(|line| !line.is_empty())
                .copied()
                .collect::<Vec<_>>()
                == [
                    "# mine\r",
                    "export SITE='a b'   # kept",
                    "\tQUOTED=\"1\\$2\"",
                    "LAST=no-newline"
                ],
            "{text:?}"
        );
        ensure!(
            ours.contains(&format!("WSL_IP={plain} # old").as_str())
                && ours.contains(&"WSL_MTU='1500'"),
            "{text:?}"
        );
        ensure!(
            world.sourced(&["WSL_IP", "WSL_MTU", "SITE", "QUOTED", "LAST"])?
                == [plain, "1500", "a b", "1$2", "no-newline"],
            "{text:?}"
        );
    }
    Ok(())
}

fn flap(world: &World) -> Result<()> {
    let agent = started(world)?;
    let (text, file) = (world.read(FILE)?, std::fs::metadata(world.path(FILE))?);
    for _ in 0..3 {
        let passes = agent.settled(FIRST)?.passes;
        world.flap(GUEST_ADDRESS)?;
        agent.pass_after(passes)?;
        agent.settled(FIRST)?;
    }
    let after = std::fs::metadata(world.path(FILE))?;
    ensure!(
        world.read(FILE)? == text
            && (file.ino(), file.mtime_nsec()) == (after.ino(), after.mtime_nsec()),
        "the file was written"
    );
    let calls = world.windows().calls()?;
    ensure!(calls.len() == FIRST_CALLS, "{calls:?}");
    Ok(())
}

fn mtu_lowered(world: &World) -> Result<()> {
    world.add_tunnel("tailscale0")?;
    world.windows().set_lowest_mtu(Some(("Tailscale", 1280)))?;
    let agent = started(world)?;
    world.has_mtu("tailscale0", 1280)?;
    ensure!(world.mtu("eth0")? == 1500, "eth0 carries it as it is");
    world.states("WSL_MTU", "1500")?;
    world.set_mtu(1280)?;
    world.has_mtu("eth0", 1340)?;
    world.states("WSL_MTU", "1340")?;
    let line = agent.says("eth0 mtu 1280 -> 1340")?;
    ensure!(
        line.contains("the Windows adapter \"Tailscale\" has MTU 1280"),
        "{line}"
    );
    // Now it is large enough: what WSL sets above that stays.
    world.set_mtu(1400)?;
    world.states("WSL_MTU", "1400")?;
    ensure!(world.mtu("eth0")? == 1400 && world.mtu("tailscale0")? == 1280);
    drop(agent);
    let said = world.wslmesh(&["restore"])?.ok()?;
    ensure!(
        said.contains("restored: tailscale0 mtu 1500") && world.mtu("tailscale0")? == 1500,
        "{said}"
    );
    Ok(())
}

/// WSL sets eth0 back after each change of an adapter: that is raised twice. A third time
/// it is left, with a finding that names the adapter, in the status and in doctor.
fn mtu_set_back(world: &World) -> Result<()> {
    world.add_tunnel("tailscale0")?;
    world.windows().set_lowest_mtu(Some(("Tailscale", 1280)))?;
    let agent = started(world)?;
    for _ in 0..2 {
        world.set_mtu(1280)?;
        world.has_mtu("eth0", 1340)?;
        world.states("WSL_MTU", "1340")?;
        agent.healthy()?;
    }
    let opponent = world.spawn_guest(
        &[
            "sh",
            "-c",
            "while :; do ip link set eth0 mtu 1280; sleep 0.02; done",
        ],
        &[],
    )?;
    let health = agent.raised("contested")?;
    ensure!(
        health.subject == "eth0 mtu"
            && health
                .detail
                .contains("the Windows adapter \"Tailscale\" has MTU 1280"),
        "{health:?}"
    );
    world.states("WSL_MTU", "1280")?;
    let log = agent.log()?;
    let changes = log.matches("eth0 mtu 1280 -> 1340").count();
    // One in each line of a change, and one in the finding.
    ensure!(changes == 3, "{changes}: {log}");
    let doctor = world.wslmesh(&["doctor", "mtu", "--config", CONFIG])?;
    let page = Vec::from_iter(doctor.stdout.split_whitespace()).join(" ");
    ensure!(
        page.contains("underlay-mtu eth0 has 1280 and needs 1340")
            && page.contains("the Windows adapter \"Tailscale\" has MTU 1280"),
        "{page}"
    );
    drop(opponent);
    Ok(())
}

fn tunnel_appears_later(world: &World) -> Result<()> {
    let agent = started(world)?;
    world.add_tunnel("tailscale0")?;
    world
        .guest(&["ip", "addr", "add", "100.64.0.9/32", "dev", "tailscale0"])?
        .ok()?;
    world.has_mtu("tailscale0", 1280)?;
    world.states("MESH_IP_TAILSCALE", "100.64.0.9")?;
    ensure!(
        world.mtu("far-tailscale0")? == 1500,
        "another link was touched"
    );
    world.guest(&["ip", "link", "del", "tailscale0"])?.ok()?;
    world.states("MESH_IP_TAILSCALE", "")?;
    agent.settled(FIRST)?;
    ensure!(
        world.windows().calls()?.len() == FIRST_CALLS,
        "Windows was called for nothing"
    );
    Ok(())
}

fn link_down_and_up(world: &World) -> Result<()> {
    let agent = started(world)?;
    let text = world.read(FILE)?;
    world.link_down()?;
    let health = agent.raised("no-interface")?;
    ensure!(
        health.severity == "error" && !health.remediation.is_empty(),
        "{health:?}"
    );
    ensure!(
        world.read(FILE)? == text,
        "the last address was thrown away"
    );
    ensure!(world.wslmesh(&["status"])?.status == crate::control::Status::Code(3));
    world.link_up(GUEST_ADDRESS)?;
    follows(world, &agent, FIRST, "172.28.16.1")?;
    agent.says("no-interface cleared")?;
    ensure!(world.read(FILE)? == text && world.windows().calls()?.len() == FIRST_CALLS);
    Ok(())
}

fn second_address(world: &World) -> Result<()> {
    // As systemd sets it.
    world
        .guest(&["sysctl", "-w", "net.ipv4.conf.all.promote_secondaries=1"])?
        .ok()?;
    let agent = started(world)?;
    for second in ["172.28.20.20/20", "10.9.9.9/24"] {
        let passes = agent.settled(FIRST)?.passes;
        world.add_address(second)?;
        let status = agent.pass_after(passes)?;
        ensure!(
            status.address == Some(FIRST.parse()?) && status.interface.as_deref() == Some("eth0"),
            "{status:?}"
        );
    }
    ensure!(world.sourced(&["WSL_IP"])? == [FIRST]);
    ensure!(world.windows().calls()?.len() == FIRST_CALLS);
    world.delete_address(GUEST_ADDRESS)?;
    follows(world, &agent, "172.28.20.20", "172.28.16.1")
}

fn eth0_gone_and_back(world: &World) -> Result<()> {
    let agent = started(world)?;
    let text = world.read(FILE)?;
    world.remove_eth0()?;
    agent.raised("no-interface")?;
    ensure!(world.read(FILE)? == text);
    world.create_eth0("172.28.30.1/20")?;
    follows(world, &agent, "172.28.30.1", "172.28.16.1")
}

fn before_the_network(world: &World) -> Result<()> {
    world
        .guest(&["ip", "-4", "addr", "flush", "dev", "eth0"])?
        .ok()?;
    let agent = world.start_agent(&config(SSH))?;
    agent.raised("no-interface")?;
    agent.wait("the mode", |status| status.mode == "nat")?;
    ensure!(!world.path(FILE).exists() && world.windows().calls()?.is_empty());
    world.change_address("172.28.27.77/20")?;
    follows(world, &agent, "172.28.27.77", "172.28.16.1")
}

fn without_binfmt(world: &World) -> Result<()> {
    let agent = started(world)?;
    world.change_address("172.28.27.77/20")?;
    follows(world, &agent, "172.28.27.77", "172.28.16.1")
}
