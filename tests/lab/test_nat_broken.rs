//! `[tunnel] when`: Windows' NAT is really cut off and the kernel's own neighbour table asked.
//! systemd is a stand-in. Where it would start the unit, the trial starts the tunnel's process,
//! or makes a tun device in its place.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{Agent, LIMIT, SSH, Setup, config};
use crate::options::Options;
use crate::process::Process;
use crate::resolver::DNS;
use crate::runner::trial_with;
use crate::status::Status;
use crate::systemd::Systemd;
use crate::topology::{FIRST, GATEWAY, GUEST_ADDRESS, Place};
use crate::tunneled::{SERVER, Tunneled};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("nat::cut_off_and_back", cut_off_and_back),
        quick("nat::one_of_two_is_not_broken", one_of_two_is_not_broken),
        quick("nat::lost_without_an_event", lost_without_an_event),
        quick("nat::only_in_nat_mode", only_in_nat_mode),
        quick("nat::tunnel_is_no_mesh", tunnel_is_no_mesh),
        quick("nat::unit_by_hand_and_failed", unit_by_hand_and_failed),
    ]
}

/// Three looks of 2 s and two pauses, and what a busy machine adds.
const DECIDED: Duration = Duration::from_secs(40);

fn when(when: &str, more: &str) -> String {
    config(&format!("[tunnel]\nwhen = \"{when}\"\n{more}"))
}

/// An agent that ticks and says what its looks find.
fn start<'w>(world: &'w World, config: &str) -> Result<Agent<'w>> {
    let setup = Setup {
        env: &[("WATCHDOG_USEC", "2000000"), ("WSLMESH_LOG", "debug")],
        ..Setup::default()
    };
    world.start_agent_with(config, &setup)
}

/// Windows' own name server, at the gateway, as without DNS tunnelling.
pub(crate) fn name_server(world: &World) -> Result<Process<'_>> {
    world.shell(&format!(
        "rm -rf /etc/resolv.conf; echo 'nameserver {GATEWAY}' >/etc/resolv.conf"
    ))?;
    server_of_windows(world, GATEWAY)
}

fn server_of_windows<'w>(world: &'w World, address: &str) -> Result<Process<'w>> {
    let at = format!("{address}:53");
    let argv = ["/init", crate::ROLE, DNS, &at, "noerror"];
    let server = world.spawn(Place::Windows, &argv, &[])?;
    until("a name server on Windows", LIMIT, || {
        let sockets = world.host(&["ss", "-Htuln", "sport", "=", "53"])?.ok()?;
        let both = sockets.lines().filter(|line| line.contains(address));
        Ok((both.count() == 2).then_some(()))
    })?;
    Ok(server)
}

/// Windows' end of the network loses its address: nobody answers for the gateway, and the link
/// of the guest stays as it was.
fn cut_nat(world: &World) -> Result<()> {
    world
        .host(&["ip", "addr", "del", "172.28.16.1/20", "dev", "vEthernet"])?
        .ok()?;
    Ok(())
}

fn mend_nat(world: &World) -> Result<()> {
    world
        .host(&["ip", "addr", "add", "172.28.16.1/20", "dev", "vEthernet"])?
        .ok()?;
    Ok(())
}

/// An event that says nothing but that something changed.
fn stir(world: &World) -> Result<()> {
    world.shell("ip tuntap add mode tun name stir && ip link del stir")?;
    Ok(())
}

/// What the unit does once it is started, and what the kernel does when it ends.
fn tunnel_up(world: &World) -> Result<()> {
    world.shell(
        "ip tuntap add mode tun name wslmesh0 && ip link set wslmesh0 up mtu 1500
        ip addr add 192.168.127.2/24 dev wslmesh0
        ip route prepend default via 192.168.127.1 dev wslmesh0",
    )?;
    Ok(())
}

fn tunnel_down(world: &World) -> Result<()> {
    world.shell("ip link del wslmesh0")?;
    Ok(())
}

/// How often NAT was looked at.
fn looks(agent: &Agent) -> Result<usize> {
    let log = agent.log()?;
    Ok(log
        .lines()
        .filter(|line| line.contains("looked at Windows' NAT"))
        .count())
}

/// Waits for so many more looks; each is caused by an event.
fn more_looks(world: &World, agent: &Agent, more: usize) -> Result<()> {
    let wanted = looks(agent)? + more;
    until("looks at NAT", DECIDED, || {
        if looks(agent)? >= wanted {
            return Ok(Some(()));
        }
        stir(world)?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(None)
    })
    .with_context(|| agent.log().unwrap_or_default())
}

/// The tunnel in the status document.
fn entry(world: &World) -> Result<Value> {
    let text = world.read("/run/wslmesh/status.json")?;
    let document: Value = serde_json::from_str(&text)?;
    Ok(document.get("tunnel").cloned().unwrap_or_default())
}

fn says(world: &World, key: &str, expected: &str) -> Result<()> {
    until(&format!("{key} = {expected}"), DECIDED, || {
        // The agent writes it when it has seen something.
        let found = entry(world).unwrap_or_default();
        Ok((found.get(key).and_then(Value::as_str) == Some(expected)).then_some(()))
    })
    .with_context(|| format!("{:?}", entry(world)))
}

/// Waits for a finding that may take as long as NAT takes to count as broken.
fn raised(agent: &Agent, code: &str) -> Result<Status> {
    agent.wait_for(code, DECIDED, |status| status.finding(code).is_some())
}

/// Waits until systemd was asked for these jobs.
fn done(systemd: &Systemd, agent: &Agent, jobs: &[&str]) -> Result<()> {
    until(&format!("{jobs:?}"), DECIDED * 3, || {
        Ok((systemd.jobs() == jobs).then_some(()))
    })
    .with_context(|| format!("{:?}\n{}", systemd.jobs(), agent.log().unwrap_or_default()))
}

fn cut_off_and_back(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let systemd = world.start_systemd()?;
    let _server = name_server(world)?;
    let _outside = world.outside(false)?;
    let before = world.ways()?;
    let agent = start(world, &when("nat-broken", ""))?;
    says(world, "nat", "works")?;
    agent.healthy()?;
    ensure!(systemd.jobs().is_empty(), "{:?}", systemd.jobs());

    let doctor = world.wslmesh(&["doctor", "tunnel", "--all"])?.stdout;
    ensure!(
        doctor.contains("the gateway 172.28.16.1 answers on eth0"),
        "{doctor}"
    );
    ensure!(doctor.contains("not needed: Windows' NAT"), "{doctor}");

    // A moment without an answer is no reason.
    cut_nat(world)?;
    more_looks(world, &agent, 1)?;
    mend_nat(world)?;
    more_looks(world, &agent, 2)?;
    ensure!(
        systemd.jobs().is_empty(),
        "{:?}\n{}",
        systemd.jobs(),
        agent.log()?
    );

    cut_nat(world)?;
    let begun = Instant::now();
    stir(world)?;
    done(&systemd, &agent, &["start"])?;
    let took = begun.elapsed();
    ensure!(
        took > Duration::from_secs(5),
        "three looks take longer: {took:?}"
    );
    // As the unit does it.
    let tunnel = Tunneled::up(world, &[])?;
    raised(&agent, "nat-broken")?;
    let status = raised(&agent, "tunnel-up")?;
    world.passes("close-down", SERVER)?;
    says(world, "switch", env!("CARGO_PKG_VERSION"))?;
    ensure!(status.address == Some(FIRST.parse()?), "{status:?}");
    ensure!(status.interface.as_deref() == Some("eth0"), "{status:?}");
    says(world, "state", "up")?;
    says(world, "reason", "nat-broken")?;
    let log = agent.log()?;
    let line = "started wslmesh-tunnel.service: Windows' NAT is broken: the gateway 172.28.16.1 does not answer on eth0, and no name server answers there (172.28.16.1)";
    ensure!(log.contains(line), "{log}");

    let doctor = world.wslmesh(&["doctor", "tunnel", "--all"])?.stdout;
    ensure!(doctor.contains("warning tunnel-nat"), "{doctor}");
    ensure!(doctor.contains("up; wanted while Windows' NAT"), "{doctor}");
    let numbers = world.wslmesh(&["status", "--metrics"])?.stdout;
    for line in ["wslmesh_tunnel_up 1", "wslmesh_tunnel_starts_total 1"] {
        ensure!(
            numbers.lines().any(|one| one == line),
            "{line} in {numbers}"
        );
    }
    ensure!(
        numbers.contains("wslmesh_tunnel_bytes_total{direction=\"sent\"} "),
        "{numbers}"
    );

    // It works for a moment, and for less than a minute.
    mend_nat(world)?;
    more_looks(world, &agent, 3)?;
    cut_nat(world)?;
    more_looks(world, &agent, 1)?;
    ensure!(systemd.jobs() == ["start"], "{:?}", systemd.jobs());

    // The agent is another one meanwhile.
    agent.stop()?;
    ensure!(systemd.jobs() == ["start"], "it goes on without an agent");
    let agent = start(world, &when("nat-broken", ""))?;
    says(world, "reason", "nat-broken")?;

    mend_nat(world)?;
    let begun = Instant::now();
    while systemd.jobs() == ["start"] && begun.elapsed() < DECIDED * 4 {
        more_looks(world, &agent, 1)?;
    }
    let took = begun.elapsed();
    done(&systemd, &agent, &["start", "stop"])?;
    ensure!(
        took > Duration::from_secs(55),
        "a minute of good looks: {took:?}"
    );
    world.passes("close-down", SERVER)?;
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)?;
    agent.healthy()?;
    says(world, "state", "down")?;
    says(world, "nat", "works")?;
    // All is well: nothing looks any more, for longer than two looks are apart.
    until("an end of the looks", DECIDED, || {
        let before = (looks(&agent)?, agent.status()?.context("no status")?.passes);
        std::thread::sleep(Duration::from_secs(7));
        let after = (looks(&agent)?, agent.status()?.context("no status")?.passes);
        Ok((before == after).then_some(()))
    })
    .with_context(|| agent.log().unwrap_or_default())?;
    agent.stop()
}

fn one_of_two_is_not_broken(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let systemd = world.start_systemd()?;
    // Windows drops ping, and answers the kernel's solicitation.
    let server = name_server(world)?;
    world
        .host(&["sysctl", "-w", "net.ipv4.icmp_echo_ignore_all=1"])?
        .ok()?;
    let ping = world.guest(&["ping", "-c1", "-W1", GATEWAY]);
    ensure!(ping.is_err() || !ping?.success(), "ping is answered");
    let agent = start(world, &when("nat-broken", ""))?;
    says(world, "nat", "works")?;
    more_looks(world, &agent, 3)?;
    // Names do not resolve, and the gateway answers.
    drop(server);
    more_looks(world, &agent, 4)?;
    says(world, "nat", "works")?;
    // The journal has a look before the state does.
    until("the look in the state", LIMIT, || {
        let look = entry(world)?.get("look").cloned().unwrap_or_default();
        let look = look.as_str().unwrap_or_default().to_owned();
        Ok(look.contains("no name server answers there").then_some(()))
    })?;
    // The gateway does not answer, and a name server beside it does.
    world
        .host(&["ip", "addr", "add", "172.28.16.53/20", "dev", "vEthernet"])?
        .ok()?;
    world.shell("echo 'nameserver 172.28.16.53' >/etc/resolv.conf")?;
    let _server = server_of_windows(world, "172.28.16.53")?;
    cut_nat(world)?;
    // The second address of a network goes with the first.
    world
        .host(&[
            "ip",
            "addr",
            "replace",
            "172.28.16.53/20",
            "dev",
            "vEthernet",
        ])?
        .ok()?;
    more_looks(world, &agent, 5)?;
    says(world, "nat", "works")?;
    let log = agent.log()?;
    let line = "the gateway 172.28.16.1 does not answer on eth0, and the name server 172.28.16.53 answers there";
    ensure!(log.contains(line), "{log}");
    ensure!(systemd.jobs().is_empty(), "{:?}", systemd.jobs());
    ensure!(
        agent
            .status()?
            .context("no status")?
            .finding("nat-broken")
            .is_none()
    );
    agent.stop()
}

/// No address, route or link changes, and no name is looked up: a packet that somebody sends
/// shows it in the kernel's table, which is read on the watchdog's tick.
fn lost_without_an_event(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let systemd = world.start_systemd()?;
    let _server = name_server(world)?;
    let agent = start(world, &when("nat-broken", ""))?;
    says(world, "nat", "works")?;
    agent.healthy()?;
    cut_nat(world)?;
    world.shell("ip neigh flush dev eth0; ping -c1 -W1 192.168.50.20 || true")?;
    done(&systemd, &agent, &["start"])?;
    raised(&agent, "nat-broken")?;
    agent.stop()
}

fn only_in_nat_mode(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let systemd = world.start_systemd()?;
    world.switch_mode("mirrored")?;
    let agent = start(world, &when("nat-broken", ""))?;
    agent.wait("the mode", |status| status.mode == "mirrored")?;
    cut_nat(world)?;
    for _ in 0..3 {
        stir(world)?;
        agent.pass_after(agent.status()?.context("no status")?.passes)?;
    }
    ensure!(looks(&agent)? == 0, "{}", agent.log()?);
    ensure!(entry(world)?.is_null(), "{:?}", entry(world));
    agent.reload(&when("always", ""))?;
    done(&systemd, &agent, &["start"])?;
    says(world, "reason", "always")?;
    agent.reload(&when("never", ""))?;
    done(&systemd, &agent, &["start", "stop"])?;
    agent.stop()
}

/// The tunnel is a way out: no interface of the node's, no tunnel of a mesh.
fn tunnel_is_no_mesh(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let systemd = world.start_systemd()?;
    let _server = name_server(world)?;
    let all = format!(
        "{SSH}\n[mtu]\ninterfaces = [\"*\"]\n[dns]\nzones = {{ \"mesh.internal\" = [\"203.0.113.53\"] }}\n"
    );
    let agent = start(world, &when("always", &all))?;
    done(&systemd, &agent, &["start"])?;
    let state = r#"{"version":1,"pid":1,"up":true,"switch":"0.1.0","restarts":3}"#;
    world.write("/run/wslmesh-tunnel/state.json", state)?;
    tunnel_up(world)?;
    raised(&agent, "tunnel-up")?;
    let status = agent.wait("the forward", |status| {
        status
            .forwards
            .as_ref()
            .is_some_and(|rules| rules.count == 1)
    })?;
    ensure!(status.interface.as_deref() == Some("eth0"), "{status:?}");
    ensure!(status.address == Some(FIRST.parse()?), "{status:?}");
    says(world, "switch", "0.1.0")?;
    ensure!(status.finding("gateway-route").is_none(), "{status:?}");
    let zone = agent.raised("zone-unreached")?;
    ensure!(
        zone.detail
            .contains("reached through wslmesh0, which is no tunnel of a mesh"),
        "{zone:?}"
    );
    let mtu = world.shell("cat /sys/class/net/wslmesh0/mtu")?;
    ensure!(mtu.trim() == "1500", "{mtu}");
    // A new address of eth0 is followed beside it.
    world.shell(&format!("ip addr del {GUEST_ADDRESS} dev eth0; ip addr add 172.28.30.7/20 dev eth0; ip route append default via {GATEWAY}"))?;
    agent.has_written("172.28.30.7")?;
    let doctor = world.wslmesh(&["doctor", "--all"])?.stdout;
    ensure!(!doctor.contains("wslmesh0 1500"), "{doctor}");
    agent.stop()
}

fn unit_by_hand_and_failed(world: &World) -> Result<()> {
    let always = || when("always", "");
    let agent = start(world, &always())?;
    // Without systemd.
    agent.ill("tunnel-no-systemd")?;
    let _daemon = world.start_bus()?;
    let systemd = world.start_systemd()?;
    systemd.fails(true);
    agent.reload(&always())?;
    let found = agent.ill("tunnel-failed")?;
    ensure!(
        found.detail.contains("ended as failed (exit-code)"),
        "{found:?}"
    );
    says(world, "state", "failed")?;
    // A retry finds it well.
    systemd.fails(false);
    agent.wait("the start", |status| {
        status.finding("tunnel-failed").is_none()
    })?;
    until("a start", LIMIT, || {
        Ok((systemd.jobs().len() >= 2).then_some(()))
    })?;
    tunnel_up(world)?;
    raised(&agent, "tunnel-up")?;

    // Stopped by hand it stays down, until a reload.
    let before = systemd.jobs().len();
    systemd.becomes("inactive");
    tunnel_down(world)?;
    agent.says("was stopped by hand")?;
    agent.cleared("tunnel-up")?;
    for _ in 0..3 {
        stir(world)?;
        agent.pass_after(agent.status()?.context("no status")?.passes)?;
    }
    ensure!(systemd.jobs().len() == before, "{:?}", systemd.jobs());
    agent.reload(&always())?;
    until("a start", LIMIT, || {
        Ok((systemd.jobs().len() > before).then_some(()))
    })?;
    tunnel_up(world)?;
    raised(&agent, "tunnel-up")?;

    // It has no connection any more.
    tunnel_down(world)?;
    let found = agent.ill("tunnel-failed")?;
    ensure!(found.detail.contains("no connection"), "{found:?}");
    tunnel_up(world)?;
    agent.healthy()?;

    // Taken by hand (`wslmesh tunnel up`), it is not stopped.
    let before = systemd.jobs().len();
    world.shell("rm /run/wslmesh/tunnel-started")?;
    agent.reload(&config(""))?;
    agent.wait("the new configuration", |status| {
        let up = status.finding("tunnel-up");
        up.is_some_and(|up| up.detail.contains("by hand"))
    })?;
    ensure!(systemd.jobs().len() == before, "{:?}", systemd.jobs());
    let page = world.wslmesh(&["status"])?.stdout;
    ensure!(
        page.contains("tunnel: up for ") && page.contains("started by hand"),
        "{page}"
    );
    agent.stop()
}
