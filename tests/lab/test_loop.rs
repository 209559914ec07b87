//! The loop: signals, systemd's protocol, bursts of events, retries, and an
//! opponent.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, LIMIT, SSH, Setup, config, forward};
use crate::control::Status;
use crate::fault::Fault;
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::test_field::TAILSCALE;
use crate::topology::{FIRST, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("loop::reload_changes_forwards", reload_changes_forwards),
        quick("loop::reload_without_a_change", reload_without_a_change),
        quick("loop::bad_reload_is_refused", bad_reload),
        quick("loop::term_during_a_hanging_call", term_while_hanging),
        quick("loop::notifies", notifies),
        quick("loop::burst", burst),
        quick("loop::overrun", overrun),
        quick("loop::ten_thousand_links", ten_thousand_links),
        quick("loop::thousand_forwards", thousand_forwards),
        quick("loop::retry_does_not_spin", retry_does_not_spin),
        quick("loop::contested", contested),
    ]
}

fn reload_changes_forwards(world: &World) -> Result<()> {
    world
        .windows()
        .put_foreign("0.0.0.0:8080".parse()?, "10.0.0.9/80")?;
    let theirs = (8080, "10.0.0.9", 80);
    let agent = world.start_agent(&config(SSH))?;
    world.forwards(&[(2222, FIRST, 22), theirs])?;
    agent.reload(&config(&format!("{SSH}{}", forward("web", 8443, 443))))?;
    world.forwards(&[(2222, FIRST, 22), theirs, (8443, FIRST, 443)])?;
    agent.reload(&config(&forward("web", 8443, 444)))?;
    world.forwards(&[theirs, (8443, FIRST, 444)])?;
    agent.reload(&config(""))?;
    world.forwards(&[theirs])?;
    agent.wait("no forwards", |status| {
        status.forwards.is_none() && status.problems().is_empty()
    })?;
    ensure!(world.windows().ledger()?.is_empty());
    // And the rest of the configuration.
    world.add_tunnel("tailscale0")?;
    world.has_mtu("tailscale0", 1280)?;
    agent.reload(&config("[mtu]\nvalue = 1300\n"))?;
    world.has_mtu("tailscale0", 1300)
}

fn reload_without_a_change(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    let calls = world.windows().calls()?.len();
    agent.process().signal(HUP)?;
    until("a call to Windows", LIMIT, || {
        Ok((world.windows().calls()?.len() > calls).then_some(()))
    })?;
    agent.settled(FIRST)?;
    // Rules that an administrator deleted come back that way.
    world.windows().delete("0.0.0.0:2222".parse()?)?;
    agent.process().signal(HUP)?;
    world.forwards(&[(2222, FIRST, 22)])
}

fn bad_reload(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    agent.reload(&config(&format!(
        "[mtu]\nvalu = 1300\n{}",
        forward("web", 8443, 443)
    )))?;
    let health = agent.raised("config-rejected")?;
    ensure!(
        health.subject == CONFIG
            && health.severity == "warning"
            && health.detail.contains(&format!("{CONFIG}:4:"))
            && health.detail.contains("`valu`")
            && health.detail.contains("`value`"),
        "{health:?}"
    );
    let status = world.wslmesh(&["status"])?;
    ensure!(
        status.status == Status::Code(3) && status.stdout.contains("config-rejected"),
        "{status:?}"
    );
    // The old one is in force.
    world.change_address("172.28.27.77/20")?;
    world.forwards(&[(2222, "172.28.27.77", 22)])?;
    ensure!(
        agent
            .status()?
            .is_some_and(|status| status.finding("config-rejected").is_some())
    );
    agent.reload(&config(SSH))?;
    agent.cleared("config-rejected")?;
    agent.settled("172.28.27.77")?;
    Ok(())
}

fn term_while_hanging(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::Hang)?;
    let agent = world.start_agent(&config(SSH))?;
    world.windows().request(1)?;
    ensure!(
        !world.processes_with("powershell.exe")?.is_empty(),
        "nothing hangs"
    );
    // In the meantime everything else works.
    world.change_address("172.28.27.77/20")?;
    world.states("WSL_IP", "172.28.27.77")?;
    agent.stop_within(Duration::from_secs(1))?;
    world.windows().caller_ended()?;
    let mut left = world.processes_with("powershell.exe")?;
    left.extend(world.processes_with("wslmesh run")?);
    ensure!(left.is_empty() && agent.status()?.is_none(), "{left:?}");
    Ok(())
}

fn notifies(world: &World) -> Result<()> {
    let setup = Setup {
        env: &[("WATCHDOG_USEC", "100000")],
        ..Setup::default()
    };
    let agent = world.start_agent_with(&config(SSH), &setup)?;
    agent.settled(FIRST)?;
    agent.notified("STATUS=172.28.16.5 (nat), 1 forwarded, healthy")?;
    let passes = agent.status()?.map(|status| status.passes);
    let alive = || {
        agent
            .heard()
            .iter()
            .filter(|line| *line == "WATCHDOG=1")
            .count()
    };
    let so_far = alive();
    until("three signs of life", LIMIT, || {
        Ok((alive() >= so_far + 3).then_some(()))
    })?;
    ensure!(
        agent
            .heard()
            .iter()
            .filter(|line| *line == "READY=1")
            .count()
            == 1
    );
    ensure!(passes.is_some(), "no status");
    // What is wrong is said in one line.
    world.link_down()?;
    agent.notified("STATUS=no address (nat), 1 forwarded, degraded: no-interface")?;
    agent.stop()
}

/// 5,000 addresses that come and go, each an event or more, and a new one that
/// stays.
fn storm(world: &World) -> Result<()> {
    let mut lines = String::new();
    for n in 0..5_000 {
        let address = format!("10.77.{}.{}/32", n / 250, n % 250 + 1);
        writeln!(
            lines,
            "addr add {address} dev eth0\naddr del {address} dev eth0"
        )?;
    }
    world
        .run(Place::Guest, &["ip", "-batch", "-"], lines.as_bytes())?
        .ok()?;
    world.change_address("172.28.27.77/20")
}

fn burst(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    let before = agent.settled(FIRST)?.passes;
    let begun = Instant::now();
    storm(world)?;
    let after = agent.settled("172.28.27.77")?.passes;
    world.states("WSL_IP", "172.28.27.77")?;
    world.forwards(&[(2222, "172.28.27.77", 22)])?;
    // Two in a second, and a few for the change and for Windows' answer.
    let most = 8 + begun.elapsed().as_secs() * 2;
    ensure!(
        after - before < most.min(50),
        "{} passes in {:?}",
        after - before,
        begun.elapsed()
    );
    Ok(())
}

fn overrun(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    let (stop, resume) = (19, 18);
    agent.process().signal(stop)?;
    // The queue is full before the last: the agent gets no event of that one.
    storm(world)?;
    let dropped = world.guest(&["cat", "/proc/net/netlink"])?.ok()?;
    let drops = |line: &str| {
        line.split_whitespace()
            .nth(8)
            .and_then(|n| n.parse::<u32>().ok())
            .unwrap_or(0)
    };
    ensure!(
        dropped.lines().any(|line| drops(line) > 0),
        "no overrun:\n{dropped}"
    );
    agent.process().signal(resume)?;
    agent.settled("172.28.27.77")?;
    world.states("WSL_IP", "172.28.27.77")?;
    // And it still follows events.
    world.change_address("172.19.3.4/20")?;
    agent.settled("172.19.3.4")?;
    Ok(())
}

/// 10,003 links, which the agent sees come, and which are there when it starts.
fn ten_thousand_links(world: &World) -> Result<()> {
    const MOST: u64 = 64 << 10;
    world.shell(TAILSCALE)?;
    let addresses = || world.sourced(&["WSL_IP", "MESH_IP_TAILSCALE"]);
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    // With lo, eth0 and tailscale0.
    let begun = Instant::now();
    // A busy machine makes no more than these within a command's time.
    for thousand in 0..5 {
        let lines: String = (0..1_000).fold(String::new(), |lines, n| {
            lines + &format!("link add lab{thousand}x{n} type veth peer name far{thousand}x{n}\n")
        });
        world
            .run(Place::Guest, &["ip", "-batch", "-"], lines.as_bytes())?
            .ok()?;
    }
    world.change_address("172.28.27.77/20")?;
    agent.settled("172.28.27.77")?;
    ensure!(addresses()? == ["172.28.27.77", "100.101.7.9"]);
    let came = agent.peak()?;
    agent.stop()?;
    world.shell("rm /etc/wslmesh/wsl-network.conf")?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled("172.28.27.77")?;
    ensure!(addresses()? == ["172.28.27.77", "100.101.7.9"]);
    let found = agent.peak()?;
    println!("peak {came} kB, {found} kB; {:?}", begun.elapsed());
    ensure!(came < MOST && found < MOST, "{came} kB, {found} kB");
    agent.stop()
}

fn thousand_forwards(world: &World) -> Result<()> {
    let mut text = String::new();
    for n in 0..1_000 {
        text.push_str(&forward(&format!("f{n}"), 10_000 + n, 22));
    }
    let agent = world.start_agent(&config(&text))?;
    agent.settled(FIRST)?;
    let before = world.windows().calls()?.len();
    ensure!(world.windows().table()?.len() == 1_000 && before == 2);
    world.change_address("172.28.27.77/20")?;
    let status = agent.settled("172.28.27.77")?;
    ensure!(
        status
            .forwards
            .is_some_and(|forwards| forwards.count == 1_000)
    );
    let (calls, table) = (world.windows().calls()?, world.windows().table()?);
    ensure!(
        calls.len() == before + 1
            && table
                .iter()
                .all(|rule| rule.connect_address.as_deref() == Some("172.28.27.77")),
        "{} calls",
        calls.len()
    );
    world
        .probe("192.168.50.10:10999".parse()?)?
        .success_after(0, LIMIT)?;
    Ok(())
}

fn retry_does_not_spin(world: &World) -> Result<()> {
    world.no_late_events()?;
    world.windows().set_fault(Fault::Exit {
        code: 1,
        stderr: b"no".to_vec(),
    })?;
    let agent = world.start_agent(&config(SSH))?;
    agent.raised("interop-failed")?;
    world.windows().set_fault(Fault::Hang)?;
    until("the second try", LIMIT, || {
        Ok((world.windows().calls()?.len() == 2).then_some(()))
    })?;
    let before = agent.status()?.context("no status")?.passes;
    // While the call hangs nothing is to do.
    agent.process().wait(Duration::from_millis(300))?;
    let after = agent.status()?.context("no status")?.passes;
    ensure!(
        after <= before + 1,
        "{} passes while a call hangs",
        after - before
    );
    Ok(())
}

fn contested(world: &World) -> Result<()> {
    world.add_tunnel("tailscale0")?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    world.has_mtu("tailscale0", 1280)?;
    let opponent = world.spawn_guest(
        &[
            "sh",
            "-c",
            "while :; do ip link set tailscale0 mtu 1400; sleep 0.1; done",
        ],
        &[],
    )?;
    let health = agent.raised("contested")?;
    ensure!(
        health.subject == "tailscale0 mtu" && health.severity == "warning",
        "{health:?}"
    );
    drop(opponent);
    world
        .guest(&["ip", "link", "set", "tailscale0", "mtu", "1400"])?
        .ok()?;
    // It looks again, and leaves this alone, but nothing else.
    world.change_address("172.28.27.77/20")?;
    world.states("WSL_IP", "172.28.27.77")?;
    world.forwards(&[(2222, "172.28.27.77", 22)])?;
    ensure!(world.mtu("tailscale0")? == 1400, "it fights on");
    // Until a reload.
    agent.process().signal(HUP)?;
    world.has_mtu("tailscale0", 1280)?;
    agent.cleared("contested")?;
    Ok(())
}
