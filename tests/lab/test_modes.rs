//! Other networking modes, unknown ones, and no WSL at all: everything inside
//! Linux works, nothing on Windows is touched. Where the guest has Windows' ports,
//! the relay in here serves (see `test_mirrored.rs`).

use std::os::unix::net::UnixStream;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, FILE, SSH, config};
use crate::fault::Fault;
use crate::interop::SOCKET;
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::status::Status;
use crate::topology::{FIRST, GUEST_ADDRESS};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let mode = |name: &str, mode: &str, body| {
        let options = Options {
            mode: mode.to_owned(),
            ..Options::quick()
        };
        trial_with(name, options, body)
    };
    let silent = |name: &str, accept_ms, body| {
        let options = Options {
            accept_ms,
            ..Options::quick()
        };
        trial_with(name, options, body)
    };
    vec![
        mode("modes::mirrored", "mirrored", |world| {
            in_here(world, "mirrored")
        }),
        mode("modes::consomme", "consomme", |world| {
            in_here(world, "consomme")
        }),
        mode("modes::virtioproxy", "virtioproxy", |world| {
            in_here(world, "consomme")
        }),
        mode("modes::bridged", "bridged", |world| {
            in_here(world, "bridged")
        }),
        mode("modes::none", "none", none),
        mode("modes::fell_back", "nat", fell_back),
        mode("modes::no_wslinfo", "nat", no_wslinfo),
        mode("modes::ipv6_alone", "mirrored", ipv6_alone),
        mode("modes::rubbish", "\u{1b}[31mnat; rm -rf /", rubbish),
        silent("modes::unanswered_then_nat", 100, unanswered),
        silent("modes::busy_at_boot", 1_000, busy),
        silent("modes::hanging", 60_000, hanging),
        mode("modes::not_wsl", "nat", not_wsl),
        mode(
            "modes::mirrored_flap_is_one_pass",
            "mirrored",
            mirrored_flap,
        ),
    ]
}

/// The file and a tunnel's MTU follow a new address, and Windows is not called.
fn linux_works(world: &World, agent: &Agent) -> Result<()> {
    world.states("WSL_IP", "172.28.16.5")?;
    world.add_tunnel("tailscale0")?;
    world.change_address("172.28.27.77/20")?;
    world.states("WSL_IP", "172.28.27.77")?;
    world.has_mtu("tailscale0", 1280)?;
    let status = agent.wait("the address", |status| {
        status
            .address
            .is_some_and(|a| a.to_string() == "172.28.27.77")
    })?;
    ensure!(status.forwards.is_none(), "{status:?}");
    ensure!(world.windows().calls()?.is_empty() && world.windows().table()?.is_empty());
    Ok(())
}

fn in_here(world: &World, name: &str) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    let up = |status: &Status| status.serves("relay", &["ssh"]);
    let status = agent.wait("the relay in here", up)?;
    ensure!(
        status.relay.is_some_and(|relay| relay.location == "guest"),
        "it is elsewhere"
    );
    world.states("WSL_NETWORKING_MODE", name)?;
    linux_works(world, &agent)?;
    // In consomme and bridged mode the gateway is the LAN's router.
    world.states("WINDOWS_HOST_IP", "")?;
    ensure!(agent.healthy()?.finding("forward-mode").is_none());
    Ok(())
}

fn none(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    let health = agent.raised("forward-mode")?;
    ensure!(
        health.severity == "warning" && health.detail.len() > 20,
        "{health:?}"
    );
    world.states("WSL_NETWORKING_MODE", "none")?;
    linux_works(world, &agent)
}

/// Mirrored is asked for, and WSL runs in NAT mode: the agent serves in that and says so,
/// until `.wslconfig` asks for it.
fn fell_back(world: &World) -> Result<()> {
    world.request_mode("mirrored")?;
    let agent = world.start_agent(&config(SSH))?;
    let health = agent.raised("mode-fallback")?;
    ensure!(
        health
            .detail
            .contains("mirrored is requested, nat is in force")
            && health.remediation.contains("wsl --shutdown"),
        "{health:?}"
    );
    world.forwards(&[(2222, FIRST, 22)])?;
    let page = world.wslmesh(&["status"])?;
    ensure!(
        page.stdout
            .contains("nat (mirrored is requested in .wslconfig)"),
        "{page:?}"
    );
    let plan = world.wslmesh(&["plan"])?;
    ensure!(format!("{plan:?}").contains("mode-fallback"), "{plan:?}");
    world.request_mode("NAT")?;
    agent.process().signal(HUP)?;
    agent.cleared("mode-fallback")?;
    agent.stop()
}

/// Where the link to init is missing, init is called by that name.
fn no_wslinfo(world: &World) -> Result<()> {
    if world.tools() {
        world.shell("umount -l /usr/bin; ! test -e /usr/bin/wslinfo")?;
    }
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    world.states("WSL_NETWORKING_MODE", "nat")?;
    agent.stop()
}

/// A network without IPv4: the node is at its IPv6 address.
fn ipv6_alone(world: &World) -> Result<()> {
    world.shell(
        "ip -4 addr flush dev eth0
        ip addr add 2001:db8::5/64 dev eth0 nodad; ip -6 route add default via 2001:db8::1 dev eth0",
    )?;
    let agent = world.start_agent(&config(SSH))?;
    world.states("WSL_IP", "2001:db8::5")?;
    world.states("WSL_GATEWAY", "2001:db8::1")?;
    for (command, text) in [
        (["status"].as_slice(), "2001:db8::5 on eth0"),
        (&["doctor", "--all"], "eth0 2001:db8::5/64"),
    ] {
        let output = world.wslmesh(command)?;
        let plain = output.stdout.split_whitespace().collect::<Vec<_>>();
        ensure!(plain.join(" ").contains(text), "{output:?}");
    }
    world.change_address("172.28.16.5/20")?;
    world.states("WSL_IP", "172.28.16.5")?;
    agent.stop()
}

fn rubbish(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    let health = agent.raised("mode-unknown")?;
    ensure!(
        health.detail.contains("nat; rm -rf /") && !health.detail.contains('\u{1b}'),
        "{health:?}"
    );
    world.states("WSL_NETWORKING_MODE", "unknown")?;
    linux_works(world, &agent)?;
    ensure!(!agent.log()?.contains('\u{1b}') && !world.read(FILE)?.contains("rm -rf"));
    Ok(())
}

fn unanswered(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::InteropSilent)?;
    let agent = world.start_agent(&config(SSH))?;
    let health = agent.raised("mode-unknown")?;
    ensure!(
        health.detail.contains("did not end within 12 s"),
        "{health:?}"
    );
    linux_works(world, &agent)?;
    world.windows().clear_fault()?;
    agent.settled("172.28.27.77")?;
    agent.cleared("mode-unknown")?;
    world.states("WSL_NETWORKING_MODE", "nat")?;
    world.forwards(&[(2222, "172.28.27.77", 22)])
}

/// Init serves one client at a time, and another one keeps it for 10 s.
fn busy(world: &World) -> Result<()> {
    let client = UnixStream::connect(world.path(SOCKET))?;
    let agent = world.start_agent(&config(SSH))?;
    linux_works(world, &agent)?;
    agent.settled("172.28.27.77")?;
    drop(client);
    world.states("WSL_NETWORKING_MODE", "nat")?;
    agent.healthy()?;
    let log = agent.log()?;
    ensure!(
        !log.contains("mode-unknown") && !log.contains("interop-"),
        "{log}"
    );
    agent.stop()
}

fn hanging(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::InteropSilent)?;
    let agent = world.start_agent(&config(SSH))?;
    linux_works(world, &agent)?;
    ensure!(
        agent
            .status()?
            .is_some_and(|status| status.mode == "pending")
    );
    agent.stop_within(std::time::Duration::from_secs(1))?;
    ensure!(
        world.processes_with("--networking-mode")?.is_empty(),
        "wslinfo was left behind"
    );
    Ok(())
}

fn not_wsl(world: &World) -> Result<()> {
    world.guest(&["rm", "-rf", "/run/WSL"])?.ok()?;
    let agent = world.start_agent(&config(SSH))?;
    let health = agent.raised("forward-not-wsl")?;
    ensure!(health.severity == "info", "{health:?}");
    world.states("WSL_NETWORKING_MODE", "not-wsl")?;
    linux_works(world, &agent)?;
    let status = agent.wait("health", |status| status.problems().is_empty())?;
    ensure!(status.mode == "not-wsl", "{status:?}");
    Ok(())
}

fn mirrored_flap(world: &World) -> Result<()> {
    world.no_late_events()?;
    let agent = world.start_agent(&config(""))?;
    let begin = agent
        .wait("the mode", |status| status.mode == "mirrored")?
        .passes;
    world.states("WSL_NETWORKING_MODE", "mirrored")?;
    let text = world.read(FILE)?;
    let flap = format!(
        "ip -4 addr del {GUEST_ADDRESS} dev eth0; sleep 0.3; ip addr add {GUEST_ADDRESS} dev eth0; ip route add default via 172.28.16.1"
    );
    for round in 1..=2 {
        world.guest(&["sh", "-c", &flap])?.ok()?;
        let passes = agent.pass_after(begin + round - 1)?.passes;
        ensure!(
            passes == begin + round,
            "{passes} passes, {begin} before {round} flaps"
        );
        ensure!(
            agent
                .status()?
                .is_some_and(|status| status.health.iter().all(|entry| entry.severity == "info"))
        );
    }
    ensure!(world.read(FILE)? == text && !agent.log()?.contains("no-address"));
    Ok(())
}
