//! The running agent while Windows fails: everything inside Linux goes on,
//! health says what is wrong and what to do, nothing of others is touched, and
//! afterwards the forwards are right by themselves.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::CONFIG;
use crate::fault::Fault;
use crate::options::Options;
use crate::process::HUP;
use crate::rules::{foreign, has_rules, nothing_foreign, ours, two, wait_for_rules};
use crate::runner::{trial_alone, trial_with};
use crate::topology::{FIRST, SECOND, THIRD};
use crate::world::World;

/// A fault, the health code it must give (none: the agent must cope), and what
/// the finding must mention.
struct Case {
    name: &'static str,
    fault: fn() -> Fault,
    code: Option<&'static str>,
    mentions: &'static str,
}

const CASES: [Case; 18] = [
    Case {
        name: "socket_gone",
        fault: || Fault::InteropGone,
        code: Some("interop-missing"),
        mentions: "no interop socket in /run/WSL",
    },
    Case {
        name: "no_listener",
        fault: || Fault::InteropRefuses,
        code: Some("interop-missing"),
        mentions: "no interop socket in /run/WSL",
    },
    Case {
        name: "dead_socket",
        fault: || Fault::InteropSilent,
        code: Some("interop-dead"),
        mentions: "1_interop accepts calls and starts nothing: WSL ERROR: UtilAcceptVsock",
    },
    Case {
        name: "dead_channel",
        fault: || Fault::ChannelDead,
        code: Some("interop-dead"),
        mentions: "starts nothing: WSL ERROR: UtilAcceptVsock:281: accept4 failed 110",
    },
    Case {
        name: "dead_channel_beside_a_terminal",
        fault: || Fault::ChannelDeadBesideSession,
        code: None,
        mentions: "",
    },
    Case {
        name: "one_start_is_lost",
        fault: || Fault::LosesOne,
        code: None,
        mentions: "",
    },
    Case {
        name: "no_script_runs",
        fault: || Fault::NoScript,
        code: Some("interop-script"),
        mentions: "did not run the script: Internal Windows PowerShell error.",
    },
    Case {
        name: "slow",
        fault: || Fault::Slow(400),
        code: None,
        mentions: "",
    },
    Case {
        name: "output_is_held",
        fault: || Fault::Grandchild(400),
        code: None,
        mentions: "",
    },
    Case {
        name: "exit_code",
        // "Zugriff verweigert für" as a German Windows writes it, in code page 850.
        fault: || Fault::Exit {
            code: 1,
            stderr: b"Zugriff verweigert f\x81r\r\nnetsh\x1b[31m.exe\r\n".to_vec(),
        },
        code: Some("interop-failed"),
        mentions: "Zugriff verweigert f\u{fffd}r  netsh [31m.exe",
    },
    Case {
        name: "rubbish",
        fault: || Fault::Rubbish(b"\xff\xfb\x07 {rubbish\n\x1b[2J".to_vec()),
        code: Some("interop-output"),
        mentions: "not UTF-8",
    },
    Case {
        name: "half_an_answer",
        fault: || Fault::HalfAnswer,
        code: Some("interop-output"),
        mentions: "breaks off",
    },
    Case {
        name: "ten_megabytes",
        fault: || Fault::Flood(10_000_000),
        code: Some("interop-output"),
        mentions: "more than 1048576 bytes",
    },
    Case {
        name: "crlf_and_mark",
        fault: || Fault::Crlf,
        code: None,
        mentions: "",
    },
    Case {
        name: "utf16",
        fault: || Fault::Utf16,
        code: Some("interop-output"),
        mentions: "UTF-16",
    },
    Case {
        name: "other_version",
        fault: || Fault::OtherVersion(7),
        code: Some("interop-output"),
        mentions: "version 7",
    },
    Case {
        name: "powershell_missing",
        fault: || Fault::PowershellMissing,
        code: Some("interop-powershell"),
        mentions: "powershell.exe",
    },
    Case {
        name: "binfmt_entry_gone",
        fault: || Fault::BinfmtGone,
        code: None,
        mentions: "",
    },
];

/// A forward that takes a relay.
const UDP: &str = r#"
[[forward]]
name = "node"
protocol = "udp"
listen-port = 41641
listen-address = "127.0.0.1"
"#;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = CASES
        .iter()
        .map(|case| {
            let options = Options {
                accept_ms: 200,
                ..Options::quick()
            };
            trial_alone(&format!("windows_faults::{}", case.name), move || {
                let world = World::start(&options)?;
                comes_and_goes(&world, case)?;
                world.windows().check()
            })
        })
        .collect();
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    trials.extend([
        quick("windows_faults::from_the_start", from_the_start),
        quick("windows_faults::never_reached", never_reached),
        trial_with(
            "windows_faults::no_relay_by_a_terminal",
            Options {
                accept_ms: 200,
                ..Options::quick()
            },
            no_relay_by_a_terminal,
        ),
    ]);
    trials
}

/// Starts the agent on a healthy Windows and lets the fault come while the
/// address changes.
fn comes_and_goes(world: &World, case: &Case) -> Result<()> {
    let foreign = foreign(world)?;
    let agent = world.start_agent(&two())?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &foreign)?;
    agent.healthy()?;

    world.windows().set_fault((case.fault)())?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    if let Some(code) = case.code {
        let found = agent.ill(code)?;
        ensure!(found.detail.contains(case.mentions), "{found:?}");
        ensure!(
            !found.detail.chars().any(char::is_control),
            "unfit for a journal: {found:?}"
        );
        ensure!(
            agent
                .log()?
                .lines()
                .all(|line| line.starts_with("wslmesh: ")),
            "a message of several lines: {}",
            agent.log()?
        );
        nothing_foreign(&world.windows().view()?, &foreign)?;
        // The fault lasts, and everything inside Linux goes on.
        world.change_address(&format!("{THIRD}/20"))?;
        agent.has_written(THIRD)?;
        world.windows().clear_fault()?;
        wait_for_rules(world, &agent, &ours(THIRD)?, &foreign)?;
        agent.healthy()?;
        agent.says(&format!("{code} cleared"))?;
    } else {
        wait_for_rules(world, &agent, &ours(SECOND)?, &foreign)?;
        agent.says("-> 172.28.30.7: 2 set")?;
        agent.healthy()?;
        ensure!(!agent.log()?.contains("interop-"), "{}", agent.log()?);
    }
    agent.stop()?;
    // A restart of the agent must interrupt no connection.
    let address = if case.code.is_some() { THIRD } else { SECOND };
    ensure!(has_rules(
        &world.windows().view()?,
        &ours(address)?,
        &foreign
    ));
    Ok(())
}

/// A service that starts while interop is away learns the mode later.
fn from_the_start(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::InteropRefuses)?;
    let foreign = foreign(world)?;
    let agent = world.start_agent(&two())?;
    agent.has_written(FIRST)?;
    let found = agent.ill("mode-unknown")?;
    ensure!(found.detail.contains("connect failed 111"), "{found:?}");
    ensure!(world.windows().calls()?.is_empty(), "Windows was called");
    // The message of each attempt has another process number.
    std::thread::sleep(std::time::Duration::from_millis(3500));
    let log = agent.log()?;
    let lines = log.matches("networking mode: unknown").count();
    ensure!(lines == 1, "{lines} lines: {log}");
    nothing_foreign(&world.windows().view()?, &foreign)?;
    world.windows().clear_fault()?;
    wait_for_rules(world, &agent, &ours(FIRST)?, &foreign)?;
    let status = agent.healthy()?;
    ensure!(status.mode == "nat", "{status:?}");
    agent.stop()
}

/// A relay that a terminal's socket started would end with that terminal.
fn no_relay_by_a_terminal(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::ChannelDeadBesideSession)?;
    let agent = world.start_agent(&crate::agent::config(UDP))?;
    let found = agent.raised("interop-dead")?;
    ensure!(found.subject == "relay", "{found:?}");
    agent.wait("the sync by the terminal", |status| {
        status.windows_address.is_some()
    })?;
    ensure!(world.windows().relays()?.is_empty(), "a relay was started");
    world.windows().clear_fault()?;
    agent.stop()
}

/// What never got to Windows needs no withdrawal: without forwards the agent has
/// no business there.
fn never_reached(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::PowershellMissing)?;
    let agent = world.start_agent(&two())?;
    agent.ill("interop-powershell")?;
    world.write(CONFIG, "")?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    world.windows().clear_fault()?;
    agent.stop()?;
    ensure!(world.windows().calls()?.is_empty());
    Ok(())
}
