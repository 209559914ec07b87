//! Rules that Windows does not let the agent make, that others have made or
//! changed, or that an agent which was killed has left.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{LIMIT, forward};
use crate::contract::Rule;
use crate::options::Options;
use crate::process::HUP;
use crate::rules::{foreign, has_rules, ours, two, wait_for_rules};
use crate::runner::trial_with;
use crate::topology::{FIRST, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("windows_rules::not_elevated", not_elevated),
        quick(
            "windows_rules::not_elevated_so_the_relay_serves",
            relay_instead,
        ),
        quick("windows_rules::service_stopped", service_stopped),
        quick("windows_rules::foreign_rule", foreign_rule),
        quick("windows_rules::edited_by_others", edited),
        quick("windows_rules::left_by_a_killed_run", killed_run),
    ]
}

fn not_elevated(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_elevated(false)?;
    let config = "[host]\nbackend = \"portproxy\"\n".to_owned() + &two();
    let agent = world.start_agent(&config)?;
    let found = agent.ill("forward-not-elevated")?;
    ensure!(
        found.remediation.contains("wslmesh host install")
            && found
                .remediation
                .contains("`wsl --shutdown` and start WSL from an elevated"),
        "{found:?}"
    );
    // Longer than the first retry of anything that is retried.
    std::thread::sleep(Duration::from_millis(1500));
    ensure!(
        world.windows().calls()?.len() == 1,
        "tried again without reason"
    );
    ensure!(has_rules(&world.windows().view()?, &[], &foreign));
    let status = agent.status()?.context("no status")?;
    ensure!(status.forwards.is_none(), "{status:?}");
    world.windows().set_elevated(true)?;
    agent.process().signal(HUP)?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &foreign)?;
    agent.healthy()?;
    // Installed rules and lost rights: they lead to the old address,
    // and the status document does not say otherwise.
    world.windows().set_elevated(false)?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    agent.ill("forward-not-elevated")?;
    let status = agent.status()?.context("no status")?;
    let said = status.forwards.as_ref().map(|f| f.connect_address);
    ensure!(said == Some(FIRST.parse()?), "{status:?}");
    ensure!(has_rules(&world.windows().view()?, &ours(FIRST)?, &foreign));
    agent.stop()
}

/// Backend auto takes the relay where no rules may be made, and gives the ports to
/// the port proxy once they may.
fn relay_instead(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_elevated(false)?;
    let agent = world.start_agent(&two())?;
    let found = agent.ill("relay-loopback")?;
    ensure!(
        found.detail.contains("ssh, web") && found.remediation.contains("wslmesh host install"),
        "{found:?}"
    );
    agent.wait("the relay", |status| {
        status.serves("relay", &["ssh", "web"])
    })?;
    ensure!(has_rules(&world.windows().view()?, &[], &foreign));
    world.windows().set_elevated(true)?;
    agent.process().signal(HUP)?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &foreign)?;
    let status = agent.healthy()?;
    ensure!(status.relay.is_none(), "{status:?}");
    until("the relay's end", LIMIT, || {
        Ok(world.windows().relay()?.is_none().then_some(()))
    })?;
    // Lost rights: the rules cannot be removed, so they keep their
    // ports, although they lead to the old address.
    world.windows().set_elevated(false)?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    agent.ill("forward-not-elevated")?;
    ensure!(has_rules(&world.windows().view()?, &ours(FIRST)?, &foreign));
    let starts = world.windows().relays()?.len();
    ensure!(starts == 1, "a relay beside rules: {starts} starts");
    agent.stop()
}

fn service_stopped(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_service_running(false)?;
    let agent = world.start_agent(&two())?;
    let found = agent.ill("forward-service")?;
    ensure!(
        found.remediation.contains("Start-Service iphlpsvc"),
        "{found:?}"
    );
    ensure!(
        world.windows().table()? == foreign,
        "{:?}",
        world.windows().table()?
    );
    let begun = Instant::now();
    world.windows().set_service_running(true)?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &foreign)?;
    ensure!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    agent.healthy()?;
    agent.says("forward-service cleared")?;
    let calls = world.windows().calls()?;
    ensure!(calls.len() == 3, "{calls:#?}");
    agent.stop()
}

fn foreign_rule(world: &World) -> Result<()> {
    let mut foreign = foreign(world)?;
    let taken: SocketAddrV4 = "192.168.50.10:2222".parse()?;
    world.windows().put_foreign(taken, "10.9.8.7/2200")?;
    // The same port at another address is another forward and no conflict.
    let at = |name: &str, address: &str| {
        forward(name, 2222, 22) + &format!("listen-address = \"{address}\"\n")
    };
    let config = at("local", "127.0.0.1") + &at("ssh", "192.168.50.10") + &forward("web", 8000, 80);
    let agent = world.start_agent(&config)?;
    let found = agent.ill("forward-conflict")?;
    ensure!(found.subject == "ssh", "the wrong forward: {found:?}");
    ensure!(
        found.detail.contains("192.168.50.10:2222") && found.detail.contains("10.9.8.7:2200"),
        "{found:?}"
    );
    let mut ours = vec![
        Rule::new(("127.0.0.1", 2222), (FIRST, 22))?,
        Rule::new(("0.0.0.0", 8000), (FIRST, 80))?,
    ];
    foreign.insert(0, Rule::new(("192.168.50.10", 2222), ("10.9.8.7", 2200))?);
    wait_for_rules(world, &agent, &ours, &foreign)?;
    let status = agent.status()?.context("no status")?;
    let count = status.forwards.as_ref().map(|f| f.count);
    ensure!(count == Some(2), "{status:?}");
    // It goes, and the user reloads.
    world.windows().delete(taken)?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    foreign.remove(0);
    ours.insert(1, Rule::new(("192.168.50.10", 2222), (FIRST, 22))?);
    wait_for_rules(world, &agent, &ours, &foreign)?;
    agent.stop()
}

/// A rule that was changed since is left; one that was deleted is made again.
fn edited(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    let agent = world.start_agent(&two())?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &foreign)?;
    world
        .windows()
        .put_foreign("0.0.0.0:2222".parse()?, "10.9.8.7/22")?;
    world.windows().delete("0.0.0.0:8000".parse()?)?;
    world.change_address(&format!("{SECOND}/20"))?;
    let found = agent.ill("forward-conflict")?;
    ensure!(
        found.subject == "ssh" && found.detail.contains("10.9.8.7:22"),
        "{found:?}"
    );
    let theirs = Rule::new(("0.0.0.0", 2222), ("10.9.8.7", 22))?;
    let web = [Rule::new(("0.0.0.0", 8000), (SECOND, 80))?];
    let all = [&[theirs][..], &foreign].concat();
    wait_for_rules(world, &agent, &web, &all)?;
    agent.stop()
}

/// Kills the agent while its rules are installed; the next one has another address and
/// another configuration.
fn killed_run(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    let agent = world.start_agent(&two())?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &foreign)?;
    agent.healthy()?;
    agent.kill()?;
    world.change_address(&format!("{SECOND}/20"))?;

    let agent = world.start_agent(&forward("web", 8000, 80))?;
    let web = [Rule::new(("0.0.0.0", 8000), (SECOND, 80))?];
    wait_for_rules(world, &agent, &web, &foreign)?;
    agent.healthy()?;
    agent.kill()?;

    // Nothing is wanted any more: what the dead run made is withdrawn.
    let agent = world.start_agent("")?;
    wait_for_rules(world, &agent, &[], &foreign)?;
    agent.healthy()?;
    agent.stop()
}
