//! Control characters, whoever brings them: each command shows them and a terminal obeys
//! none.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::LIMIT;
use crate::agent::PROXY;
use crate::contract::Protocol;
use crate::control::Status;
use crate::double::situation::Port;
use crate::fault::Fault;
use crate::options::Options;
use crate::runner::trial_with;
use crate::setup::{OPEN, firewall_rule, policy, proxied};
use crate::test_output::{BESIDE, OTHERS, prepare, shell, terminal};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("escapes::of_files_and_processes", of_files_and_processes),
        quick("escapes::of_windows", of_windows),
    ]
}

/// Escapes in an interface's name, a process's, a configuration's values and keys, a
/// path and Windows' answers: each command shows them and prints none.
fn of_files_and_processes(world: &World) -> Result<()> {
    let config = prepare(world)?;
    // Sets a terminal's title, or clears it.
    world.add_tunnel("wg\x1b[2J")?;
    let bad = "[network]\ninterface = \"e\\u001b]0;t\\u0007\"\n[mtu]\n\"v\\u001b[2J\" = 1\n[sysctl]\n\"net.\\u001b[2J\" = \"\\u009b2J\"\n";
    world.write("/run/lab/bad.toml", bad)?;
    world.write("/run/lab/\x1b[2J.toml", "[mtu]\nvalue = 1\n")?;
    world.write(
        "/run/lab/wsl2.json",
        OTHERS
            .replace("telnet", "\\u001b[2J")
            .replace("Other", "\\u001b]0;t\\u0007"),
    )?;
    let named =
        "cp /bin/sleep \"$(printf '/run/lab/\\033[2J')\" && \"$(printf '/run/lab/\\033[2J')\" 60";
    let process = world.spawn_guest(&["sh", "-c", named], &[])?;
    let agent = world.start_agent(&config)?;
    agent.wait("its forward", |status| status.forwards.is_some())?;
    let more = [
        (
            "--config /run/lab/$(printf \"\\033[2J\").toml config check",
            1,
        ),
        ("$(printf \"a\\033[2J\")", 2),
        ("doctor --all", 3),
    ];
    for (command, code) in BESIDE.into_iter().chain(more) {
        let pipe = shell(world, command, "WSLMESH")?;
        let terminal = terminal(world, command, "NO_COLOR=1 TERM=xterm")?;
        for output in [&pipe, &terminal] {
            ensure!(output.status == Status::Code(code), "{command}: {output:?}");
            tame(command, &output.stdout)?;
            tame(command, &output.stderr)?;
        }
    }
    let shown = shell(world, "--config /run/lab/bad.toml config check", "WSLMESH")?;
    ensure!(shown.stderr.contains("\\u{1b}"), "{shown:?}");
    let log = agent.log()?;
    ensure!(!log.contains('\x1b'), "{log}");
    drop(process);
    agent.stop()
}

/// Fails where a terminal would obey a text.
fn tame(what: &str, text: &str) -> Result<()> {
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    ensure!(!text.contains(control), "{what}: {text:?}");
    Ok(())
}

/// Commands that show what Windows said.
const OF_WINDOWS: [&str; 10] = [
    "status",
    "status --json",
    "doctor --all",
    "doctor --json",
    "forward list",
    "forward list --json",
    "host check",
    "host check --json",
    "host check --report /run/lab/report.json --force && cat /run/lab/report.json",
    "apply",
];

/// Escapes in what Windows answers: names of programs, rules and interfaces, targets of
/// rules, an error of PowerShell and one of the relay; in each command, while it happens in
/// `monitor`, and in the log.
fn of_windows(world: &World) -> Result<()> {
    const TITLE: &str = "\x1b]0;mark\x07\u{9b}2J\u{202e}";
    let _daemon = world.start_bus()?;
    let windows = world.windows();
    let grants = vec![proxied((1, 9999), (1, 9999))];
    windows.install(&policy(grants))?;
    windows.set(|situation| {
        let port = Port {
            protocol: Protocol::Tcp,
            forbidden: true,
            owner: Some(TITLE.to_owned()),
        };
        situation.ports.insert(8080, port);
    })?;
    windows.set_lowest_mtu(Some((TITLE, 1300)))?;
    windows.put_firewall(TITLE, Some(firewall_rule(false, Some(2222))))?;
    windows.put_foreign("127.0.0.1:90".parse()?, &format!("{TITLE}/22"))?;
    let monitors = [
        world.agent(&["monitor"])?,
        world.agent(&["monitor", "--json"])?,
    ];
    let forward = |name, port| OPEN.replace("ssh", name).replace("2222", port);
    let config = [
        PROXY,
        OPEN,
        &forward("web", "8080"),
        &forward("other", "90"),
    ]
    .concat();
    let agent = world.start_agent(&config)?;
    let all = || -> Result<()> {
        for command in OF_WINDOWS {
            for output in [
                shell(world, command, "WSLMESH")?,
                terminal(world, command, "NO_COLOR=1 TERM=xterm")?,
            ] {
                ensure!(
                    matches!(output.status, Status::Code(0 | 1 | 3)),
                    "{output:?}"
                );
                tame(command, &output.stdout)?;
                tame(command, &output.stderr)?;
            }
        }
        Ok(())
    };
    for code in ["forward-excluded", "forward-conflict", "firewall-blocked"] {
        let found = agent.raised(code)?;
        ensure!(found.detail.contains("mark"), "{found:?}");
    }
    all()?;
    windows.set_fault(Fault::Exit {
        code: 1,
        stderr: format!("{TITLE}\r\n").into_bytes(),
    })?;
    world.change_address("172.28.27.77/20")?;
    let found = agent.raised("interop-failed")?;
    ensure!(found.detail.contains("mark"), "{found:?}");
    all()?;
    for monitor in &monitors {
        until("what happened", LIMIT, || {
            Ok(monitor.stdout()?.contains("interop-failed").then_some(()))
        })?;
        tame("monitor", &monitor.stdout()?)?;
    }
    tame("the log", &agent.log()?)
}
