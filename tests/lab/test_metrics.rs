//! The numbers for node_exporter: the file as its reader finds it, and folders in which it
//! cannot be written, which hold nothing else up.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, SSH, Setup, config};
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::topology::{FIRST, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("metrics::file_follows_the_node", file_follows_the_node),
        quick("metrics::file_of_a_tunnel", file_of_a_tunnel),
        quick("metrics::folder_missing", folder_missing),
        quick("metrics::folder_full", folder_full),
        quick("metrics::folder_of_others", folder_of_others),
        quick("metrics::symlink_of_others", symlink_of_others),
    ]
}

const FOLDER: &str = "/var/lib/prometheus/node-exporter";
const FILE: &str = "/var/lib/prometheus/node-exporter/wslmesh.prom";
const CODE: &str = "metrics-unwritable";

fn to(file: &str) -> String {
    config(&format!("[metrics]\ntextfile = \"{file}\"\n{SSH}"))
}

/// An agent that systemd's watchdog wakes often.
fn start(world: &World) -> Result<Agent<'_>> {
    let setup = Setup {
        env: &[("WATCHDOG_USEC", "400000")],
        ..Setup::default()
    };
    world.start_agent_with(&to(FILE), &setup)
}

/// Waits for a sample in the file, and gives its value.
fn sample(world: &World, name: &str, wanted: impl Fn(f64) -> bool) -> Result<f64> {
    let found = || {
        let text = world.read(FILE).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.trim().parse().ok());
        Ok(value.filter(|value| wanted(*value)))
    };
    until(name, LIMIT, found).with_context(|| world.read(FILE).unwrap_or_default())
}

fn file_follows_the_node(world: &World) -> Result<()> {
    world.shell(&format!("mkdir -p {FOLDER}"))?;
    let agent = start(world)?;
    agent.settled(FIRST)?;
    sample(world, "wslmesh_up ", |up| up == 1.0)?;
    sample(world, "wslmesh_address_changes_total ", |count| {
        count == 0.0
    })?;
    world.change_address(&format!("{SECOND}/20"))?;
    sample(world, "wslmesh_address_changes_total ", |count| {
        count == 1.0
    })?;
    sample(world, "wslmesh_forwards{state=\"up\"} ", |count| {
        count == 1.0
    })?;
    sample(
        world,
        "wslmesh_windows_calls_total{result=\"ok\"} ",
        |count| count >= 1.0,
    )?;
    world.shell("ip address flush dev eth0")?;
    sample(world, "wslmesh_address_up ", |up| up == 0.0)?;
    sample(world, "wslmesh_outages_total ", |count| count == 0.0)?;
    world.change_address(&format!("{SECOND}/20"))?;
    sample(world, "wslmesh_outages_total ", |count| count == 1.0)?;
    let seconds = sample(world, "wslmesh_outage_seconds_total ", |took| took > 0.0)?;
    ensure!(seconds < 60.0, "{seconds}");
    // Everybody reads the same by the command.
    let printed = world.wslmesh(&["status", "--metrics"])?;
    for line in [
        "wslmesh_address_changes_total 1\n",
        "wslmesh_outages_total 1\n",
        "# TYPE wslmesh_outages_total counter\n",
    ] {
        ensure!(printed.stdout.contains(line), "{line} in {printed:?}");
    }
    let mode = world.shell(&format!("stat -c '%a %u' {FILE}; ls -A {FOLDER}"))?;
    ensure!(mode == "644 0\nwslmesh.prom\n", "{mode}");
    // Nothing is left of an agent that has ended.
    agent.stop()?;
    ensure!(world.shell(&format!("ls -A {FOLDER}"))?.is_empty());
    Ok(())
}

fn file_of_a_tunnel(world: &World) -> Result<()> {
    world.shell(&format!("mkdir -p {FOLDER}"))?;
    let _device = world.wireguard("wg0", 3)?;
    let agent = start(world)?;
    let never = "wslmesh_wireguard_peers{device=\"wg0\",state=\"never\"} ";
    sample(world, never, |count| count == 3.0)?;
    sample(world, "wslmesh_wireguard_up{device=\"wg0\"} ", |up| {
        up == 1.0
    })?;
    // The file moves with the configuration.
    let other = "/var/lib/prometheus/node-exporter/other.prom";
    agent.reload(&to(other))?;
    until("the other file", LIMIT, || {
        let names = world.shell(&format!("ls -A {FOLDER}"))?;
        Ok((names == "other.prom\n").then_some(()))
    })?;
    agent.reload(&config(SSH))?;
    until("no file", LIMIT, || {
        let names = world.shell(&format!("ls -A {FOLDER}"))?;
        Ok(names.is_empty().then_some(()))
    })?;
    agent.stop()
}

/// Waits for the finding, while the main work goes on, and gives its facts.
fn refused(world: &World, agent: &Agent) -> Result<String> {
    let found = agent.raised(CODE)?;
    ensure!(found.subject == FILE, "{found:?}");
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    Ok(found.detail)
}

/// The cause is removed, and the agent told.
fn recovers(world: &World, agent: &Agent) -> Result<()> {
    agent.process().signal(HUP)?;
    agent.cleared(CODE)?;
    sample(world, "wslmesh_up ", |up| up == 1.0)?;
    agent.stop()
}

fn folder_missing(world: &World) -> Result<()> {
    let agent = start(world)?;
    let why = refused(world, &agent)?;
    ensure!(why.contains("does not exist; make it"), "{why}");
    world.shell(&format!("mkdir -p {FOLDER}"))?;
    recovers(world, &agent)
}

/// The file of before stays whole.
fn folder_full(world: &World) -> Result<()> {
    world.shell(&format!(
        "mkdir -p {FOLDER} && mount -t tmpfs -o size=32k,mode=755 lab {FOLDER}"
    ))?;
    let agent = start(world)?;
    sample(world, "wslmesh_up ", |up| up == 1.0)?;
    world.shell(&format!("! head -c 1M /dev/zero >{FOLDER}/fill"))?;
    agent.process().signal(HUP)?;
    let why = refused(world, &agent)?;
    ensure!(why.contains("no space left"), "{why}");
    let old = world.read(FILE)?;
    ensure!(
        old.contains("\nwslmesh_up 1\n") && old.ends_with('\n'),
        "{old}"
    );
    world.shell(&format!("rm {FOLDER}/fill"))?;
    recovers(world, &agent)
}

fn folder_of_others(world: &World) -> Result<()> {
    world.shell(&format!("mkdir -p {FOLDER} && chmod 777 {FOLDER}"))?;
    let agent = start(world)?;
    let why = refused(world, &agent)?;
    let fix = format!("`chmod go-w {FOLDER}`");
    ensure!(why.contains(&fix), "{why}");
    ensure!(world.shell(&format!("ls -A {FOLDER}"))?.is_empty());
    world.shell(&format!("chmod 755 {FOLDER}"))?;
    recovers(world, &agent)
}

/// Who can write the folder above may not lead the agent elsewhere.
fn symlink_of_others(world: &World) -> Result<()> {
    world.shell(&format!(
        "mkdir -p /var/lib/prometheus /var/lib/sealed && ln -s /var/lib/sealed {FOLDER} && chmod 777 /var/lib/prometheus"
    ))?;
    let agent = start(world)?;
    let why = refused(world, &agent)?;
    ensure!(why.contains("is not followed"), "{why}");
    agent.process().signal(HUP)?;
    ensure!(world.shell("ls -A /var/lib/sealed")?.is_empty());
    world.shell("chmod 755 /var/lib/prometheus")?;
    agent.process().signal(HUP)?;
    agent.cleared(CODE)?;
    let text = world.read("/var/lib/sealed/wslmesh.prom")?;
    ensure!(text.contains("\nwslmesh_up 1\n"), "{text}");
    agent.stop()
}
