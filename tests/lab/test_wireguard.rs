//! WireGuard: keepalives and MTU of devices as they come, go and hang.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, CONFIG, FILE, LIMIT, SSH, Setup, config};
use crate::meddler::between_reading_and_setting;
use crate::options::{AGENT, Options};
use crate::process::{HUP, Process};
use crate::runner::trial_with;
use crate::topology::FIRST;
use crate::wireguard::{WireGuard, peer_key};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("wireguard::appears_later", appears_later),
        quick("wireguard::three_hundred_peers", three_hundred_peers),
        quick("wireguard::nothing_else_changes", nothing_else_changes),
        quick("wireguard::keepalive_off", keepalive_off),
        quick("wireguard::device_removed_meanwhile", device_removed),
        quick("wireguard::peer_removed_meanwhile", peer_removed),
        quick("wireguard::device_comes_and_goes", device_comes_and_goes),
        quick("wireguard::hanging_daemon", hanging_daemon),
        quick("wireguard::keys_stay_secret", keys_stay_secret),
        quick("wireguard::keys_are_wiped", keys_are_wiped),
        quick("wireguard::no_core_dump", no_core_dump),
    ]
}

/// Waits until every peer has this keepalive.
fn all_have(wireguard: &WireGuard, seconds: u16) -> Result<()> {
    let mut found = Default::default();
    until("the keepalives", LIMIT, || {
        found = wireguard.keepalives()?;
        Ok(found
            .values()
            .all(|value| *value == Some(seconds))
            .then_some(()))
    })
    .with_context(|| format!("{found:?}"))
}

fn appears_later(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    let wireguard = world.wireguard("wg0", 2)?;
    world
        .guest(&["ip", "addr", "add", "10.99.200.1/16", "dev", "wg0"])?
        .ok()?;
    all_have(&wireguard, 25)?;
    world.has_mtu("wg0", 1280)?;
    world.states("MESH_IP_WIREGUARD", "10.99.200.1")?;
    world.states("MESH_PORT_WIREGUARD", "51820")?;
    agent.says("wg0 keepalive 25 s on")?;
    ensure!(world.mtu("eth0")? == 1500 && world.windows().calls()?.len() == 2);
    // A peer that brings no network event is seen in the next pass.
    wireguard.add_peer(7)?;
    agent.process().signal(HUP)?;
    all_have(&wireguard, 25)?;
    wireguard.remove()?;
    world.states("MESH_IP_WIREGUARD", "")?;
    world.states("MESH_PORT_WIREGUARD", "")?;
    let status = agent.settled(FIRST)?;
    ensure!(
        status.finding("wireguard-unreadable").is_none(),
        "{status:?}"
    );
    Ok(())
}

fn three_hundred_peers(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 300)?;
    for index in [0, 150, 299] {
        wireguard.set_keepalive(index, 7)?;
    }
    let agent = world.start_agent(&config(""))?;
    until("the keepalives", LIMIT, || {
        Ok(wireguard
            .keepalives()?
            .values()
            .all(Option::is_some)
            .then_some(()))
    })?;
    let found = wireguard.keepalives()?;
    ensure!(found.len() == 300, "{} peers", found.len());
    for index in 0..300 {
        let expected = if [0, 150, 299].contains(&index) {
            7
        } else {
            25
        };
        ensure!(
            found.get(&peer_key(index)) == Some(&Some(expected)),
            "peer {index}: {found:?}"
        );
    }
    agent.says("wg0 keepalive 25 s on 297 peers")?;
    Ok(())
}

/// `wg show` for machines, with the private key; keepalive is the last column.
fn dump(world: &World) -> Result<Vec<Vec<String>>> {
    let text = world.guest(&["wg", "show", "wg0", "dump"])?.ok()?;
    let mut lines: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect();
    lines.sort();
    Ok(lines)
}

const PSK: &str = "cHNrcHNrcHNrcHNrcHNrcHNrcHNrcHNrcHNrcHNrcHM=";

/// Gives peer 0 all that a peer can have.
fn furnish(world: &World) -> Result<()> {
    world.write("/run/lab/psk", PSK)?;
    world
        .guest(&[
            "wg",
            "set",
            "wg0",
            "peer",
            &peer_key(0),
            "preshared-key",
            "/run/lab/psk",
            "endpoint",
            "192.168.50.20:51820",
            "allowed-ips",
            "10.99.0.0/32,10.98.0.0/16,fd00::/64",
        ])?
        .ok()
        .map(drop)
}

fn nothing_else_changes(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 3)?;
    furnish(world)?;
    let before = dump(world)?;
    let _agent = world.start_agent(&config(""))?;
    all_have(&wireguard, 25)?;
    let after = dump(world)?;
    ensure!(before.len() == 4 && after.len() == 4, "{after:?}");
    for (before, after) in before.iter().zip(&after) {
        // Columns of a peer: key, preshared key, endpoint, allowed addresses,
        // handshake, received, sent, keepalive. A keepalive sends.
        let kept = if before.len() > 5 { 4 } else { before.len() };
        ensure!(
            before.len() == after.len() && before.iter().take(kept).eq(after.iter().take(kept)),
            "{before:?} became {after:?}"
        );
        ensure!(
            before.len() < 8
                || (before.last().is_some_and(|k| k == "off")
                    && after.last().is_some_and(|k| k == "25"))
        );
    }
    Ok(())
}

fn keepalive_off(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 3)?;
    wireguard.set_keepalive(1, 9)?;
    let before = wireguard.keepalives()?;
    let agent = world.start_agent(&config("[wireguard]\nkeepalive = 0\n"))?;
    world.has_mtu("wg0", 1280)?;
    world.states("KEEPALIVE_INTERVAL", "0")?;
    agent.process().signal(HUP)?;
    agent.says("configuration reloaded")?;
    ensure!(
        wireguard.keepalives()? == before,
        "{:?}",
        wireguard.keepalives()?
    );
    Ok(())
}

fn device_removed(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 2)?;
    wireguard.only_userspace()?;
    let remove = || world.guest(&["ip", "link", "del", "wg0"])?.ok().map(drop);
    let start = || world.start_agent(&config(SSH));
    let agent = between_reading_and_setting(world, "wg0", remove, start)?;
    world.states("MESH_PORT_WIREGUARD", "")?;
    agent.settled(FIRST)?;
    no_ghosts(world, &agent)
}

fn no_ghosts(world: &World, agent: &Agent) -> Result<()> {
    ensure!(
        !world.guest(&["ip", "link", "show", "wg0"])?.success(),
        "a ghost of wg0"
    );
    ensure!(
        !agent.log()?.contains("wireguard-moved"),
        "{}",
        agent.log()?
    );
    Ok(())
}

/// The same without a plan: at twelve moments.
fn device_comes_and_goes(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    for round in 0..12_u64 {
        let wireguard = world.wireguard("wg0", 50)?;
        agent.process().signal(HUP)?;
        agent.process().wait(Duration::from_millis(round * 6))?;
        agent.process().signal(HUP)?;
        wireguard.remove()?;
        no_ghosts(world, &agent)?;
    }
    agent.settled(FIRST)?;
    world.states("MESH_PORT_WIREGUARD", "")?;
    no_ghosts(world, &agent)
}

fn peer_removed(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 3)?;
    wireguard.only_userspace()?;
    let remove = || wireguard.remove_peer(1);
    let start = || world.start_agent(&config(SSH));
    let agent = between_reading_and_setting(world, "wg0", remove, start)?;
    all_have(&wireguard, 25)?;
    let found = wireguard.keepalives()?;
    ensure!(
        found.len() == 2 && !found.contains_key(&peer_key(1)),
        "a ghost peer: {found:?}"
    );
    agent.settled(FIRST)?;
    ensure!(
        !agent.log()?.contains("wireguard-moved"),
        "{}",
        agent.log()?
    );
    Ok(())
}

fn hanging_daemon(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 2)?;
    wireguard.only_userspace()?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    all_have(&wireguard, 25)?;
    let port = world.sourced(&["MESH_PORT_WIREGUARD"])?;
    wireguard.signal_daemon("STOP")?;
    agent.process().signal(HUP)?;
    let health = agent.raised("wireguard-unreadable")?;
    ensure!(
        health.subject == "wg0" && health.severity == "warning",
        "{health:?}"
    );
    world.change_address("172.28.27.77/20")?;
    until(
        "the new address in the file",
        Duration::from_secs(2),
        || {
            Ok(world
                .read(FILE)?
                .contains("WSL_IP=\"172.28.27.77\"")
                .then_some(()))
        },
    )?;
    world.forwards(&[(2222, "172.28.27.77", 22)])?;
    ensure!(world.sourced(&["MESH_PORT_WIREGUARD"])? == port && port == ["51820"]);
    wireguard.signal_daemon("CONT")?;
    wireguard.add_peer(5)?;
    let passes = agent.status()?.context("no status")?.passes;
    agent.process().signal(HUP)?;
    agent.pass_after(passes)?;
    agent.settled("172.28.27.77")?;
    all_have(&wireguard, 25)?;
    agent.says("wireguard-unreadable (wg0) cleared")?;
    // Nor does it hold up the end.
    wireguard.signal_daemon("STOP")?;
    agent.process().signal(HUP)?;
    agent.process().wait(Duration::from_millis(20))?;
    agent.stop_within(Duration::from_secs(2))?;
    wireguard.signal_daemon("CONT")
}

fn keys_stay_secret(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 3)?;
    furnish(world)?;
    let setup = Setup {
        env: &[("WSLMESH_LOG", "trace")],
        ..Setup::default()
    };
    let agent = world.start_agent_with(&config(SSH), &setup)?;
    agent.settled(FIRST)?;
    all_have(&wireguard, 25)?;
    let mut said = [
        agent.log()?,
        agent.process().stdout()?,
        world.read("/run/wslmesh/status.json")?,
        world.wslmesh(&["status", "--json"])?.ok()?,
        world.read(FILE)?,
    ]
    .concat();
    agent.stop()?;
    for index in 0..3 {
        wireguard.set_keepalive(index, 0)?;
    }
    for command in ["plan", "apply"] {
        let output = world.wslmesh(&[command, "--config", crate::agent::CONFIG])?;
        ensure!(
            output.stdout.contains("wg0 keepalive 25 s on 3 peers"),
            "{output:?}"
        );
        said = [said, output.stdout, output.stderr].concat();
    }
    let key = world.guest(&["wg", "show", "wg0", "private-key"])?.ok()?;
    for secret in [key.trim(), PSK] {
        let hex = hex(world, secret)?;
        ensure!(hex.len() == 64 && secret.len() == 44, "{hex}");
        for form in [secret, &hex, &hex.to_uppercase()] {
            ensure!(!said.contains(form), "a secret is shown:\n{said}");
        }
    }
    Ok(())
}

/// A key in base64 as WireGuard's own protocol writes it.
fn hex(world: &World, key: &str) -> Result<String> {
    let script = "echo \"$0\" | base64 -d | od -An -v -tx1 | tr -d ' \\n'";
    world.guest(&["sh", "-c", script, key])?.ok()
}

/// After passes that read and set the device nothing of its keys is in the agent's
/// memory, and no core dump has it.
fn keys_are_wiped(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 3)?;
    furnish(world)?;
    world.shell(
        "umask 077; wg genkey >/run/lab/key; wg genpsk >/run/lab/psk2
         wg set wg0 private-key /run/lab/key peer \"$(wg show wg0 peers | head -n 1)\" preshared-key /run/lab/psk2",
    )?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    all_have(&wireguard, 25)?;
    for _ in 0..3 {
        let passes = agent.status()?.context("no status")?.passes;
        agent.process().signal(HUP)?;
        agent.pass_after(passes)?;
    }
    let pid = agent.process().pid();
    for file in ["key", "psk2"] {
        // The kernel and the daemon clamp a private key, and have it so.
        let show = if file == "key" {
            "wg show wg0 private-key"
        } else {
            "cat /run/lab/psk2"
        };
        let key = world.shell(show)?.trim().to_owned();
        let hex = hex(world, &key)?;
        let found = world.copies_of_key(pid, &hex, &key)?;
        ensure!(
            found == 0,
            "{found} pieces of {file} are in the agent's memory"
        );
        if let Some(daemon) = wireguard.daemon_pid() {
            let found = world.copies_of_key(daemon, &hex, &key)?;
            ensure!(
                found > 0,
                "the search does not find {file} in the daemon either"
            );
        }
    }
    agent.stop()
}

/// The kernel dumps no core of the agent. That shows where another process of the
/// same user, without CAP_SYS_PTRACE, may not read what only a dumpable one gives
/// away (ptrace(2), "Ptrace access mode checking").
fn no_core_dump(world: &World) -> Result<()> {
    const FEWER: [&str; 3] = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all"];
    world.write(CONFIG, config(""))?;
    let start = |argv: &[&str]| world.spawn_guest(&[&FEWER, argv].concat(), &[]);
    let environment = |process: &Process| {
        let path = format!("/proc/{}/environ", process.pid());
        world.guest(&[&FEWER[..], &["cat", &path]].concat())
    };
    let other = start(&["sleep", "60"])?;
    until("a process that is readable", LIMIT, || {
        Ok(environment(&other)?.success().then_some(()))
    })?;
    let agent = start(&[AGENT, "run", "--config", CONFIG])?;
    until("the agent", LIMIT, || {
        Ok(agent.stderr()?.contains("started").then_some(()))
    })?;
    let read = environment(&agent)?;
    ensure!(
        !read.success() && read.stderr.contains("Permission denied"),
        "{read:?}"
    );
    agent.stop(LIMIT)?.ok().map(drop)
}
