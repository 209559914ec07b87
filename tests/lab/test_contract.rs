//! What `refresh.ps1` answers to a request by hand once a policy is agreed to: the
//! contract that the agent builds on, without the agent.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::caller::{call, request};
use crate::contract::{Answer, Firewall, Grant, MIRRORED, Policy, Protocol};
use crate::double::firewall::{BLOCK, LOOPBACK};
use crate::double::machine::ME;
use crate::options::Options;
use crate::runner::trial_with;
use crate::setup::{firewall_rule, grant, policy, proxied};
use crate::topology::{FIRST, Place, SECOND};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("contract::forwards_beside_their_grants", beside_grants),
        quick("contract::task_by_need", task_by_need),
        quick("contract::firewall_read_back", firewall_read_back),
        quick("contract::another_mode", another_mode),
        quick("contract::elevated_with_a_policy", elevated),
        quick("contract::relay_forbidden", forbidden),
    ]
}

/// Whether it is served by the relay, TCP or UDP, on this port, for whom.
fn relayed(protocol: &str, port: u16, firewall: &str) -> Value {
    by("relay", protocol, port, firewall)
}

fn by(server: &str, protocol: &str, port: u16, firewall: &str) -> Value {
    json!({
        "protocol": protocol, "listen-address": "0.0.0.0", "listen-port": port,
        "connect-port": 22, "served-by": server, "firewall": firewall,
    })
}

fn ask(world: &World, forwards: &[Value]) -> Result<Answer> {
    let mut request = request(FIRST, &[]);
    if let Some(request) = request.as_object_mut() {
        request.insert("forwards".to_owned(), forwards.into());
    }
    let text = call(world, false, &request)?.ok()?;
    Ok(serde_json::from_str(&text)?)
}

fn runs(world: &World) -> Result<usize> {
    Ok(world.windows().view()?.task_runs.len())
}

fn tcp(ports: (u16, u16), firewall: Firewall) -> Grant {
    Grant {
        firewall,
        ..grant(Protocol::Tcp, ports, (22, 22))
    }
}

/// Narrower than its grant a forward of the relay is allowed, wider none is; where nothing
/// listens is silent.
fn beside_grants(world: &World) -> Result<()> {
    world.windows().install(&policy(vec![
        tcp((2222, 2230), Firewall::Local),
        proxied((3000, 3001), (22, 22)),
    ]))?;
    let _listens = world.echo(Place::Windows, "0.0.0.0:2223")?;
    let answer = ask(
        world,
        &[
            relayed("tcp", 2222, "local"),
            relayed("tcp", 2223, "none"),
            relayed("tcp", 2224, "full"),
            relayed("tcp", 3000, "local"),
            by("portproxy", "tcp", 2225, "local"),
            by("portproxy", "tcp", 3001, "none"),
            relayed("tcp", 4000, "none"),
        ],
    )?;
    let narrower: Vec<u16> = answer.narrower.iter().map(|one| one.listen_port).collect();
    ensure!(narrower == [2223], "{answer:#?}");
    let refused = answer.refused.iter();
    let refused: Vec<_> = refused
        .map(|one| (one.listen_port, one.reason.as_str()))
        .collect();
    let expected = [
        (2224, "firewall"),
        (3000, "backend"),
        (2225, "backend"),
        (3001, "firewall"),
        (4000, "outside-policy"),
    ];
    ensure!(refused == expected, "{refused:?}");
    let silent: Vec<u16> = answer.silent.iter().map(|one| one.listen_port).collect();
    ensure!(silent == [2222, 2224, 3000, 4000], "{silent:?}");
    Ok(())
}

/// The task runs for forwards of the port proxy and for what is left of them.
fn task_by_need(world: &World) -> Result<()> {
    let both = vec![
        proxied((2222, 2222), (22, 22)),
        tcp((3000, 3000), Firewall::Local),
    ];
    world.windows().install(&policy(both))?;
    let answer = ask(world, &[relayed("tcp", 3000, "local")])?;
    ensure!(answer.state == "synced" && runs(world)? == 0, "{answer:#?}");
    let answer = ask(world, &[by("portproxy", "tcp", 2222, "local")])?;
    ensure!(answer.added == 1 && runs(world)? == 1, "{answer:#?}");
    let firewall = answer.firewall.as_ref();
    ensure!(
        firewall.is_some_and(|done| (done.added, done.kept) == (1, 1)),
        "{answer:#?}"
    );
    let answer = ask(world, &[])?;
    ensure!(answer.removed == 1 && runs(world)? == 2, "{answer:#?}");
    let answer = ask(world, &[])?;
    ensure!(answer.state == "synced" && runs(world)? == 2, "{answer:#?}");
    Ok(())
}

/// Rules that are missing or different are said, and those of others that beat ours.
fn firewall_read_back(world: &World) -> Result<()> {
    let windows = world.windows();
    windows.install(&policy(vec![tcp((2222, 2230), Firewall::Local)]))?;
    let name = format!("wslmesh-{ME}-tcp-2222-2230-relay");
    let machine = windows.view()?.machine;
    ensure!(machine.firewall.contains_key(&name), "{machine:#?}");
    let state = |what: &str| -> Result<String> {
        let answer = ask(world, &[])?;
        let done = answer.firewall.clone();
        let done = done.ok_or_else(|| anyhow::anyhow!("{what}: {answer:#?}"))?;
        let detail = done.detail.unwrap_or_default();
        let fix = detail.ends_with("run \"wslmesh host install\"");
        ensure!(fix == (done.state == "failed"), "{what}: {detail:?}");
        Ok(done.state)
    };
    ensure!(state("as made")? == "done");
    for name in [&name, BLOCK, LOOPBACK] {
        windows.put_firewall(name, None)?;
        ensure!(state(name)? == "failed", "{name}");
        windows.alter(|now| now.firewall.clone_from(&machine.firewall))?;
    }
    windows.put_firewall("No", Some(firewall_rule(false, Some(2225))))?;
    let answer = ask(world, &[])?;
    let blocks = answer.firewall.map(|done| done.blocks);
    ensure!(
        blocks == Some(vec!["No (port 2222-2230)".to_owned()]),
        "{blocks:?}"
    );
    ensure!(runs(world)? == 0, "the task ran");
    Ok(())
}

/// The rules were made for another mode than WSL is in.
fn another_mode(world: &World) -> Result<()> {
    let nat = policy(vec![tcp((2222, 2230), Firewall::Local)]);
    world.windows().install(&Policy {
        mode: MIRRORED.to_owned(),
        ..nat.clone()
    })?;
    let made = world.windows().view()?.machine.firewall;
    let name = format!("wslmesh-{ME}-tcp-2222-2230-mirrored");
    ensure!(made.contains_key(&name), "{made:#?}");
    let answer = ask(world, &[relayed("tcp", 2222, "local")])?;
    let done = answer.firewall.clone();
    let detail = done.and_then(|done| done.detail).unwrap_or_default();
    ensure!(
        answer.state == "partial" && detail.contains("made for mode mirrored"),
        "{answer:#?}"
    );
    world.windows().install(&nat)?;
    let answer = ask(world, &[relayed("tcp", 2222, "local")])?;
    ensure!(answer.state == "synced", "{answer:#?}");
    Ok(())
}

/// An elevated caller does it itself, also what the relay serves else.
fn elevated(world: &World) -> Result<()> {
    world
        .windows()
        .install(&policy(vec![tcp((2222, 2222), Firewall::Local)]))?;
    world.windows().set_elevated(true)?;
    let answer = ask(world, &[by("portproxy", "tcp", 2222, "local")])?;
    ensure!(
        answer.elevated && answer.added == 1 && answer.refused.is_empty(),
        "{answer:#?}"
    );
    // Not so any more: nothing that runs may remove the rule.
    world.windows().set_elevated(false)?;
    world.change_address(&format!("{SECOND}/20"))?;
    let answer = ask(world, &[relayed("tcp", 2222, "local")])?;
    ensure!(
        answer.state == "not-elevated" && answer.rules.len() == 1,
        "{answer:#?}"
    );
    ensure!(runs(world)? == 0, "the task ran");
    Ok(())
}

fn forbidden(world: &World) -> Result<()> {
    let windows = world.windows();
    windows.set(|now| now.relay_forbidden = true)?;
    windows.install(&policy(vec![tcp((2222, 2222), Firewall::Local)]))?;
    let answer = ask(world, &[by("portproxy", "tcp", 2222, "local")])?;
    ensure!(answer.added == 1 && runs(world)? == 1, "{answer:#?}");
    let installed = answer.installed.as_ref();
    ensure!(
        installed.is_some_and(|one| one.relay_forbidden && one.contract == 2),
        "{answer:#?}"
    );
    let answer = ask(world, &[relayed("tcp", 2222, "local")])?;
    ensure!(
        answer.refused.iter().any(|one| one.reason == "backend"),
        "{answer:#?}"
    );
    Ok(())
}
