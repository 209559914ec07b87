//! Conflicts of a forward on Windows: each is named and left, and the other
//! forwards work.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, PROXY, forward};
use crate::contract::{Firewall, Grant, Protocol};
use crate::double::machine::ME;
use crate::double::situation::Port;
use crate::interop::Call;
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::setup::{firewall_rule, grant, others, policy, proxied};
use crate::topology::{FIRST, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("host_conflict::foreign_rule", foreign_rule),
        quick("host_conflict::port_taken", port_taken),
        quick("host_conflict::port_excluded", port_excluded),
        quick("host_conflict::dynamic_range", dynamic_range),
        quick("host_conflict::firewall_blocks", firewall_blocks),
        quick("host_conflict::firewall_profile", firewall_profile),
    ]
}

/// An agent with one forward that works and a second one on port 2223, by the port
/// proxy; where the firewall is tried by the relay.
fn with_second<'w>(world: &'w World, firewall: bool) -> Result<Agent<'w>> {
    let ports = ((2222, 2223), (22, 22));
    let grant = if firewall {
        grant(Protocol::Tcp, ports.0, ports.1)
    } else {
        Grant {
            firewall: Firewall::None,
            ..proxied(ports.0, ports.1)
        }
    };
    others(world)?;
    world.windows().install(&policy(vec![grant]))?;
    let config = forward("ssh", 2222, 22) + &forward("second", 2223, 22);
    let config = if firewall {
        config.replace("firewall = \"none\"\n", "")
    } else {
        PROXY.to_owned() + &config
    };
    world.start_agent(&config)
}

fn installed(world: &World, ports: &[u16]) -> Result<()> {
    let found: Vec<u16> = world
        .windows()
        .ledger()?
        .iter()
        .map(|r| r.listen_port)
        .collect();
    ensure!(found == ports, "{found:?}");
    ensure!(world.windows().view()?.machine.rules.len() == ports.len() + 3);
    Ok(())
}

fn foreign_rule(world: &World) -> Result<()> {
    world
        .windows()
        .put_foreign("127.0.0.1:2223".parse()?, "10.9.8.7/2200")?;
    let agent = with_second(world, false)?;
    let found = agent.ill("forward-conflict")?;
    ensure!(
        found.subject == "second" && found.detail.contains("127.0.0.1:2223 to 10.9.8.7:2200"),
        "{found:?}"
    );
    let rules = world.windows().view()?.machine.rules;
    ensure!(rules.get("127.0.0.1/2223").map(String::as_str) == Some("10.9.8.7/2200"));
    ensure!(world.windows().ledger()?.len() == 1);
    world.reached(2222)?;
    world.windows().delete("127.0.0.1:2223".parse()?)?;
    agent.process().signal(HUP)?;
    agent.settled(FIRST)?;
    installed(world, &[2222, 2223])?;
    world.reached(2223)?;
    agent.stop()
}

fn port_taken(world: &World) -> Result<()> {
    let program = world.echo(Place::Windows, "0.0.0.0:2223")?;
    world.windows().set(|now| {
        let port = Port {
            protocol: Protocol::Tcp,
            forbidden: false,
            owner: Some("nginx (1234)".to_owned()),
        };
        now.ports.insert(2223, port);
    })?;
    let agent = with_second(world, false)?;
    let found = agent.ill("forward-taken")?;
    ensure!(
        found.subject == "second" && found.detail.contains("in use by nginx (1234)"),
        "{found:?}"
    );
    installed(world, &[2222])?;
    ensure!(program.wait(Duration::ZERO)?.is_none(), "it ended");
    program.signal(crate::process::KILL)?;
    program.wait(LIMIT)?;
    agent.process().signal(HUP)?;
    agent.settled(FIRST)?;
    installed(world, &[2222, 2223])?;
    world.reached(2223)?;
    agent.stop()
}

fn port_excluded(world: &World) -> Result<()> {
    world.windows().set(|now| {
        let port = Port {
            protocol: Protocol::Tcp,
            forbidden: true,
            owner: None,
        };
        now.ports.insert(2223, port);
    })?;
    let agent = with_second(world, false)?;
    let found = agent.ill("forward-excluded")?;
    ensure!(
        found.subject == "second" && found.remediation.contains("excludedportrange"),
        "{found:?}"
    );
    installed(world, &[2222])?;
    world.reached(2222)?;
    agent.stop()
}

/// The range is Windows' own. It is asked for at the start and at a reload, and not where an
/// address change waits for the call; what Windows does not say then is as it was.
fn dynamic_range(world: &World) -> Result<()> {
    let agent = world.start_agent(&(forward("low", 49500, 22) + &forward("high", 50500, 22)))?;
    let found = agent.raised("forward-dynamic-range")?;
    ensure!(
        found.subject == "high" && found.detail == "tcp 50500: Windows hands out 50000-60000",
        "{found:?}"
    );
    let asked = || -> Result<usize> {
        let calls = world.windows().calls()?;
        let asks = |call: &&Call| call.request.contains("\"sync-and-ports\"");
        Ok(calls.iter().filter(asks).count())
    };
    ensure!(asked()? == 1, "{:#?}", world.windows().calls()?);
    world
        .windows()
        .set(|now| now.dynamic = Some((49152, 49999)))?;
    world.change_address("172.28.27.77/20")?;
    let status = agent.settled("172.28.27.77")?;
    let found = status.finding("forward-dynamic-range").context("cleared")?;
    ensure!(found.subject == "high", "{found:?}");
    ensure!(asked()? == 1, "{:#?}", world.windows().calls()?);
    agent.process().signal(HUP)?;
    agent.wait("the other range", |status| {
        let found = status.finding("forward-dynamic-range");
        found.is_some_and(|found| found.subject == "low")
    })?;
    world.windows().set(|now| now.dynamic = None)?;
    agent.process().signal(HUP)?;
    until("the third question", LIMIT, || {
        Ok((asked()? == 3).then_some(()))
    })?;
    let status = agent.settled("172.28.27.77")?;
    let found = status.finding("forward-dynamic-range").context("cleared")?;
    ensure!(found.subject == "low", "{found:?}");
    agent.stop()
}

/// A Block rule beats ours: it is named, and stays.
fn firewall_blocks(world: &World) -> Result<()> {
    let block = firewall_rule(false, Some(2222));
    world
        .windows()
        .put_firewall("No ssh", Some(block.clone()))?;
    let agent = with_second(world, true)?;
    let found = agent.ill("firewall-blocked")?;
    ensure!(
        found.detail.contains("No ssh") && found.detail.contains("2222"),
        "{found:?}"
    );
    let machine = world.windows().view()?.machine;
    ensure!(
        machine.firewall.get("No ssh") == Some(&block),
        "{machine:#?}"
    );
    world.windows().put_firewall("No ssh", None)?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    agent.stop()
}

/// Windows is in a network of a kind that the policy does not hold.
fn firewall_profile(world: &World) -> Result<()> {
    world
        .windows()
        .set(|now| now.profiles = vec!["public".to_owned()])?;
    let agent = with_second(world, true)?;
    let found = agent.ill("firewall-profile")?;
    ensure!(
        found.detail.contains("public") && found.remediation.contains("--profiles"),
        "{found:?}"
    );
    let machine = world.windows().view()?.machine;
    let ours = machine
        .firewall
        .iter()
        .filter(|(name, _)| name.contains(ME));
    for (_, rule) in ours {
        ensure!(rule.profiles == ["domain", "private"], "{rule:?}");
    }
    agent.stop()
}
