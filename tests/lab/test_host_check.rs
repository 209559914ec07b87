//! `wslmesh host check`: its report, and the forwards that a probe makes and removes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{CONFIG, LIMIT, PROXY};
use crate::contract::Protocol;
use crate::double::machine::{ME, forward_task, selection_file};
use crate::double::situation::{Entry, Port};
use crate::init::DISTRIBUTION;
use crate::options::{AGENT, Options};
use crate::process::{HUP, TERM};
use crate::runner::trial_with;
use crate::setup::{OPEN, grant, policy, proxied, said};
use crate::topology::FIRST;
use crate::world::{TIMEOUT, World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("host_check::a_report_for_an_issue", reported),
        quick("host_check::scratch_forwards_come_and_go", scratch),
        quick("host_check::a_sync_follows_a_probe", followed),
        quick("host_check::ended_although_interrupted", interrupted),
        quick("host_check::a_sync_between_is_made_again", between),
        quick("host_check::nothing_is_begun_in_vain", in_vain),
        quick("host_check::by_the_relay_alone", by_the_relay),
    ]
}

const PROBE: [&str; 4] = ["host", "check", "--probe", "--yes"];
const RELOADS: &str = "reloads its configuration";

/// One JSON file, without addresses and names unless they are asked for.
fn reported(world: &World) -> Result<()> {
    world.write(CONFIG, OPEN)?;
    world.windows().install(&crate::installed::policy())?;
    let report = |more: &str| -> Result<String> {
        world.shell(&format!(
            "WSL_DISTRO_NAME={DISTRIBUTION} {AGENT} --config {CONFIG} host check --report /run/lab/one.json --force {more}"
        ))?;
        world.read("/run/lab/one.json")
    };
    let (short, full) = (report("")?, report("--full")?);
    let found: Value = serde_json::from_str(&short)?;
    for (field, value) in [("/checks/0/id", "T1"), ("/facts/mode", "nat")] {
        let found = found.pointer(field).and_then(Value::as_str);
        ensure!(found == Some(value), "{field}: {short}");
    }
    ensure!(full.contains(DISTRIBUTION), "{full}");
    let redacted = !short.contains(DISTRIBUTION) && short.contains("NAME-");
    // WSL's version looks like an address.
    ensure!(redacted && !short.contains("ADDRESS-"), "{short}");
    Ok(())
}

/// For [`open`], and a thousand ports more.
fn install(world: &World) -> Result<()> {
    let grants = [((2222, 2222), (22, 22)), ((8000, 8999), (80, 80))];
    let grants = grants.map(|(listen, connect)| proxied(listen, connect));
    world.windows().install(&policy(grants.into()))
}

/// [`OPEN`] by the port proxy.
fn open() -> String {
    [PROXY, OPEN].concat()
}

/// Result and facts of one of the checks.
fn checked(world: &World, more: &[&str], id: &str) -> Result<(String, Value)> {
    let output = world.cli(&[&PROBE[..], &["--json"], more].concat())?;
    let found: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("{}{}", output.stdout, output.stderr))?;
    let checks = found.get("checks").and_then(Value::as_array);
    let mut checks = checks.into_iter().flatten();
    let check = checks.find(|check| check.get("id") == Some(&id.into()));
    let field = |name: &str| check.and_then(|check| check.get(name));
    let result = field("result").and_then(Value::as_str);
    let result = result.with_context(|| format!("no {id}: {found}"))?;
    Ok((
        result.to_owned(),
        field("detail").cloned().unwrap_or_default(),
    ))
}

/// Nothing but them is changed; ports that others have are left to them.
fn scratch(world: &World) -> Result<()> {
    install(world)?;
    crate::rules::foreign(world)?;
    let agent = world.start_agent(&open())?;
    agent.settled(FIRST)?;
    let before = world.windows().snapshot()?.without_messages();
    let runs = || -> Result<usize> { Ok(world.windows().view()?.task_runs.len()) };
    let first = runs()?;
    let (result, facts) = checked(world, &[], "T18")?;
    ensure!(
        result == "ok" && facts.get("port") == Some(&8999.into()),
        "{facts}"
    );
    ensure!(runs()? == first + 2, "two syncs");
    let output = world.cli(&PROBE)?;
    said(&output, 0, &["a scratch forward is made", "port: 8999"])?;
    ensure!(!output.stderr.contains(RELOADS), "{}", output.stderr);
    let port = Port {
        protocol: Protocol::Tcp,
        forbidden: true,
        owner: None,
    };
    world.windows().set(|now| {
        now.ports.insert(8999, port);
    })?;
    let (result, facts) = checked(world, &["--forwards", "50"], "T23")?;
    ensure!(
        result == "ok" && facts.get("forwards") == Some(&49.into()),
        "{facts}"
    );
    let (result, facts) = checked(world, &[], "T18")?;
    ensure!(
        result == "ok" && facts.get("port") == Some(&8998.into()),
        "{facts}"
    );
    let after = world.windows().snapshot()?.without_messages();
    after.is(&before)?;
    world.reached(2222)?;
    agent.healthy()?;
    agent.stop()
}

/// Where a probe may have left its forward, the agent syncs again.
fn followed(world: &World) -> Result<()> {
    install(world)?;
    let agent = world.start_agent(&open())?;
    agent.settled(FIRST)?;
    world.windows().set_service_running(false)?;
    said(
        &world.cli(&PROBE)?,
        3,
        &[RELOADS, "made: service-stopped", "Start-Service iphlpsvc"],
    )?;
    ensure!(checked(world, &[], "T18")?.0 == "differs", "as JSON, too");
    world.windows().set_start_up(LIMIT)?;
    let process = world.spawn_guest(&[&[AGENT], &PROBE[..]].concat(), &[])?;
    std::thread::sleep(Duration::from_millis(300));
    // Ctrl-C.
    process.signal(2)?;
    let output = process.finish(LIMIT)?;
    world.windows().set_start_up(Duration::ZERO)?;
    said(&output, 1, &[RELOADS, "interrupted"])?;
    said(
        &world.cli(&["host", "check", "--forwards", "5"])?,
        2,
        &["--probe"],
    )
}

/// The present forwards are put back, also without an agent that could do so later.
fn interrupted(world: &World) -> Result<()> {
    install(world)?;
    let agent = world.start_agent(&open())?;
    agent.settled(FIRST)?;
    agent.stop()?;
    world.write(CONFIG, open())?;
    let before = world.windows().snapshot()?.without_messages();
    world.windows().set(|now| {
        now.task_start_ms = 1000;
        now.task_wait_ms = 10_000;
    })?;
    for signal in [2, TERM, HUP] {
        let line = [&[AGENT, "--config", CONFIG], &PROBE[..]].concat();
        let process = world.spawn_guest(&line, &[])?;
        until("the request with one more", TIMEOUT, || {
            let text = world.read(selection_file(ME))?;
            Ok(text.contains("[6,8999,80,1]").then_some(()))
        })?;
        process.signal(signal)?;
        let output = process.finish(LIMIT)?;
        said(&output, 1, &["interrupted", "put back first"])?;
        let after = world.windows().snapshot()?.without_messages();
        after.is(&before)?;
        let text = world.read(selection_file(ME))?;
        ensure!(text.contains("\"forwards\":[[6,2222,22,1]]"), "{text}");
    }
    world.reached(2222)
}

/// The agent's configuration changes while the scratch forward is there: what its sync
/// made is lost, and is made again.
fn between(world: &World) -> Result<()> {
    install(world)?;
    let agent = world.start_agent(&open())?;
    agent.settled(FIRST)?;
    world.windows().set(|now| {
        now.task_start_ms = 1500;
        now.task_wait_ms = 10_000;
    })?;
    let process = world.spawn_guest(&[&[AGENT], &PROBE[..]].concat(), &[])?;
    until("the request with one more", TIMEOUT, || {
        let text = world.read(selection_file(ME))?;
        Ok(text.contains("[6,8999,80,1]").then_some(()))
    })?;
    let web =
        "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\nconnect-port = 80\n";
    world.write(CONFIG, [&open(), web].concat())?;
    agent.process().signal(HUP)?;
    let output = process.finish(LIMIT)?;
    said(&output, 0, &[RELOADS])?;
    until("both forwards", LIMIT, || {
        let text = world.read(selection_file(ME))?;
        let rules = world.windows().table()?.len();
        Ok((text.contains("[6,8080,80,1]") && rules == 2).then_some(()))
    })?;
    agent.stop()
}

/// What would keep the trial from being ended is found before it is begun, and said.
fn in_vain(world: &World) -> Result<()> {
    world.write(CONFIG, open())?;
    let untouched = |fix: &str| -> Result<()> {
        let before = world.windows().snapshot()?;
        let (result, facts) = checked(world, &[], "T18")?;
        let reason = facts.get("reason").and_then(Value::as_str);
        let reason = reason.unwrap_or_default();
        ensure!(result == "not-run" && reason.contains(fix), "{facts}");
        world.windows().snapshot()?.is(&before)
    };
    untouched("wslmesh host install\"")?;
    install(world)?;
    untouched("systemctl restart wslmesh")?;
    let agent = world.start_agent(&open())?;
    agent.settled(FIRST)?;
    agent.stop()?;
    // Edited since, or another distribution's.
    world.write(CONFIG, open().replace("2222", "2223"))?;
    untouched("systemctl reload wslmesh")?;
    world.write(CONFIG, open())?;
    let lxss = world.windows().view()?.situation.lxss;
    world
        .windows()
        .set(|now| now.lxss.nat_ip_address = Entry::Missing)?;
    untouched("wsl.exe --shutdown")?;
    world.windows().set(|now| now.lxss = lxss)?;
    let task = world
        .windows()
        .view()?
        .machine
        .tasks
        .get(&forward_task(ME))
        .cloned();
    let mut disabled = task.clone().context("no task")?;
    disabled.enabled = false;
    world
        .windows()
        .put_task(&forward_task(ME), Some(disabled))?;
    untouched("wslmesh host install\"")?;
    world.windows().put_task(&forward_task(ME), task)?;
    world.switch_mode("mirrored")?;
    untouched("wslmesh status")?;
    world.switch_mode("nat")?;
    let (result, facts) = checked(world, &[], "T18")?;
    ensure!(result == "ok", "{facts}");
    Ok(())
}

/// With the default no task is there that could be tried.
fn by_the_relay(world: &World) -> Result<()> {
    let grants = vec![grant(Protocol::Tcp, (2222, 2222), (22, 22))];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent(OPEN)?;
    agent.healthy()?;
    let before = world.windows().snapshot()?;
    for (id, more) in [
        ("T9", &[][..]),
        ("T18", &[]),
        ("T23", &["--forwards", "50"]),
    ] {
        let (result, detail) = checked(world, more, id)?;
        ensure!(
            result == "not-run"
                && detail
                    .to_string()
                    .contains("no forward goes by the port proxy"),
            "{id}: {result} {detail}"
        );
    }
    world.windows().snapshot()?.is(&before)?;
    agent.stop()
}
