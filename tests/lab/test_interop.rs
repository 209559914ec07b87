//! Calls to Windows: both ways in, the contract's rules, and the refusal of
//! everything else.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;
use wslmesh::host::scripts::Script;

use crate::caller::{SCRIPT, arguments, call, command, forward, request, start, sync};
use crate::contract::{Answer, Rule};
use crate::control::Status;
use crate::interop::POWERSHELL;
use crate::launch::Unavailable;
use crate::options::Options;
use crate::process::Output;
use crate::runner::{trial, trial_with};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("interop::takes_its_time", takes_its_time),
        trial_with("interop::through_binfmt", Options::quick(), through_binfmt),
        trial_with("interop::through_init", Options::quick(), through_init),
        trial_with(
            "interop::without_binfmt",
            Options {
                binfmt: false,
                ..Options::quick()
            },
            without_binfmt,
        ),
        trial_with("interop::ownership", Options::quick(), ownership),
        trial_with("interop::overlap", Options::quick(), overlap),
        trial_with("interop::not_elevated", Options::quick(), not_elevated),
        trial_with(
            "interop::service_stopped",
            Options::quick(),
            service_stopped,
        ),
        trial_with("interop::facts", Options::quick(), facts),
        trial_with("interop::by_command", Options::quick(), by_command),
        trial_with(
            "interop::unknown_is_refused",
            Options::quick(),
            unknown_is_refused,
        ),
        trial_with(
            "interop::other_script_is_refused",
            Options::quick(),
            other_script,
        ),
        trial_with(
            "interop::invalid_request",
            Options::quick(),
            invalid_request,
        ),
    ]
}

fn takes_its_time(world: &World) -> Result<()> {
    let begun = std::time::Instant::now();
    sync(world, "172.28.16.5", &[])?;
    ensure!(
        begun.elapsed() >= Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    Ok(())
}

fn through_binfmt(world: &World) -> Result<()> {
    if !world.binfmt() {
        return Err(Unavailable(
            "the kernel refuses a private binfmt_misc (before 6.7)".to_owned(),
        )
        .into());
    }
    ensure!(
        world
            .guest(&["cat", "/proc/sys/fs/binfmt_misc/WSLInterop"])?
            .ok()?
            .starts_with("enabled\n")
    );
    call(world, false, &request("172.28.16.5", &[(2222, 22)]))?.ok()?;
    let calls = world.windows().calls()?;
    let [one] = calls.as_slice() else {
        anyhow::bail!("{calls:?}")
    };
    ensure!(
        one.outcome == "synced" && one.cwd == r"C:\Windows\System32",
        "{one:?}"
    );
    Ok(())
}

fn through_init(world: &World) -> Result<()> {
    call(world, true, &request("172.28.16.5", &[(2222, 22)]))?.ok()?;
    ensure!(world.windows().table()? == [Rule::new(("0.0.0.0", 2222), ("172.28.16.5", 22))?]);
    ensure!(world.windows().ledger()? == world.windows().table()?);
    Ok(())
}

fn without_binfmt(world: &World) -> Result<()> {
    ensure!(!world.binfmt() && !world.path("/proc/sys/fs/binfmt_misc/WSLInterop").exists());
    let error = world
        .guest(&[POWERSHELL])
        .err()
        .map(|e| format!("{e:#}"))
        .unwrap_or_default();
    ensure!(error.contains("Exec format error"), "{error}");
    through_init(world)
}

fn ownership(world: &World) -> Result<()> {
    let windows = world.windows();
    let foreign = Rule::new(("0.0.0.0", 8080), ("nas.example", 80))?;
    let elsewhere = Rule::new(("127.0.0.1", 9999), ("10.0.0.1", 80))?;
    windows.put_foreign("0.0.0.0:8080".parse()?, "nas.example/80")?;
    windows.put_foreign("127.0.0.1:9999".parse()?, "10.0.0.1/80")?;
    let answer = sync(world, "172.28.16.5", &[(8080, 80), (2222, 22), (2223, 23)])?;
    ensure!(
        answer.conflicts == [foreign.clone()] && answer.added == 2 && answer.rules.len() == 2,
        "{answer:?}"
    );
    // One of ours is re-pointed and another deleted, by other programs.
    let taken = Rule::new(("0.0.0.0", 2222), ("10.0.0.9", 22))?;
    windows.put_foreign("0.0.0.0:2222".parse()?, "10.0.0.9/22")?;
    windows.delete("0.0.0.0:2223".parse()?)?;
    let answer = sync(world, "172.28.16.5", &[(2222, 22), (2223, 23)])?;
    ensure!(
        answer.conflicts == [taken.clone()] && answer.added == 1 && answer.removed == 0,
        "{answer:?}"
    );
    ensure!(windows.ledger()? == [Rule::new(("0.0.0.0", 2223), ("172.28.16.5", 23))?]);
    let answer = sync(world, "172.28.16.5", &[(2223, 23)])?;
    ensure!(
        answer.kept == 1 && answer.added == 0 && answer.conflicts.is_empty(),
        "{answer:?}"
    );
    let answer = sync(world, "172.28.16.5", &[])?;
    ensure!(answer.removed == 1 && answer.rules.is_empty(), "{answer:?}");
    ensure!(
        windows.table()? == [taken, foreign, elsewhere] && windows.ledger()?.is_empty(),
        "{:?}",
        windows.table()?
    );
    Ok(())
}

/// One sync of forwards to port 22, by where Windows shall listen.
fn listen(world: &World, on: &[&str]) -> Result<Answer> {
    let mut request = request("172.28.16.5", &[]);
    let mut forwards = Vec::new();
    for on in on {
        let on: SocketAddrV4 = on.parse()?;
        forwards.push(forward(&on.ip().to_string(), on.port(), 22));
    }
    if let Some(map) = request.as_object_mut() {
        map.insert("forwards".to_owned(), json!(forwards));
    }
    Ok(serde_json::from_str(&call(world, false, &request)?.ok()?)?)
}

/// All of Windows' addresses hold each single one, whichever came first.
fn overlap(world: &World) -> Result<()> {
    let windows = world.windows();
    let (one, all) = ("192.168.50.10:2222", "0.0.0.0:2222");
    let other = "192.168.50.11:2222";
    let foreign = |listen: &str| {
        windows.put_foreign(listen.parse()?, "10.0.0.1/80")?;
        let listen: SocketAddrV4 = listen.parse()?;
        Rule::new((&listen.ip().to_string(), listen.port()), ("10.0.0.1", 80))
    };
    // A foreign rule on all addresses conflicts with each of ours, and is reported once.
    let theirs = foreign(all)?;
    let answer = listen(world, &[one, other, "192.168.50.10:2223"])?;
    ensure!(
        answer.conflicts == [theirs] && answer.added == 1 && answer.rules.len() == 1,
        "{answer:?}"
    );
    // Foreign rules on single addresses conflict with ours on all, each of them.
    windows.delete(all.parse()?)?;
    let theirs = [foreign(one)?, foreign(other)?];
    let answer = listen(world, &[all, "0.0.0.0:2223"])?;
    ensure!(
        answer.conflicts == theirs && answer.added == 1 && answer.removed == 1,
        "{answer:?}"
    );
    // Two single addresses have nothing to do with each other.
    windows.delete(one.parse()?)?;
    let answer = listen(world, &[one])?;
    ensure!(
        answer.conflicts.is_empty() && answer.added == 1,
        "{answer:?}"
    );
    // A rule of our own is no obstacle: it moves from one address to all.
    windows.delete(other.parse()?)?;
    let answer = listen(world, &[all])?;
    ensure!(
        answer.conflicts.is_empty() && answer.added == 1 && answer.removed == 1,
        "{answer:?}"
    );
    // What came after ours is reported and ours stays.
    let theirs = foreign(other)?;
    let answer = listen(world, &[all])?;
    ensure!(
        answer.conflicts == [theirs.clone()] && answer.kept == 1 && answer.added == 0,
        "{answer:?}"
    );
    // It is re-pointed too when the guest's address changes.
    let answer = sync(world, "172.28.16.9", &[(2222, 22)])?;
    ensure!(
        answer.conflicts == [theirs.clone()] && answer.added == 1,
        "{answer:?}"
    );
    ensure!(
        windows.table()? == [Rule::new(("0.0.0.0", 2222), ("172.28.16.9", 22))?, theirs],
        "{:?}",
        windows.table()?
    );
    Ok(())
}

/// The script itself comes on standard input, and the request behind it.
fn by_command(world: &World) -> Result<()> {
    let script = Script::Refresh.text().as_bytes();
    let request = format!("{}\n", request("172.28.16.5", &[(2222, 22)]));
    let run = |input: &[u8]| {
        let process = start(world, true, &command(), input)?;
        process.finish(Duration::from_secs(10))
    };
    let answer = run(&[script, request.as_bytes()].concat())?.ok()?;
    ensure!(
        serde_json::from_str::<Answer>(&answer)?.added == 1,
        "{answer}"
    );
    let cut = run(script.get(..script.len() - 1).unwrap_or_default())?;
    ensure!(
        cut.status == Status::Code(9) && cut.stdout.is_empty(),
        "{cut:?}"
    );
    world.windows().check()?;
    // One byte that is another.
    let mut other = [script, request.as_bytes()].concat();
    if let Some(byte) = other.first_mut() {
        *byte = b' ';
    }
    let other = run(&other)?;
    ensure!(other.status == Status::Code(1), "{other:?}");
    ensure!(world.windows().take_violations()?.len() == 1);
    Ok(())
}

fn not_elevated(world: &World) -> Result<()> {
    sync(world, "172.28.16.5", &[(2222, 22)])?;
    world.windows().set_elevated(false)?;
    let answer = sync(world, "172.28.16.9", &[(2222, 22), (3333, 33)])?;
    ensure!(
        answer.state == "not-elevated" && answer.rules.len() == 1 && answer.added == 0,
        "{answer:?}"
    );
    ensure!(answer.detail.is_some_and(|d| d.starts_with("2 ")));
    ensure!(world.windows().table()? == [Rule::new(("0.0.0.0", 2222), ("172.28.16.5", 22))?]);
    // What is installed already needs no rights.
    let answer = sync(world, "172.28.16.5", &[(2222, 22)])?;
    ensure!(answer.state == "synced" && answer.kept == 1, "{answer:?}");
    Ok(())
}

fn service_stopped(world: &World) -> Result<()> {
    world.windows().set_service_running(false)?;
    ensure!(
        sync(world, "172.28.16.5", &[])?.state == "synced",
        "nothing wanted needs no service"
    );
    world.windows().set_service_running(true)?;
    sync(world, "172.28.16.5", &[(2222, 22)])?;
    world.windows().set_service_running(false)?;
    ensure!(
        world.windows().listening()?.is_empty(),
        "a stopped service listens"
    );
    ensure!(sync(world, "172.28.16.5", &[])?.state == "service-stopped");
    world.windows().set_service_running(true)?;
    ensure!(
        world.windows().listening()?.len() == 1,
        "the rules of a started service do not count"
    );
    Ok(())
}

fn facts(world: &World) -> Result<()> {
    let answer = sync(world, "172.28.16.5", &[])?;
    ensure!(
        answer.windows_address == Some("192.168.50.10".parse()?) && answer.lowest_mtu.is_none(),
        "{answer:?}"
    );
    world.windows().set_address(None)?;
    world.windows().set_lowest_mtu(Some(("Tailscale", 1280)))?;
    let answer = sync(world, "172.28.16.5", &[])?;
    let mtu = answer.lowest_mtu.map(|m| (m.name, m.mtu));
    ensure!(
        answer.windows_address.is_none() && mtu == Some(("Tailscale".to_owned(), 1280)),
        "{mtu:?}"
    );
    Ok(())
}

/// Exit code 1, something said, and the one violation that a trial is failed for.
fn refused(world: &World, output: &Output) -> Result<()> {
    ensure!(
        output.status == Status::Code(1) && !output.stderr.is_empty(),
        "{output:?}"
    );
    ensure!(world.windows().check().is_err(), "no violation was kept");
    let violations = world.windows().take_violations()?;
    ensure!(violations.len() == 1, "{violations:?}");
    ensure!(
        world.windows().table()?.is_empty(),
        "a refused call changed something"
    );
    Ok(())
}

fn unknown_is_refused(world: &World) -> Result<()> {
    let good = request("172.28.16.5", &[(2222, 22)]);
    call(world, true, &request("172.28.16.5", &[]))?.ok()?;
    let arguments = arguments(world, SCRIPT)?;
    let input = format!("{good}\n");
    let run = |arguments: &[String], input: &str| -> Result<Output> {
        start(world, true, arguments, input.as_bytes())?.finish(Duration::from_secs(10))
    };
    for leave_out in 0..arguments.len() {
        let fewer: Vec<String> = arguments
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != leave_out)
            .map(|(_, a)| a.clone())
            .collect();
        refused(world, &run(&fewer, &input)?)?;
    }
    refused(
        world,
        &run(
            &[arguments.as_slice(), &["-Verbose".to_owned()]].concat(),
            &input,
        )?,
    )?;
    refused(
        world,
        &run(&["-Command".to_owned(), "netsh".to_owned()], &input)?,
    )?;
    let mut unknown = good.clone();
    if let Some(map) = unknown.as_object_mut() {
        map.insert("user".to_owned(), json!("me"));
    }
    let two_lines = format!("{input}{input}");
    for input in [
        "",
        "\n",
        "{}\n",
        good.to_string().as_str(),
        &format!("{unknown}\n"),
        &two_lines,
        "{\"version\":\"ü\"}\n",
    ] {
        refused(world, &run(&arguments, input)?)?;
    }
    // Another program than powershell.exe.
    let netsh = "/mnt/c/Windows/System32/netsh.exe";
    world.guest(&["cp", POWERSHELL, netsh])?.ok()?;
    refused(
        world,
        &world.guest(&["/init", netsh, "netsh.exe", "interface"])?,
    )
}

fn other_script(world: &World) -> Result<()> {
    call(world, true, &request("172.28.16.5", &[]))?.ok()?;
    let arguments = arguments(world, SCRIPT)?;
    let input = format!("{}\n", request("172.28.16.5", &[(2222, 22)]));
    world.write(
        SCRIPT,
        [std::fs::read(world.path(SCRIPT))?.as_slice(), b" "].concat(),
    )?;
    refused(
        world,
        &start(world, true, &arguments, input.as_bytes())?.finish(Duration::from_secs(10))?,
    )?;
    world.guest(&["rm", SCRIPT])?.ok()?;
    refused(
        world,
        &start(world, true, &arguments, input.as_bytes())?.finish(Duration::from_secs(10))?,
    )
}

fn invalid_request(world: &World) -> Result<()> {
    for (field, value) in [
        ("connect-address", json!("::1")),
        ("connect-address", json!("127.0.0.1")),
        ("version", json!(2)),
        ("action", json!("undo")),
    ] {
        let mut request = request("172.28.16.5", &[]);
        if let Some(map) = request.as_object_mut() {
            map.insert(field.to_owned(), value);
        }
        let answer: Answer = serde_json::from_str(&call(world, true, &request)?.ok()?)?;
        ensure!(
            answer.state == "invalid-request"
                && answer.detail.is_some_and(|d| d.starts_with(field))
        );
    }
    for forwards in [&[(0, 22)][..], &[(22, 0)], &[(2222, 22), (2222, 23)]] {
        ensure!(
            sync(world, "172.28.16.5", forwards)?.state == "invalid-request",
            "{forwards:?}"
        );
    }
    ensure!(world.windows().table()?.is_empty());
    Ok(())
}
