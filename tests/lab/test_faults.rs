//! Every way to fail behaves as it does on Windows, and ends when cleared.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use wslmesh::host::scripts::Script;

use crate::caller::{SCRIPT, arguments, begin, call, request, start, sync};
use crate::contract::Answer;
use crate::control::Status;
use crate::fault::Fault;
use crate::options::Options;
use crate::process::KILL;
use crate::runner::trial_with;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let impatient = Options {
        accept_ms: 200,
        ..Options::quick()
    };
    vec![
        trial_with("faults::interop_dead", impatient, interop_dead),
        trial_with(
            "faults::slow_and_hanging",
            Options::quick(),
            slow_and_hanging,
        ),
        trial_with(
            "faults::killed_caller_changes_nothing",
            Options::quick(),
            killed_caller,
        ),
        trial_with("faults::exit_codes", Options::quick(), exit_codes),
        trial_with("faults::damaged_answers", Options::quick(), damaged_answers),
        trial_with(
            "faults::nothing_to_start",
            Options::quick(),
            nothing_to_start,
        ),
    ]
}

fn works(world: &World) -> Result<()> {
    world.windows().clear_fault()?;
    ensure!(sync(world, "172.28.16.5", &[])?.state == "synced");
    Ok(())
}

fn interop_dead(world: &World) -> Result<()> {
    let wanted = format!("{}\n", request("172.28.16.5", &[]));
    world.write(SCRIPT, Script::Refresh.text())?;
    let arguments = arguments(world, SCRIPT)?;
    for (fault, said) in [
        (Fault::InteropGone, "connect failed 2"),
        (Fault::InteropRefuses, "connect failed 111"),
        (Fault::InteropSilent, "accept4 failed 110"),
    ] {
        world.windows().set_fault(fault.clone())?;
        let call = start(world, true, &arguments, wanted.as_bytes())?;
        let output = call.finish(Duration::from_secs(10))?;
        ensure!(
            output.status == Status::Code(1) && output.stderr.contains(said),
            "{fault:?}: {output:?}"
        );
        let ask = "exec -a wslinfo /init --networking-mode";
        let mode = world.guest(&["timeout", "0.5", "bash", "-c", ask])?;
        // It waits without limit for a socket that says nothing.
        let code = if fault == Fault::InteropSilent {
            124
        } else {
            1
        };
        ensure!(
            mode.status == Status::Code(code) && mode.stdout.is_empty(),
            "{fault:?}: {mode:?}"
        );
        works(world)?;
    }
    Ok(())
}

fn slow_and_hanging(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::Slow(300))?;
    let begun = Instant::now();
    sync(world, "172.28.16.5", &[])?;
    ensure!(
        begun.elapsed() >= Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    world.windows().set_fault(Fault::Hang)?;
    let process = begin(world, false, &request("172.28.16.5", &[(1, 1)]))?;
    world.windows().request(2)?;
    ensure!(
        process.wait(Duration::from_millis(200))?.is_none(),
        "it did not hang"
    );
    process.signal(KILL)?;
    world.windows().caller_ended()?;
    works(world)
}

fn killed_caller(world: &World) -> Result<()> {
    sync(world, "172.28.16.5", &[])?;
    world.windows().set_start_up(Duration::from_millis(300))?;
    let process = begin(world, false, &request("172.28.16.5", &[(2222, 22)]))?;
    until("the start", Duration::from_secs(5), || {
        Ok((world.windows().calls()?.len() == 2).then_some(()))
    })?;
    // Killed once its standard input has been passed on in full.
    let size = std::fs::metadata(
        world
            .path("/run/lab/out")
            .join(format!("{}.stdin", process.id())),
    )?
    .len();
    until("the whole request", Duration::from_secs(5), || {
        let info = world.read(format!("/proc/{}/fdinfo/0", process.pid()))?;
        let position = info
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok());
        Ok((position == Some(size)).then_some(()))
    })?;
    process.signal(KILL)?;
    world.windows().caller_ended()?;
    ensure!(
        world.windows().table()?.is_empty(),
        "a killed call changed something"
    );
    Ok(())
}

fn exit_codes(world: &World) -> Result<()> {
    // "Zugriff verweigert für" as a German Windows writes it, in code page 850.
    let stderr = b"Zugriff verweigert f\x81r refresh.ps1\r\n".to_vec();
    world.windows().set_fault(Fault::Exit {
        code: 5,
        stderr: stderr.clone(),
    })?;
    world.write(SCRIPT, b"")?;
    call(world, false, &request("172.28.16.5", &[]))?;
    let process = begin(world, false, &request("172.28.16.5", &[]))?;
    let output = process.finish(Duration::from_secs(10))?;
    ensure!(
        output.status == Status::Code(5) && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(process.bytes("stderr")? == stderr, "{output:?}");
    works(world)
}

fn damaged_answers(world: &World) -> Result<()> {
    sync(world, "172.28.16.5", &[])?;
    let arguments = arguments(world, SCRIPT)?;
    let answer = |fault: Fault| -> Result<Vec<u8>> {
        world.windows().set_fault(fault)?;
        let process = start(
            world,
            false,
            &arguments,
            format!("{}\n", request("172.28.16.5", &[(2222, 22)])).as_bytes(),
        )?;
        process.finish(Duration::from_secs(10))?.ok()?;
        process.bytes("stdout")
    };
    ensure!(answer(Fault::Rubbish(b"\xff\0rubbish".to_vec()))? == b"\xff\0rubbish");
    ensure!(
        world.windows().table()?.is_empty(),
        "rubbish changed something"
    );
    let half = answer(Fault::HalfAnswer)?;
    ensure!(half.starts_with(b"{\"") && serde_json::from_slice::<Answer>(&half).is_err());
    ensure!(
        world.windows().table()?.len() == 1,
        "half an answer comes from a whole sync"
    );
    ensure!(answer(Fault::Flood(10_000_000))?.len() > 10_000_000);
    let text = String::from_utf8(answer(Fault::Crlf)?)?;
    let whole = text.strip_prefix('\u{feff}').unwrap_or_default();
    ensure!(
        whole.matches("\r\n").count() > 3 && serde_json::from_str::<Answer>(whole).is_ok(),
        "{text:?}"
    );
    let utf16 = answer(Fault::Utf16)?;
    ensure!(utf16.starts_with(&[0xff, 0xfe, b'{', 0]), "{utf16:?}");
    ensure!(serde_json::from_slice::<Answer>(&answer(Fault::OtherVersion(7))?)?.version == 7);
    works(world)
}

fn nothing_to_start(world: &World) -> Result<()> {
    let arguments: Vec<String> = Vec::new();
    world.windows().set_fault(Fault::PowershellMissing)?;
    ensure!(
        world.binfmt() == start(world, false, &arguments, b"").is_err(),
        "a missing file was started"
    );
    works(world)?;
    if world.binfmt() {
        world.windows().set_fault(Fault::BinfmtGone)?;
        let error = start(world, false, &arguments, b"").err();
        let error = error.map(|e| format!("{e:#}")).unwrap_or_default();
        ensure!(error.contains("Exec format error"), "{error}");
        call(world, true, &request("172.28.16.5", &[]))?.ok()?;
        works(world)?;
    }
    Ok(())
}
