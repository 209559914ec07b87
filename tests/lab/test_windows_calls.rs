//! Calls of Windows that hang, fail repeatedly, or lose their caller: nothing waits
//! for them, none is left behind, and retries back off.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, LIMIT};
use crate::caller::sync;
use crate::fault::Fault;
use crate::options::Options;
use crate::process::HUP;
use crate::rules::{foreign, has_rules, ours, two, wait_for_rules};
use crate::runner::trial_with;
use crate::topology::{FIRST, SECOND, THIRD};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("windows_calls::hang", hangs),
        quick(
            "windows_calls::hanging_one_is_killed",
            hanging_call_is_killed,
        ),
        quick("windows_calls::back_off", backs_off),
        quick("windows_calls::nothing_is_read_by_windows", nothing_is_read),
        quick("windows_calls::no_command_runs", no_command_runs),
        quick("windows_calls::policy_is_respected", policy_is_respected),
        quick("windows_calls::constrained_file", constrained_as_a_file),
        quick(
            "windows_calls::agent_killed_meanwhile",
            killed_without_an_answer,
        ),
    ]
}

/// By which option each script came.
fn ways(world: &World) -> Result<Vec<String>> {
    let calls = world.windows().calls()?.into_iter();
    Ok(calls.map(|call| call.by).collect())
}

/// Folders that Windows' user may not read are no obstacle, and a wslpath that hangs none.
fn nothing_is_read(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::PathsHang)?;
    world
        .guest(&["mkdir", "-p", "-m", "0700", "/var/lib/wslmesh"])?
        .ok()?;
    let agent = world.start_agent(&two())?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &[])?;
    agent.healthy()?;
    agent.stop()?;
    let found = ways(world)?;
    ensure!(found == ["-Command", "-Command"], "{found:?}");
    let state = world.guest(&["ls", "-A", "/var/lib/wslmesh"])?.ok()?;
    ensure!(
        !state.contains("windows") && !state.contains(".wslmesh-"),
        "{state}"
    );
    Ok(())
}

/// Where powershell.exe runs files alone it gets one, and from then on nothing else is tried.
fn no_command_runs(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::NoCommand)?;
    let agent = world.start_agent(&two())?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &[])?;
    world.change_address(&format!("{SECOND}/20"))?;
    wait_for_rules(world, &agent, &ours(SECOND)?, &[])?;
    agent.healthy()?;
    agent.stop()?;
    let found = ways(world)?;
    ensure!(
        found == ["-Command", "-File", "-File", "-File"],
        "{found:?}"
    );
    let state = world.guest(&["ls", "-A", "/var/lib/wslmesh"])?.ok()?;
    ensure!(!state.contains(".wslmesh-"), "{state}");
    Ok(())
}

/// An administrator who allows signed scripts alone is not gone past.
fn policy_is_respected(world: &World) -> Result<()> {
    let forbid = |policy: Option<&str>| {
        let policy = policy.map(str::to_owned);
        world.windows().set(|now| now.script_policy = policy)
    };
    forbid(Some("AllSigned"))?;
    let agent = world.start_agent(&two())?;
    let found = agent.ill("interop-script")?;
    ensure!(
        found.detail.contains("MachinePolicy is AllSigned"),
        "{found:?}"
    );
    let found = ways(world)?;
    ensure!(found.iter().all(|by| by == "-Command"), "{found:?}");
    forbid(None)?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &[])?;
    agent.healthy()?;
    agent.stop()
}

/// A script that is a file says itself that no method may be called.
fn constrained_as_a_file(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::NoCommand)?;
    world.windows().set(|now| now.constrained = true)?;
    let agent = world.start_agent(&two())?;
    let found = agent.ill("interop-script")?;
    let words = "language mode ConstrainedLanguage";
    ensure!(found.detail.contains(words), "{found:?}");
    world.windows().set(|now| now.constrained = false)?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &[])?;
    agent.healthy()?;
    agent.stop()
}

/// The running interpreters of powershell.exe, as WSL starts them.
fn interpreters(world: &World) -> Result<Vec<u32>> {
    let mut found = world.processes_with("powershell.exe")?;
    found.retain(|(_, line)| line.starts_with("/init "));
    Ok(found.into_iter().map(|(pid, _)| pid).collect())
}

/// Ends them.
fn kill_interpreters(world: &World) -> Result<()> {
    for pid in interpreters(world)? {
        world.guest(&["kill", "-9", &pid.to_string()])?.ok()?;
    }
    Ok(())
}

/// The deadline of a call is longer than a trial; what happens until then is
/// what counts: nothing waits for it.
fn hangs(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_fault(Fault::Hang)?;
    let agent = world.start_agent(&two())?;
    ensure!(world.windows().request(1)?.contains(FIRST));
    let begun = Instant::now();
    for address in [SECOND, THIRD] {
        world.change_address(&format!("{address}/20"))?;
        agent.has_written(address)?;
    }
    agent.process().signal(HUP)?;
    agent.says("configuration reloaded")?;
    let took = begun.elapsed();
    ensure!(
        took < Duration::from_secs(10),
        "waited for Windows: {took:?}"
    );
    ensure!(
        world.windows().calls()?.len() == 1,
        "a second call beside one that hangs"
    );
    ensure!(interpreters(world)?.len() == 1);
    let begun = Instant::now();
    agent.stop()?;
    let took = begun.elapsed();
    ensure!(
        took < Duration::from_secs(10),
        "waited for Windows: {took:?}"
    );
    world.windows().caller_ended()?;
    ensure!(
        interpreters(world)?.is_empty(),
        "the call outlives the agent"
    );
    ensure!(has_rules(&world.windows().view()?, &[], &foreign));
    Ok(())
}

/// The hanging call is ended from outside: the agent tries again, with the newest address.
fn hanging_call_is_killed(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_fault(Fault::Hang)?;
    let agent = world.start_agent(&two())?;
    world.windows().request(1)?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    ensure!(interpreters(world)?.len() == 1);
    kill_interpreters(world)?;
    let found = agent.ill("interop-failed")?;
    ensure!(found.detail.contains("signal: 9"), "{found:?}");
    // The next one hangs too: Windows works again, but not for that call.
    world.windows().request(2)?;
    world.windows().clear_fault()?;
    kill_interpreters(world)?;
    wait_for_rules(world, &agent, &ours(SECOND)?, &foreign)?;
    agent.healthy()?;
    agent.stop()
}

/// A permanent fault costs a call now and then, whatever else happens meanwhile.
fn backs_off(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::Exit {
        code: 1,
        stderr: Vec::new(),
    })?;
    let agent = world.start_agent(&two())?;
    let found = agent.ill("interop-failed")?;
    ensure!(found.detail.contains("without output"), "{found:?}");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        // Passes that change nothing for Windows.
        world.flap(&format!("{FIRST}/20"))?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let calls = world.windows().calls()?;
    ensure!((2..=4).contains(&calls.len()), "{} calls", calls.len());
    let gaps: Vec<u64> = calls
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some((b.at - a.at) / 1_000_000),
            _ => None,
        })
        .collect();
    ensure!(
        gaps.iter().all(|gap| *gap >= 1000),
        "{gaps:?} ms {calls:#?}"
    );
    // One line for the fault, not one for each try.
    ensure!(
        agent.log()?.matches("interop-failed").count() == 1,
        "{}",
        agent.log()?
    );
    // Asked by a person it tries at once.
    world.windows().clear_fault()?;
    agent.process().signal(HUP)?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &[])?;
    agent.healthy()?;
    agent.stop()
}

/// The agent is killed while Windows is at it, and the rules were made: the next
/// run must know that rules of ours are possibly installed.
fn killed_without_an_answer(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_start_up(Duration::from_millis(300))?;
    let agent = world.start_agent(&two())?;
    until("the question before", LIMIT, || {
        Ok((world.windows().calls()?.len() == 1).then_some(()))
    })?;
    world.windows().set_fault(Fault::Hang)?;
    world.windows().request(2)?;
    agent.kill()?;
    kill_interpreters(world)?;
    world.windows().caller_ended()?;
    world.windows().clear_fault()?;
    // As if the script had got further before it was ended.
    sync(world, FIRST, &[(2222, 22), (8000, 80)])?;
    ensure!(has_rules(&world.windows().view()?, &ours(FIRST)?, &foreign));

    let agent = world.start_agent("")?;
    wait_for_rules(world, &agent, &[], &foreign)?;
    agent.healthy()?;
    let calls = world.windows().calls()?.len();
    // Once withdrawn, Windows is left alone.
    world.write(CONFIG, "[mtu]\nvalue = 1300\n")?;
    agent.process().signal(HUP)?;
    agent.says("configuration reloaded")?;
    agent.stop()?;
    ensure!(world.windows().calls()?.len() == calls);
    Ok(())
}
