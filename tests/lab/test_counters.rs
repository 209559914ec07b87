//! The relay's counters reach the user, on request and not before.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::agent::{LIMIT, SSH, config};
use crate::options::Options;
use crate::runner::trial_with;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial_with(
        "counters::are_shown_when_asked_for",
        Options::quick(),
        shown,
    )]
}

fn shown(world: &World) -> Result<()> {
    // Not installed and not elevated: the relay serves Windows' own loopback.
    world.windows().set_elevated(false)?;
    let _daemon = world.start_bus()?;
    let agent = world.start_agent(&config(&format!("[host]\nbackend = \"relay\"\n{SSH}")))?;
    until("the relay", LIMIT, || {
        let status = read(world, &["status", "--json"])?;
        let serving = status.pointer("/relay/applied") == Some(&json!(true));
        Ok(serving.then_some(()))
    })
    .with_context(|| format!("the agent said:\n{}", agent.log().unwrap_or_default()))?;
    let asked = |orders: &[String]| {
        orders
            .iter()
            .filter(|one| one.contains("get-counters"))
            .count()
    };
    let client = "exec 3<>/dev/tcp/127.0.0.1/2222; echo ping >&3; head -c 5 <&3";
    for tries in 1..=3 {
        let answer = world.host(&["bash", "-c", client])?.ok()?;
        ensure!(answer == "ping\n", "{answer:?}");
        let before = world.windows().relay()?.context("no relay runs")?.commands;
        let status = read(world, &["status", "--json"])?;
        let counter = |field: &str| {
            let place = format!("/relay/counters/forwards/0/{field}");
            status.pointer(&place).cloned()
        };
        ensure!(
            counter("name") == Some(json!("ssh"))
                && counter("opened") == Some(json!(tries))
                && counter("bytes-in") == Some(json!(5 * tries))
                && counter("bytes-out") == Some(json!(5 * tries)),
            "after {tries}: {status:#}"
        );
        let after = world.windows().relay()?.context("no relay runs")?.commands;
        ensure!(asked(&after) == asked(&before) + 1, "{after:?}");
    }
    let list = read(world, &["forward", "list", "--json"])?;
    let bytes = list.pointer("/0/counters/bytes-out");
    ensure!(bytes == Some(&json!(15)), "{list:#}");
    let text = world.wslmesh(&["status"])?.stdout;
    let row = text.lines().find(|line| line.ends_with("15 B  15 B"));
    ensure!(
        text.contains("counters: of now\n") && row.is_some(),
        "{text}"
    );
    ensure!(
        text.lines()
            .all(|line| line.len() <= 80 || line.contains(": ")),
        "{text}"
    );
    let text = world.wslmesh(&["forward", "list", "--config", crate::agent::CONFIG])?;
    ensure!(
        text.stdout.contains("relay counters, of now:\n"),
        "{text:?}"
    );
    agent.stop()
}

/// What a command prints. The node is degraded, because only this Windows can
/// reach it.
fn read(world: &World, command: &[&str]) -> Result<Value> {
    let mut command = command.to_vec();
    command.extend(["--config", crate::agent::CONFIG]);
    let output = world.wslmesh(&command)?;
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}
