//! Whether WSL stops the distribution, and the `wsl.exe` that holds it open.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, CONFIG, LIMIT, Setup};
use crate::double::session::{Session, WSL};
use crate::fault::Fault;
use crate::options::Options;
use crate::runner::trial_with;
use crate::status::Status;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("lifetime::held_open", held_open),
        quick("lifetime::restarted", restarted),
        quick("lifetime::killed", killed),
        quick("lifetime::each_distribution", each_distribution),
        quick("lifetime::no_wsl", no_wsl),
        quick("lifetime::backoff", backoff),
        quick("lifetime::hangs", hangs),
        quick("lifetime::what_is_said", what_is_said),
        quick("lifetime::bad_values", bad_values),
    ]
}

const ON: &str = "[lifetime]\nkeep-alive = true\n";
/// Ends wsl.exe from outside.
const END: &str = "pkill -9 -f '^/init .*wsl.exe -d'";
const WSLCONFIG: &str = "/mnt/c/Users/lab/.wslconfig";

fn is_held(status: &Status) -> bool {
    let lifetime = status.lifetime.as_ref();
    lifetime.is_some_and(|entry| entry.held_since_unix.is_some())
}

fn held(agent: &Agent) -> Result<Status> {
    agent.wait("a held distribution", is_held)
}

fn sessions(world: &World) -> Result<Vec<Session>> {
    Ok(world.windows().view()?.sessions)
}

/// Waits until that many sessions were opened in all and so many of them are open.
fn opened(world: &World, all: usize, open: usize) -> Result<()> {
    let counts = || {
        let sessions = sessions(world)?;
        let open = sessions.iter().filter(|one| one.outcome.is_none()).count();
        anyhow::Ok((sessions.len(), open))
    };
    until("the sessions", LIMIT, || {
        Ok((counts()? == (all, open)).then_some(()))
    })
    .with_context(|| format!("{:?}", sessions(world)))
}

fn last_outcome(world: &World) -> Result<String> {
    let outcome = sessions(world)?.pop().and_then(|one| one.outcome);
    outcome.context("it runs")
}

/// One session, which ends by a reload, and comes back by one.
fn held_open(world: &World) -> Result<()> {
    let agent = world.start_agent(ON)?;
    let status = held(&agent)?;
    let entry = status.lifetime.context("no lifetime")?;
    ensure!(
        entry.state == "kept" && entry.remediation.is_none(),
        "{entry:?}"
    );
    opened(world, 1, 1)?;
    let page = world.cli(&["status"])?;
    ensure!(
        page.stdout.contains("held open by wslmesh, for "),
        "{page:?}"
    );
    agent.healthy()?;
    // A reload that changes nothing asks the one that runs.
    agent.reload(&format!("# more\n{ON}"))?;
    agent.pass_after(status.passes)?;
    agent.reload("")?;
    agent.wait("no hold", |status| !is_held(status))?;
    opened(world, 1, 0)?;
    agent.says("no longer held open")?;
    agent.reload(ON)?;
    held(&agent)?;
    opened(world, 2, 1)?;
    agent.stop()?;
    opened(world, 2, 0)
}

/// Ended from outside it is started again; a crash of the channel makes no second one.
fn restarted(world: &World) -> Result<()> {
    let agent = world.start_agent(ON)?;
    held(&agent)?;
    world.shell(END)?;
    opened(world, 2, 1)?;
    ensure!(
        agent.log()?.contains("keep-alive-failed"),
        "{}",
        agent.log()?
    );
    agent.cleared("keep-alive-failed")?;
    held(&agent).map(drop)
}

/// However the agent ends, the session does; the next agent opens one.
fn killed(world: &World) -> Result<()> {
    let agent = world.start_agent(ON)?;
    held(&agent)?;
    agent.kill()?;
    opened(world, 1, 0)?;
    ensure!(last_outcome(world)? == "its input ended");
    let agent = world.start_agent(ON)?;
    held(&agent)?;
    opened(world, 2, 1)?;
    agent.stop()?;
    opened(world, 2, 0)
}

/// An agent on standby holds its own distribution, and keeps it as the next leader.
fn each_distribution(world: &World) -> Result<()> {
    let leader = world.start_agent(ON)?;
    held(&leader)?;
    opened(world, 1, 1)?;
    let setup = Setup {
        env: &[("WSL_DISTRO_NAME", "Debian")],
        runtime: "debian",
        ..Setup::default()
    };
    let standby = world.start_agent_with(ON, &setup)?;
    let status = held(&standby)?;
    ensure!(status.role == "standby", "{status:?}");
    opened(world, 2, 2)?;
    leader.kill()?;
    standby.wait("the lead", |status| {
        status.role == "active" && is_held(status)
    })?;
    opened(world, 2, 1)
}

/// Without wsl.exe, and where the channel to Windows is dead.
fn no_wsl(world: &World) -> Result<()> {
    world.shell(&format!("mv {WSL} {WSL}.away"))?;
    let agent = world.start_agent(ON)?;
    let found = agent.ill("keep-alive-failed")?;
    ensure!(found.detail == format!("there is no {WSL}"), "{found:?}");
    world.shell(&format!("mv {WSL}.away {WSL}"))?;
    agent.reload(ON)?;
    agent.cleared("keep-alive-failed")?;
    held(&agent)?;
    world.windows().set_fault(Fault::InteropGone)?;
    world.shell(END)?;
    let found = agent.raised("keep-alive-failed")?;
    ensure!(!found.detail.is_empty() && !is_held(&agent.status()?.context("none")?));
    world.windows().clear_fault()?;
    agent.reload(ON)?;
    agent.cleared("keep-alive-failed")?;
    held(&agent).map(drop)
}

/// One that ends at once is not started in a loop.
fn backoff(world: &World) -> Result<()> {
    let stderr = b"no such user\r\n".to_vec();
    world.windows().set_fault(Fault::Exit { code: 1, stderr })?;
    let agent = world.start_agent(ON)?;
    let found = agent.raised("keep-alive-failed")?;
    ensure!(found.detail.contains("no such user"), "{found:?}");
    let starts = until("the third start", LIMIT, || {
        let sessions = sessions(world)?;
        Ok((sessions.len() >= 3).then_some(sessions))
    })?;
    let pauses = starts.windows(2).map(|pair| match pair {
        [one, next] => Duration::from_nanos(next.at - one.at),
        _ => Duration::MAX,
    });
    let least = [1, 2, 4].map(Duration::from_secs);
    for (pause, least) in pauses.zip(least) {
        ensure!(pause >= least, "{starts:?}");
    }
    // As wsl.exe says that it knows no such distribution.
    let text = "Es gibt keine Distribution mit dem Namen.\r\nFehlercode: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n";
    let said: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    world.windows().set_fault(Fault::Rubbish(said))?;
    agent.reload(ON)?;
    agent.wait("what it says", |status| {
        let found = status.finding("keep-alive-failed");
        found.is_some_and(|found| found.detail.contains("WSL_E_DISTRO_NOT_FOUND"))
    })?;
    world.windows().clear_fault()?;
    agent.reload(ON)?;
    agent.cleared("keep-alive-failed").map(drop)
}

/// One that opens no session is ended.
fn hangs(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::Hang)?;
    let agent = world.start_agent(ON)?;
    opened(world, 1, 1)?;
    // Its own limit is 30 s.
    let found = agent.wait_for("the finding", LIMIT * 4, |status| {
        status.finding("keep-alive-failed").is_some()
    })?;
    let found = found.finding("keep-alive-failed").cloned();
    let detail = found.context("no finding")?.detail;
    ensure!(
        detail.contains("opened no session in this distribution within 30 s"),
        "{detail}"
    );
    world.windows().clear_fault()?;
    agent.reload(ON)?;
    held(&agent)?;
    let open = sessions(world)?
        .into_iter()
        .filter(|one| one.outcome.is_none());
    ensure!(open.count() == 1, "{:?}", sessions(world)?);
    Ok(())
}

/// What the status says of a distribution that is not held, by what `.wslconfig` said when
/// the virtual machine started.
fn what_is_said(world: &World) -> Result<()> {
    world.write(WSLCONFIG, "[wsl2]\nmemory=4GB\n")?;
    world.shell(&format!("touch -d 2001-01-01 {WSLCONFIG}"))?;
    let agent = world.start_agent("")?;
    let says = |state: &str, text: &str| {
        let is_so = |status: &Status| {
            let lifetime = status.lifetime.as_ref();
            lifetime.is_some_and(|one| one.state == state && one.detail.contains(text))
        };
        agent.wait(text, is_so)
    };
    let status = says("stopped", "stopped 15 s after its last terminal closes")?;
    let fix = status.lifetime.and_then(|one| one.remediation);
    let fix = fix.context("no fix")?;
    ensure!(
        fix.contains("[general] of C:\\Users\\lab\\.wslconfig"),
        "{fix}"
    );
    agent.says("stopped 15 s after its last terminal closes")?;
    // The command that is named sets it.
    let set = world.cli(&["wslconfig", "set", "general.instanceIdleTimeout", "-1"])?;
    ensure!(set.success(), "{set:?}");
    agent.reload("# more\n")?;
    says("unknown", "changed after the virtual machine had started")?;
    world.shell(&format!("touch -d 2001-01-01 {WSLCONFIG}"))?;
    agent.reload("")?;
    let status = says("kept", "instanceIdleTimeout keeps it running")?;
    ensure!(status.lifetime.is_some_and(|one| one.remediation.is_none()));
    ensure!(sessions(world)?.is_empty());
    let page = world.cli(&["status"])?;
    ensure!(
        page.stdout.contains("lifetime: instanceIdleTimeout keeps"),
        "{page:?}"
    );
    agent.healthy().map(drop)
}

/// An error names the file, the line, the key and what is expected.
fn bad_values(world: &World) -> Result<()> {
    let agent = world.start_agent(ON)?;
    held(&agent)?;
    for bad in ["\"yes\"", "1", "[true]"] {
        agent.reload(&format!("[lifetime]\nkeep-alive = {bad}\n"))?;
        let found = agent.raised("config-rejected")?;
        let check = world.cli(&["config", "check"])?;
        let place = format!("{CONFIG}:2");
        ensure!(
            !check.success()
                && check.stderr.contains(&place)
                && check.stderr.contains("keep-alive"),
            "{check:?}"
        );
        ensure!(found.detail.contains("keep-alive"), "{found:?}");
        // The settings in force stay.
        ensure!(is_held(&agent.status()?.context("none")?));
    }
    opened(world, 1, 1)
}
