//! What an install brings, from its first call to the uninstall: forwards by the relay,
//! by the port proxy where that is asked for or the relay may not run, and nothing that
//! runs with administrator rights without need.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, LIMIT, PROXY, SSH};
use crate::contract::{Firewall, Grant, Protocol};
use crate::double::machine::{ME, PROGRAM_FILES, forward_task, inbox};
use crate::installed::{TUNNEL, both, policy};
use crate::options::Options;
use crate::probe::now;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::setup::{OPEN, all, grant, said};
use crate::topology::{FIRST, Place, SECOND, THIRD};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("default::from_install_to_uninstall", |world| {
            whole(world, "relay")
        }),
        quick("default::the_same_by_the_port_proxy", |world| {
            whole(world, "portproxy")
        }),
        quick("default::relay_forbidden_at_install", forbidden),
        quick("default::relay_forbidden_later", forbidden_later),
        quick("default::nothing_listens", silent),
        quick("default::narrower_than_its_grant", narrower),
        quick("default::elevated_after_an_install", elevated),
        quick("default::a_rule_is_removed", rule_removed),
    ]
}

const CLIENTS: usize = 32;
const AT: &str = "192.168.50.10:2222";
/// A second forward to the same service.
const WEB: &str =
    "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8000\nconnect-port = 22\n";

/// Whether the elevated side was asked for anything but installs.
fn task_runs(world: &World) -> Result<usize> {
    Ok(world.windows().view()?.task_runs.len())
}

/// Install, a new address under open connections, another policy, another agent,
/// uninstall.
fn whole(world: &World, by: &str) -> Result<()> {
    let relayed = by == "relay";
    let head = if relayed { "" } else { PROXY };
    let windows = world.windows();
    windows.set_elevated(false)?;
    let before = all(world)?;
    let config = [head, OPEN].concat();
    world.write(CONFIG, &config)?;
    let installed = ["host", "install", "--yes"];
    said(&world.cli(&installed)?, 0, &["installed on Windows"])?;
    let machine = windows.view()?.machine;
    ensure!(
        machine.tasks.contains_key(&forward_task(ME)) != relayed
            && world.path(inbox(ME)).exists() != relayed,
        "{machine:#?}"
    );
    let agent = world.start_agent(&config)?;
    agent.healthy()?;
    agent.wait(by, |status| status.serves(by, &["ssh"]))?;
    let streams = world.streams(Place::Lan, AT, CLIENTS)?;

    // A new address: connections to the old one end, and are made again.
    let (runs, calls) = (task_runs(world)?, windows.calls()?.len());
    let begun = now();
    world.change_address(&format!("{SECOND}/20"))?;
    streams.all_up(begun)?;
    agent.settled(SECOND)?;
    let ends = streams.ends(begun)?;
    ensure!(ends.iter().all(|end| end.how != "wrong"), "{ends:?}");
    let cut = ends.iter().map(|end| end.at - begun).max().unwrap_or(0);
    println!(
        "{by}: {} ends, the last after {} ms",
        ends.len(),
        cut / 1_000_000
    );
    ensure!(windows.calls()?.len() > calls, "Windows was not asked");
    if relayed {
        ensure!(
            ends.len() == CLIENTS && ends.iter().all(|end| end.how == "closed"),
            "{ends:?}"
        );
        ensure!(windows.view()?.machine == machine, "Windows changed");
        ensure!(task_runs(world)? == runs, "the task ran");
    } else {
        ensure!(task_runs(world)? > runs, "the task did not run");
    }

    // Another policy, under the connections: none is cut.
    let begun = now();
    let config = [&config, WEB].concat();
    agent.reload(&config)?;
    said(&world.cli(&installed)?, 0, &["installed on Windows"])?;
    agent.healthy()?;
    agent.wait(by, |status| status.serves(by, &["ssh", "web"]))?;
    world.reached(8000)?;
    let ends = streams.ends(begun)?;
    ensure!(ends.is_empty(), "{ends:?}");

    // Another agent. Without systemd the relay ends with it.
    let begun = now();
    agent.stop()?;
    let agent = world.start_agent(&config)?;
    agent.healthy()?;
    if relayed {
        streams.all_up(begun)?;
    }
    let ends = streams.ends(begun)?;
    let expected = if relayed { CLIENTS } else { 0 };
    ensure!(
        ends.len() == expected && ends.iter().all(|end| end.how == "closed"),
        "{ends:?}"
    );

    let removed = world.cli(&["host", "uninstall", "--yes"])?;
    said(&removed, 0, &["removed from Windows"])?;
    let missing = if relayed {
        "relay-loopback"
    } else {
        "forward-not-elevated"
    };
    let found = agent.ill(missing)?;
    ensure!(
        found.remediation.contains("wslmesh host install"),
        "{found:?}"
    );
    ensure!(windows.view()?.machine == before.machine);
    ensure!(!world.path(PROGRAM_FILES).exists(), "files are left");
    world.unreachable(2222)?;
    agent.stop()
}

/// Windows does not let the relay start: the port proxy serves TCP, until it does again.
fn forbidden(world: &World) -> Result<()> {
    let windows = world.windows();
    windows.set(|now| {
        now.elevated = false;
        now.relay_forbidden = true;
    })?;
    world.write(CONFIG, OPEN)?;
    let install = ["host", "install", "--yes"];
    said(&world.cli(&install)?, 0, &["installed on Windows"])?;
    let machine = windows.view()?.machine;
    ensure!(
        machine.forbidden(ME) && machine.tasks.contains_key(&forward_task(ME)),
        "{machine:#?}"
    );
    let agent = world.start_agent(OPEN)?;
    agent.settled(FIRST)?;
    agent.wait("the port proxy", |status| {
        status.serves("portproxy", &["ssh"])
    })?;
    world.reached(2222)?;
    said(&world.cli(&install)?, 0, &["nothing to do"])?;
    windows.set(|now| now.relay_forbidden = false)?;
    said(&world.cli(&install)?, 0, &["installed on Windows"])?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    world.reached(2222)?;
    let machine = windows.view()?.machine;
    ensure!(
        machine.rules.is_empty() && !machine.tasks.contains_key(&forward_task(ME)),
        "{machine:#?}"
    );
    agent.healthy()?;
    agent.stop()
}

/// The same once it runs: said with its fix, which works.
fn forbidden_later(world: &World) -> Result<()> {
    let windows = world.windows();
    windows.set_elevated(false)?;
    world.write(CONFIG, OPEN)?;
    let install = ["host", "install", "--yes"];
    said(&world.cli(&install)?, 0, &["installed on Windows"])?;
    let agent = world.start_agent(OPEN)?;
    agent.healthy()?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    windows.set(|now| now.relay_forbidden = true)?;
    let pid = windows.relay()?.context("no relay")?.pid;
    world.guest(&["kill", "-9", &pid.to_string()])?.ok()?;
    let status = agent.wait("the reason", |status| {
        let mut health = status.health.iter();
        health.any(|one| one.detail.contains("Invalid argument"))
    })?;
    let found = status.finding("relay-failed").context("no finding")?;
    ensure!(
        found.remediation.contains("wslmesh host install"),
        "{found:?}"
    );
    said(&world.cli(&install)?, 0, &["installed on Windows"])?;
    agent.wait("the port proxy", |status| {
        status.serves("portproxy", &["ssh"])
    })?;
    world.reached(2222)?;
    agent.healthy()?;
    agent.stop()
}

/// The relay says that it listens, and Windows shows no listener.
fn silent(world: &World) -> Result<()> {
    let windows = world.windows();
    windows.install(&policy())?;
    windows.set(|now| now.hidden = vec![51820])?;
    let agent = world.start_agent(&both("auto"))?;
    let found = agent.ill("forward-not-listening")?;
    ensure!(found.subject == "wg", "{found:?}");
    windows.set(|now| now.hidden.clear())?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    agent.stop()
}

/// A forward for Windows alone below a grant for the local network: the relay itself
/// keeps others out, and lets them in once the forward says so.
fn narrower(world: &World) -> Result<()> {
    let grants = vec![grant(Protocol::Tcp, (2222, 2222), (22, 22))];
    world.windows().install(&crate::setup::policy(grants))?;
    let before = world.windows().view()?.machine;
    let agent = world.start_agent(SSH)?;
    agent.healthy()?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    world.streams(Place::Windows, AT, 1)?;
    let probe = world.probe(AT.parse()?)?;
    std::thread::sleep(Duration::from_millis(300));
    let tries = probe.attempts()?;
    ensure!(
        tries.len() > 3 && tries.iter().all(|one| !one.ok),
        "{tries:?}"
    );
    agent.reload(OPEN)?;
    world.reached(2222)?;
    let streams = world.streams(Place::Lan, AT, 4)?;
    let begun = now();
    agent.reload(SSH)?;
    until("the end of all", LIMIT, || {
        Ok((streams.ends(begun)?.len() >= 4).then_some(()))
    })?;
    let view = world.windows().view()?;
    ensure!(view.machine == before, "{:#?}", view.machine);
    ensure!(view.task_runs.is_empty(), "{:?}", view.task_runs);
    agent.stop()
}

/// WSL was started by an elevated program: the relay refuses that, and what is agreed to
/// is served by the port proxy without the task.
fn elevated(world: &World) -> Result<()> {
    let windows = world.windows();
    windows.install(&policy())?;
    windows.set_elevated(true)?;
    let agent = world.start_agent(SSH)?;
    agent.settled(FIRST)?;
    agent.wait("the port proxy", |status| {
        status.serves("portproxy", &["ssh"])
    })?;
    world.change_address(&format!("{SECOND}/20"))?;
    world.forwards(&[(2222, SECOND, 22)])?;
    world.reached(2222)?;
    let view = windows.view()?;
    ensure!(view.task_runs.is_empty(), "{:?}", view.task_runs);
    // Ordinary again: the relay takes over, once the rules are gone.
    windows.set_elevated(false)?;
    windows.install(&policy())?;
    agent.process().signal(HUP)?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    world.forwards(&[])?;
    agent.stop()
}

/// Another tool removes a rule of the policy's: read back at the next change, with its
/// fix.
fn rule_removed(world: &World) -> Result<()> {
    let windows = world.windows();
    let none = Grant {
        firewall: Firewall::None,
        ..grant(Protocol::Tcp, (2222, 2222), (22, 22))
    };
    let udp = grant(Protocol::Udp, (51820, 51820), (51821, 51821));
    windows.install(&crate::setup::policy(vec![none, udp]))?;
    let agent = world.start_agent(&[SSH, TUNNEL].concat())?;
    agent.healthy()?;
    let name = format!("wslmesh-{ME}-udp-51820-relay");
    windows.put_firewall(&name, None)?;
    world.change_address(&format!("{THIRD}/20"))?;
    let found = agent.ill("firewall-failed")?;
    ensure!(found.detail.contains("wslmesh host install"), "{found:?}");
    said(
        &world.cli(&["host", "install", "--yes"])?,
        0,
        &["installed"],
    )?;
    agent.healthy()?;
    // The port proxy's are not made for it.
    ensure!(windows.table()?.is_empty());
    agent.stop()
}
