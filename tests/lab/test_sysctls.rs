//! Kernel parameters: set, saved, put back, and what the kernel refuses.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, SSH, config};
use crate::control::Status;
use crate::options::Options;
use crate::runner::trial_with;
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    let mirrored = Options {
        mode: "mirrored".to_owned(),
        ..Options::quick()
    };
    vec![
        quick("sysctls::set_and_restored", set_and_restored),
        quick(
            "sysctls::value_of_another_program_stays",
            value_of_another_program_stays,
        ),
        quick("sysctls::survive_a_restart", survive_a_restart),
        quick("sysctls::read_only_is_no_problem", read_only),
        quick("sysctls::nothing_without_a_way_back", no_way_back),
        quick("sysctls::refused", refused),
        quick("sysctls::read_back_differently", read_back_differently),
        trial_with("sysctls::reserved_in_mirrored", mirrored, reserved),
    ]
}

/// Defaults that exist in every network namespace.
const OURS: [(&str, &str); 5] = [
    ("net.ipv4.tcp_rmem", "4096 87380 134217728"),
    ("net.ipv4.tcp_wmem", "4096 65536 134217728"),
    ("net.ipv4.tcp_keepalive_time", "60"),
    ("net.ipv4.tcp_keepalive_intvl", "10"),
    ("net.ipv4.tcp_keepalive_probes", "6"),
];

fn values(world: &World) -> Result<Vec<String>> {
    OURS.iter().map(|(key, _)| world.sysctl(key)).collect()
}

fn wanted() -> Vec<&'static str> {
    OURS.iter().map(|(_, value)| *value).collect()
}

fn set_and_restored(world: &World) -> Result<()> {
    let before = values(world)?;
    ensure!(
        before
            .iter()
            .zip(wanted())
            .all(|(before, after)| before != after),
        "nothing to change: {before:?}"
    );
    let agent = world.start_agent(&config(""))?;
    ensure!(values(world)? == wanted());
    agent.process().stop(Duration::from_secs(5))?.ok()?;
    ensure!(
        values(world)? == wanted(),
        "a stopped agent put something back"
    );
    let said = world.wslmesh(&["restore"])?.ok()?;
    ensure!(values(world)? == before, "{said}");
    ensure!(
        said.contains("restored: net.ipv4.tcp_keepalive_time 7200"),
        "{said}"
    );
    ensure!(world.wslmesh(&["restore"])?.ok()? == "nothing to restore\n");
    Ok(())
}

fn value_of_another_program_stays(world: &World) -> Result<()> {
    let before = values(world)?;
    drop(world.start_agent(&config(""))?);
    world
        .guest(&["sysctl", "-w", "net.ipv4.tcp_keepalive_time=77"])?
        .ok()?;
    let said = world.wslmesh(&["restore"])?.ok()?;
    ensure!(
        said.contains("left: net.ipv4.tcp_keepalive_time: another program has set it to 77"),
        "{said}"
    );
    let mut expected = before;
    if let Some(time) = expected.get_mut(2) {
        "77".clone_into(time);
    }
    ensure!(values(world)? == expected, "{said}");
    Ok(())
}

/// The value before the first agent counts, and a key that is switched off
/// later is still put back.
fn survive_a_restart(world: &World) -> Result<()> {
    let before = values(world)?;
    drop(world.start_agent(&config(""))?);
    drop(world.start_agent(&config(
        "[sysctl]\n\"net.ipv4.tcp_keepalive_time\" = 61\n\"net.ipv4.tcp_rmem\" = false\n",
    ))?);
    ensure!(world.sysctl("net.ipv4.tcp_keepalive_time")? == "61");
    world.wslmesh(&["restore"])?.ok()?;
    ensure!(
        values(world)? == before,
        "{:?} is not {before:?}",
        values(world)?
    );
    Ok(())
}

fn read_only(world: &World) -> Result<()> {
    // As in a container or an older kernel: there, and not to be written.
    world
        .guest(&[
            "mount",
            "--bind",
            "-o",
            "ro",
            "/proc/sys/net/ipv4/tcp_fin_timeout",
            "/proc/sys/net/ipv4/tcp_fin_timeout",
        ])?
        .ok()?;
    let key = "net.ipv4.tcp_fin_timeout";
    let before = world.sysctl(key)?;
    let agent = world.start_agent(&config(&format!(
        "[sysctl]\n\"{key}\" = 17\n\"net.ipv4.no_such\" = 1\n"
    )))?;
    let status = agent.wait("the findings", |status| {
        status.health.iter().any(|entry| entry.subject == key)
    })?;
    for key in [key, "net.ipv4.no_such"] {
        let found = status.health.iter().find(|entry| entry.subject == key);
        ensure!(
            found.is_some_and(|entry| entry.code == "sysctl-missing" && entry.severity == "info"),
            "{key}: {status:?}"
        );
    }
    ensure!(
        status.problems().is_empty() && world.sysctl(key)? == before,
        "{status:?}"
    );
    ensure!(world.wslmesh(&["status"])?.success(), "not healthy");
    Ok(())
}

/// The agent sleeps on what cannot succeed: no pass beyond the time of a first
/// retry, which is 1.25 s at most.
fn sleeps(agent: &crate::agent::Agent) -> Result<()> {
    let before = agent.wait("the mode and the lifetime", |status| {
        status.mode == "nat" && status.lifetime.is_some()
    })?;
    agent.process().wait(Duration::from_millis(1_500))?;
    let after = agent.status()?.map(|status| status.passes);
    ensure!(
        after == Some(before.passes),
        "{before:?}, then {after:?} passes"
    );
    Ok(())
}

/// What could not be undone is not done, and is tried again by itself.
fn no_way_back(world: &World) -> Result<()> {
    let folder = "/var/lib/wslmesh";
    world.guest(&["mkdir", "-p", folder])?.ok()?;
    world
        .guest(&["mount", "-t", "tmpfs", "-o", "ro", "lab", folder])?
        .ok()?;
    world.add_tunnel("tailscale0")?;
    let before = values(world)?;
    let agent = world.start_agent(&config(SSH))?;
    let health = agent.raised("state-unwritable")?;
    ensure!(health.severity == "warning", "{health:?}");
    world.states("WSL_IP", "172.28.16.5")?;
    agent.wait("the mode", |status| status.mode == "nat")?;
    // Whether rules are on Windows could not be saved after the call either.
    agent.wait("Windows' answer", |status| status.windows_address.is_some())?;
    ensure!(values(world)? == before && world.mtu("tailscale0")? == 1500);
    world.guest(&["mount", "-o", "remount,rw", folder])?.ok()?;
    agent.settled("172.28.16.5")?;
    ensure!(values(world)? == wanted(), "{:?}", values(world)?);
    world.has_mtu("tailscale0", 1280)?;
    drop(agent);
    world.wslmesh(&["restore"])?.ok()?;
    ensure!(values(world)? == before && world.mtu("tailscale0")? == 1500);
    Ok(())
}

fn refused(world: &World) -> Result<()> {
    world.no_late_events()?;
    let key = "net.ipv4.tcp_congestion_control";
    let before = world.sysctl(key)?;
    let text = config(&format!("[sysctl]\n\"{key}\" = \"no-such\"\n"));
    world.write(CONFIG, &text)?;
    let output = world.wslmesh(&["apply", "--config", CONFIG])?;
    ensure!(
        output.status == Status::Code(3) && output.stdout.contains("sysctl-refused"),
        "{output:?}"
    );
    ensure!(world.sysctl(key)? == before && world.sysctl("net.ipv4.tcp_keepalive_time")? == "60");
    let agent = world.start_agent(&text)?;
    let health = agent.raised("sysctl-refused")?;
    ensure!(
        health.subject == key && health.detail.contains("no-such"),
        "{health:?}"
    );
    sleeps(&agent)?;
    ensure!(
        agent.log()?.matches("sysctl-refused").count() == 1,
        "{}",
        agent.log()?
    );
    // Another value is tried at once.
    agent.reload(&config(&format!("[sysctl]\n\"{key}\" = \"{before}\"\n")))?;
    agent.cleared("sysctl-refused")?;
    Ok(())
}

fn read_back_differently(world: &World) -> Result<()> {
    world.no_late_events()?;
    let key = "net.ipv4.tcp_rmem";
    let before = world.sysctl(key)?;
    // The kernel takes two numbers of three.
    let text = config(&format!("[sysctl]\n\"{key}\" = \"5000 90000\"\n"));
    let agent = world.start_agent(&text)?;
    let health = agent.raised("sysctl-refused")?;
    ensure!(
        health.subject == key && health.detail.contains("read back"),
        "{health:?}"
    );
    sleeps(&agent)?;
    drop(agent);
    let said = world.wslmesh(&["restore"])?.ok()?;
    ensure!(
        world.sysctl(key)? == before,
        "{} is not {before}: {said}",
        world.sysctl(key)?
    );
    Ok(())
}

fn reserved(world: &World) -> Result<()> {
    let key = "net.ipv4.conf.all.rp_filter";
    let before = world.sysctl(key)?;
    let other = if before == "2" { "1" } else { "2" };
    let agent = world.start_agent(&config(&format!("[sysctl]\n\"{key}\" = {other}\n")))?;
    let health = agent.raised("sysctl-reserved")?;
    ensure!(
        health.subject == key && world.sysctl(key)? == before,
        "{health:?}"
    );
    ensure!(
        world.sysctl("net.ipv4.tcp_keepalive_time")? == "60",
        "the others wait for it"
    );
    Ok(())
}
