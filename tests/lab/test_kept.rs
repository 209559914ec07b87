//! Rules that another program takes from Windows are noticed, restored, and said once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, PROXY, Setup};
use crate::contract::Rule;
use crate::dbus::{call, talk};
use crate::double::machine::ME;
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::setup::{OPEN, policy, proxied};
use crate::topology::{FIRST, GUEST_ADDRESS, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("kept::restored_at_each_moment", moments),
        quick("kept::restored_after_an_outage", outage),
        quick("kept::restored_when_elevated", elevated),
        quick("kept::another_rule_is_left", another_rule),
        quick("kept::in_each_period", periods),
    ]
}

/// What the journal says of lost rules.
const LOST: &str = "rules were missing on Windows and are restored: forward ssh";

/// An agent whose forward goes by the port proxy and its task, with a firewall rule.
fn installed<'w>(world: &'w World, more: &str, setup: &Setup) -> Result<Agent<'w>> {
    world
        .windows()
        .install(&policy(vec![proxied((2222, 2222), (22, 22))]))?;
    let config = [PROXY, more, OPEN].concat();
    let agent = world.start_agent_with(&config, setup)?;
    agent.settled(FIRST)?;
    ensure!(said(&agent)?.is_empty(), "{}", agent.log()?);
    Ok(agent)
}

fn said(agent: &Agent) -> Result<Vec<String>> {
    let log = agent.log()?;
    let lines = log.lines().filter(|line| line.contains(LOST));
    Ok(lines.map(str::to_owned).collect())
}

/// `netsh interface portproxy reset`, by whomever: all rules go, and the ledger does not.
fn reset(world: &World) -> Result<()> {
    world.windows().alter(|machine| machine.rules.clear())?;
    ensure!(world.windows().table()?.is_empty());
    world.unreachable(2222)
}

/// A cleaner takes the firewall's rule, too.
fn clean(world: &World) -> Result<()> {
    world
        .windows()
        .put_firewall(&format!("wslmesh-{ME}-tcp-2222-portproxy"), None)?;
    reset(world)
}

/// Waits until the forward works again, and story number `count` says so.
fn restored(world: &World, agent: &Agent, address: &str, count: usize) -> Result<String> {
    let wanted = [Rule::new(("0.0.0.0", 2222), (address, 22))?];
    until("the rules", LIMIT, || {
        let view = world.windows().view()?;
        let rule = format!("wslmesh-{ME}-tcp-2222-portproxy");
        let firewall = view.machine.firewall.contains_key(&rule);
        Ok((view.table == wanted && firewall).then_some(()))
    })
    .with_context(|| agent.log().unwrap_or_default())?;
    world.reached(2222)?;
    let line = until("what was lost", LIMIT, || {
        Ok(said(agent)?.into_iter().nth(count - 1))
    });
    let line = line.with_context(|| agent.log().unwrap_or_default())?;
    agent.wait("the same in the status", |status| {
        let restored = status.restored.as_ref();
        restored.is_some_and(|one| usize::try_from(one.times) == Ok(count))
    })?;
    agent.settled(address)?;
    ensure!(said(agent)?.len() == count, "{}", agent.log()?);
    Ok(line)
}

fn moments(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let agent = installed(world, "", &Setup::default())?;
    clean(world)?;
    agent.process().signal(HUP)?;
    let line = restored(world, &agent, FIRST, 1)?;
    ensure!(
        line.contains("forward ssh, the firewall rule for TCP port 2222; Windows forward"),
        "{line}"
    );
    reset(world)?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        call::<_, Vec<String>>(&bus, "Reapply", &()).await.map(drop)
    })?;
    let line = restored(world, &agent, FIRST, 2)?;
    ensure!(!line.contains("firewall rule"), "{line}");
    reset(world)?;
    world.change_address(&format!("{SECOND}/20"))?;
    restored(world, &agent, SECOND, 3)?;
    // Nothing was lost since: a question alone says nothing.
    let calls = world.windows().calls()?.len();
    agent.process().signal(HUP)?;
    until("an answer", LIMIT, || {
        Ok((world.windows().calls()?.len() > calls).then_some(()))
    })?;
    agent.settled(SECOND)?;
    ensure!(said(&agent)?.len() == 3, "{}", agent.log()?);
    let shown = world.wslmesh(&["status"])?.stdout;
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        shown.contains("restored: ") && shown.contains("(3 times since the start)"),
        "{shown}"
    );
    agent.stop()?;
    // A pass by hand finds it, too.
    reset(world)?;
    let applied = world.cli(&["apply"])?;
    let words = applied
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    ensure!(words.contains(LOST), "{applied:?}");
    world.reached(2222)?;
    // What happened while no agent ran is found by the next one.
    reset(world)?;
    let agent = world.start_agent(&[PROXY, OPEN].concat())?;
    restored(world, &agent, SECOND, 1)?;
    agent.stop()
}

/// The network comes back with the address that it had, so that nothing but the recovery
/// asks Windows.
fn outage(world: &World) -> Result<()> {
    let agent = installed(world, "", &Setup::default())?;
    world.link_down()?;
    agent.wait("the loss", |status| status.address.is_none())?;
    world.windows().alter(|machine| machine.rules.clear())?;
    // Shorter is a flap of mirrored mode.
    std::thread::sleep(Duration::from_secs(6));
    world.link_up(GUEST_ADDRESS)?;
    restored(world, &agent, FIRST, 1)?;
    let status = agent.wait("the story", |status| status.resumed.is_some())?;
    let summary = status.resumed.map(|one| one.summary).unwrap_or_default();
    ensure!(
        summary.contains("forward ssh leads here again"),
        "{summary}"
    );
    agent.stop()
}

/// Without an installation, where WSL was started by an elevated program.
fn elevated(world: &World) -> Result<()> {
    let agent = world.start_agent(&[PROXY, OPEN].concat())?;
    agent.settled(FIRST)?;
    clean(world)?;
    agent.process().signal(HUP)?;
    restored(world, &agent, FIRST, 1)?;
    agent.stop()
}

/// It came into the place of ours, so that it stays.
fn another_rule(world: &World) -> Result<()> {
    let agent = installed(world, "", &Setup::default())?;
    reset(world)?;
    let listen = "0.0.0.0:2222".parse()?;
    world.windows().put_foreign(listen, "10.9.8.7/22")?;
    agent.process().signal(HUP)?;
    let found = agent.raised("forward-conflict")?;
    ensure!(found.detail.contains("10.9.8.7:22"), "{found:?}");
    let theirs = [Rule::new(("0.0.0.0", 2222), ("10.9.8.7", 22))?];
    ensure!(world.windows().table()? == theirs);
    ensure!(said(&agent)?.is_empty(), "{}", agent.log()?);
    world.windows().delete(listen)?;
    agent.process().signal(HUP)?;
    agent.settled(FIRST)?;
    world.reached(2222)?;
    agent.stop()
}

/// The shortest period.
const VERIFY: &str = "verify = \"1m\"\n";

/// Windows is asked once in each period, beside the watchdog, and lost rules are restored.
fn periods(world: &World) -> Result<()> {
    let setup = Setup {
        env: &[("WATCHDOG_USEC", "1000000")],
        ..Setup::default()
    };
    let agent = installed(world, VERIFY, &setup)?;
    let (begun, calls) = (Instant::now(), world.windows().calls()?.len());
    clean(world)?;
    let period = Duration::from_secs(60);
    until("a question", period + LIMIT, || {
        Ok((world.windows().calls()?.len() > calls).then_some(()))
    })?;
    // The last answer came a moment before.
    ensure!(begun.elapsed() > period - LIMIT, "{:?}", begun.elapsed());
    restored(world, &agent, FIRST, 1)?;
    let asked = world.windows().calls()?.len() - calls;
    ensure!(asked == 1, "{asked} calls");
    agent.stop()
}
