//! The running agent while Windows fails: everything inside Linux goes on,
//! health says what is wrong and what to do, nothing of others is touched, and
//! afterwards the forwards are right by themselves.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::caller::sync;
use crate::control::View;
use crate::fault::Fault;
use crate::fault_agent::{Agent, CONFIG, LONG, forward};
use crate::options::Options;
use crate::process::{HUP, KILL};
use crate::registry::Rule;
use crate::runner::{trial_alone, trial_with};
use crate::world::{World, until};

const FIRST: &str = "172.28.16.5";
const SECOND: &str = "172.28.30.7";
const THIRD: &str = "172.28.19.200";

/// A fault, the health code it must give (none: the agent must cope), and what
/// the finding must mention.
struct Case {
    name: &'static str,
    fault: fn() -> Fault,
    code: Option<&'static str>,
    mentions: &'static str,
}

const CASES: [Case; 13] = [
    Case {
        name: "socket_gone",
        fault: || Fault::InteropGone,
        code: Some("interop-missing"),
        mentions: "no interop socket in /run/WSL",
    },
    Case {
        name: "nobody_listens",
        fault: || Fault::InteropRefuses,
        code: Some("interop-missing"),
        mentions: "no interop socket in /run/WSL",
    },
    Case {
        name: "dead_socket",
        fault: || Fault::InteropSilent,
        code: Some("interop-failed"),
        mentions: "accept4 failed 110",
    },
    Case {
        name: "slow",
        fault: || Fault::Slow(400),
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
        fault: || Fault::Rubbish(b"\xff\xfb\x07 rubbish\n\x1b[2J".to_vec()),
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

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = Options::quick;
    let mut trials: Vec<Trial> = CASES
        .iter()
        .map(|case| {
            let options = Options {
                accept_ms: 200,
                ..quick()
            };
            trial_alone(&format!("windows_faults::{}", case.name), move || {
                let world = World::start(&options)?;
                comes_and_goes(&world, case)?;
                world.windows().check()
            })
        })
        .collect();
    trials.extend([
        trial_with(
            "windows_faults::there_from_the_start",
            quick(),
            from_the_start,
        ),
        trial_with("windows_faults::never_reached", quick(), never_reached),
        trial_with("windows_faults::hangs", quick(), hangs),
        trial_with(
            "windows_faults::hanging_call_is_killed",
            quick(),
            hanging_call_is_killed,
        ),
        trial_with("windows_faults::backs_off", quick(), backs_off),
        trial_with("windows_faults::not_elevated", quick(), not_elevated),
        trial_with("windows_faults::service_stopped", quick(), service_stopped),
        trial_with(
            "windows_faults::foreign_rule_in_the_way",
            quick(),
            foreign_rule,
        ),
        trial_with(
            "windows_faults::rule_edited_behind_our_back",
            quick(),
            edited,
        ),
        trial_with("windows_faults::killed_run_left_rules", quick(), killed_run),
        trial_with(
            "windows_faults::killed_without_an_answer",
            quick(),
            killed_without_an_answer,
        ),
    ]);
    trials
}

/// Two rules of others, which must be there after everything.
fn foreign(world: &World) -> Result<Vec<Rule>> {
    world
        .windows()
        .put_foreign("0.0.0.0:8080".parse()?, "nas.example/80")?;
    world
        .windows()
        .put_foreign("127.0.0.1:9999".parse()?, "10.0.0.1/80")?;
    Ok(vec![
        Rule::new(("0.0.0.0", 8080), ("nas.example", 80))?,
        Rule::new(("127.0.0.1", 9999), ("10.0.0.1", 80))?,
    ])
}

/// The two forwards of most trials.
fn two() -> String {
    forward("ssh", 2222, 22) + &forward("web", 8000, 80)
}

fn ours(address: &str) -> Result<Vec<Rule>> {
    Ok(vec![
        Rule::new(("0.0.0.0", 2222), (address, 22))?,
        Rule::new(("0.0.0.0", 8000), (address, 80))?,
    ])
}

/// Windows as it is: rules in the order of the registry, by port.
fn stands(view: &View, ours: &[Rule], foreign: &[Rule]) -> bool {
    let mut all = [ours, foreign].concat();
    all.sort_by_key(|rule| (rule.listen_port, rule.listen_address));
    let mut listening: Vec<SocketAddrV4> = all
        .iter()
        // The port proxy of the lab knows addresses only.
        .filter(|rule| rule.connect_address.as_deref() != Some("nas.example"))
        .map(|rule| SocketAddrV4::new(rule.listen_address, rule.listen_port))
        .collect();
    listening.sort_unstable();
    view.table == all && view.ledger == ours && view.listening == listening
}

fn wait_until_stands(world: &World, agent: &Agent, ours: &[Rule], foreign: &[Rule]) -> Result<()> {
    until("the right rules", LONG, || {
        Ok(stands(&world.windows().view()?, ours, foreign).then_some(()))
    })
    .with_context(|| {
        let view = world.windows().view();
        format!("{view:#?}\n{}", agent.log().unwrap_or_default())
    })
}

/// Starts the agent on a healthy Windows and lets the fault come while the
/// address changes.
fn comes_and_goes(world: &World, case: &Case) -> Result<()> {
    let foreign = foreign(world)?;
    let agent = Agent::start(world, &two())?;
    wait_until_stands(world, &agent, &ours(FIRST)?, &foreign)?;
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
        wait_until_stands(world, &agent, &ours(THIRD)?, &foreign)?;
        agent.healthy()?;
        agent.says(&format!("{code} is over"), 1)?;
    } else {
        wait_until_stands(world, &agent, &ours(SECOND)?, &foreign)?;
        agent.says("-> 172.28.30.7: 2 set", 1)?;
        agent.healthy()?;
        ensure!(!agent.log()?.contains("interop-"), "{}", agent.log()?);
    }
    agent.stop()?;
    // A restart of the agent must cut nobody off.
    let address = if case.code.is_some() { THIRD } else { SECOND };
    ensure!(stands(&world.windows().view()?, &ours(address)?, &foreign));
    Ok(())
}

/// Others' rules are there, and what else is there is noted as ours.
fn nothing_foreign(view: &View, foreign: &[Rule]) -> Result<()> {
    let others: Vec<&Rule> = view
        .table
        .iter()
        .filter(|rule| !view.ledger.contains(rule))
        .collect();
    ensure!(others == foreign.iter().collect::<Vec<_>>(), "{view:#?}");
    Ok(())
}

/// A service that starts while interop is away learns the mode later.
fn from_the_start(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::InteropRefuses)?;
    let foreign = foreign(world)?;
    let agent = Agent::start(world, &two())?;
    agent.has_written(FIRST)?;
    let found = agent.ill("mode-unknown")?;
    ensure!(found.detail.contains("connect failed 111"), "{found:?}");
    ensure!(world.windows().calls()?.is_empty(), "Windows was called");
    nothing_foreign(&world.windows().view()?, &foreign)?;
    world.windows().clear_fault()?;
    wait_until_stands(world, &agent, &ours(FIRST)?, &foreign)?;
    agent.healthy()?;
    ensure!(
        agent.status()?.get("mode").and_then(|mode| mode.as_str()) == Some("nat"),
        "{}",
        agent.status()?
    );
    agent.stop()
}

/// What never got to Windows needs no withdrawal: without forwards the agent has
/// no business there.
fn never_reached(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::PowershellMissing)?;
    let agent = Agent::start(world, &two())?;
    agent.ill("interop-powershell")?;
    world.write(CONFIG, "")?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    world.windows().clear_fault()?;
    agent.stop()?;
    ensure!(world.windows().calls()?.is_empty());
    Ok(())
}

/// Until powershell.exe number `count` has read its request.
fn request_number(world: &World, count: usize) -> Result<String> {
    until("the request", LONG, || {
        let calls = world.windows().calls()?;
        Ok(calls
            .get(count - 1)
            .filter(|call| !call.request.is_empty())
            .map(|call| call.request.clone()))
    })
}

/// Waits until Windows notices that the last caller is gone.
fn caller_gone(world: &World) -> Result<()> {
    until("the end of the call", LONG, || {
        let calls = world.windows().calls()?;
        Ok(calls
            .last()
            .filter(|call| call.outcome == "caller gone")
            .map(|_| ()))
    })
}

/// The process ids of WSL's interpreter of Windows programs.
fn interpreters(world: &World) -> Result<Vec<String>> {
    let found = world.guest(&[
        "sh",
        "-c",
        "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f 2> /dev/null | grep -q '^/init .*powershell.exe' && echo $f; done; true",
    ])?;
    Ok(found
        .ok()?
        .lines()
        .filter_map(|line| line.split('/').nth(2).map(str::to_owned))
        .collect())
}

/// The deadline of a call is longer than a trial; what happens until then is
/// what counts: nobody waits for it.
fn hangs(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_fault(Fault::Hang)?;
    let agent = Agent::start(world, &two())?;
    ensure!(request_number(world, 1)?.contains(FIRST));
    let begun = Instant::now();
    for address in [SECOND, THIRD] {
        world.change_address(&format!("{address}/20"))?;
        agent.has_written(address)?;
    }
    agent.process().signal(HUP)?;
    agent.says("configuration reloaded", 1)?;
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
    caller_gone(world)?;
    ensure!(
        interpreters(world)?.is_empty(),
        "the call outlives the agent"
    );
    ensure!(stands(&world.windows().view()?, &[], &foreign));
    Ok(())
}

/// Somebody ends the hanging call: the agent tries again, with the newest address.
fn hanging_call_is_killed(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_fault(Fault::Hang)?;
    let agent = Agent::start(world, &two())?;
    request_number(world, 1)?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    let hanging = interpreters(world)?;
    ensure!(hanging.len() == 1, "{hanging:?}");
    for pid in hanging {
        world.guest(&["kill", "-9", &pid])?.ok()?;
    }
    let found = agent.ill("interop-failed")?;
    ensure!(found.detail.contains("signal: 9"), "{found:?}");
    // The next one hangs too: Windows works again, but not for that call.
    request_number(world, 2)?;
    world.windows().clear_fault()?;
    for pid in interpreters(world)? {
        world.guest(&["kill", "-9", &pid])?.ok()?;
    }
    wait_until_stands(world, &agent, &ours(SECOND)?, &foreign)?;
    agent.healthy()?;
    agent.stop()
}

/// A lasting fault costs a call now and then, whatever else happens meanwhile.
fn backs_off(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::Exit {
        code: 1,
        stderr: Vec::new(),
    })?;
    let agent = Agent::start(world, &two())?;
    let found = agent.ill("interop-failed")?;
    ensure!(found.detail.contains("it said nothing"), "{found:?}");
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
    ensure!(gaps.iter().all(|gap| *gap >= 1000), "{gaps:?} ms");
    // One line for the fault, not one for each try.
    ensure!(
        agent.log()?.matches("interop-failed").count() == 1,
        "{}",
        agent.log()?
    );
    // Asked by a person it tries at once.
    world.windows().clear_fault()?;
    agent.process().signal(HUP)?;
    wait_until_stands(world, &agent, &ours(FIRST)?, &[])?;
    agent.healthy()?;
    agent.stop()
}

fn not_elevated(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_elevated(false)?;
    let agent = Agent::start(world, &two())?;
    let found = agent.ill("forward-not-elevated")?;
    ensure!(
        found.cure.contains("elevated") && found.cure.contains("systemctl reload"),
        "{found:?}"
    );
    // Longer than the first retry of anything that is retried.
    std::thread::sleep(Duration::from_millis(1500));
    ensure!(
        world.windows().calls()?.len() == 1,
        "tried again without reason"
    );
    ensure!(stands(&world.windows().view()?, &[], &foreign));
    ensure!(
        agent.status()?.get("forwards").is_none_or(|f| f.is_null()),
        "{}",
        agent.status()?
    );
    world.windows().set_elevated(true)?;
    agent.process().signal(HUP)?;
    wait_until_stands(world, &agent, &ours(FIRST)?, &foreign)?;
    agent.healthy()?;
    // Rules that stand and rights that are gone: they lead to the old address,
    // and the status document does not say otherwise.
    world.windows().set_elevated(false)?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    agent.ill("forward-not-elevated")?;
    let status = agent.status()?;
    let said = status
        .pointer("/forwards/connect-address")
        .and_then(|address| address.as_str());
    ensure!(said == Some(FIRST), "{status}");
    ensure!(stands(&world.windows().view()?, &ours(FIRST)?, &foreign));
    agent.stop()
}

fn service_stopped(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_service_running(false)?;
    let agent = Agent::start(world, &two())?;
    let found = agent.ill("forward-service")?;
    ensure!(found.cure.contains("Start-Service iphlpsvc"), "{found:?}");
    ensure!(
        world.windows().table()? == foreign,
        "{:?}",
        world.windows().table()?
    );
    let begun = Instant::now();
    world.windows().set_service_running(true)?;
    wait_until_stands(world, &agent, &ours(FIRST)?, &foreign)?;
    ensure!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    agent.healthy()?;
    agent.says("forward-service is over", 1)?;
    let calls = world.windows().calls()?;
    ensure!(calls.len() == 2, "{calls:#?}");
    agent.stop()
}

fn foreign_rule(world: &World) -> Result<()> {
    let mut foreign = foreign(world)?;
    let taken: SocketAddrV4 = "192.168.50.10:2222".parse()?;
    world.windows().put_foreign(taken, "10.9.8.7/2200")?;
    // The same port at another address is another forward and not in the way.
    let at = |name: &str, address: &str| {
        forward(name, 2222, 22) + &format!("listen-address = \"{address}\"\n")
    };
    let config = at("local", "127.0.0.1") + &at("ssh", "192.168.50.10") + &forward("web", 8000, 80);
    let agent = Agent::start(world, &config)?;
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
    wait_until_stands(world, &agent, &ours, &foreign)?;
    let status = agent.status()?;
    ensure!(
        status.pointer("/forwards/count") == Some(&2.into()),
        "{status}"
    );
    // It goes, and the user reloads.
    world.windows().delete(taken)?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    foreign.remove(0);
    ours.insert(1, Rule::new(("192.168.50.10", 2222), (FIRST, 22))?);
    wait_until_stands(world, &agent, &ours, &foreign)?;
    agent.stop()
}

/// What somebody has changed since is theirs; what somebody deleted comes back.
fn edited(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    let agent = Agent::start(world, &two())?;
    wait_until_stands(world, &agent, &ours(FIRST)?, &foreign)?;
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
    wait_until_stands(world, &agent, &web, &all)?;
    agent.stop()
}

/// Kills the agent while its rules stand; the next one has another address and
/// another configuration.
fn killed_run(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    let agent = Agent::start(world, &two())?;
    wait_until_stands(world, &agent, &ours(FIRST)?, &foreign)?;
    agent.healthy()?;
    agent.process().signal(KILL)?;
    agent.process().wait(LONG)?.context("it lives")?;
    world.change_address(&format!("{SECOND}/20"))?;

    let agent = Agent::start(world, &forward("web", 8000, 80))?;
    let web = [Rule::new(("0.0.0.0", 8000), (SECOND, 80))?];
    wait_until_stands(world, &agent, &web, &foreign)?;
    agent.healthy()?;
    agent.process().signal(KILL)?;
    agent.process().wait(LONG)?.context("it lives")?;

    // Nothing is wanted any more: what the dead run made is withdrawn.
    let agent = Agent::start(world, "")?;
    wait_until_stands(world, &agent, &[], &foreign)?;
    agent.healthy()?;
    agent.stop()
}

/// The agent is killed while Windows is at it, and the rules were made: the next
/// run must know that something of ours may stand.
fn killed_without_an_answer(world: &World) -> Result<()> {
    let foreign = foreign(world)?;
    world.windows().set_fault(Fault::Hang)?;
    let agent = Agent::start(world, &two())?;
    request_number(world, 1)?;
    agent.process().signal(KILL)?;
    agent.process().wait(LONG)?.context("it lives")?;
    for pid in interpreters(world)? {
        world.guest(&["kill", "-9", &pid])?.ok()?;
    }
    caller_gone(world)?;
    world.windows().clear_fault()?;
    // As if the script had got further before it was ended.
    sync(world, FIRST, &[(2222, 22), (8000, 80)])?;
    ensure!(stands(&world.windows().view()?, &ours(FIRST)?, &foreign));

    let agent = Agent::start(world, "")?;
    wait_until_stands(world, &agent, &[], &foreign)?;
    agent.healthy()?;
    let calls = world.windows().calls()?.len();
    // Once withdrawn, Windows is left alone.
    world.write(CONFIG, "[mtu]\nvalue = 1300\n")?;
    agent.process().signal(HUP)?;
    agent.says("configuration reloaded", 1)?;
    agent.stop()?;
    ensure!(world.windows().calls()?.len() == calls);
    Ok(())
}
