//! The tunnel's failures. After each of them routes, rules, addresses and name servers are
//! those of before.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::LIMIT;
use crate::control::Status;
use crate::options::Options;
use crate::process::{KILL, Process, STOP};
use crate::runner::trial_with;
use crate::topology::{GATEWAY, Place};
use crate::tunneled::{LINK, SERVER, Tunneled, is};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("tunnel::killed", killed),
        quick("tunnel::switch_killed", switch_killed),
        quick("tunnel::switch_hangs", switch_hangs),
        quick("tunnel::closes_without_a_hello", closes),
        quick("tunnel::false_switches", false_switches),
        quick("tunnel::false_after_its_hello", false_later),
        quick("tunnel::no_device", no_device),
        quick("tunnel::name_taken", name_taken),
        quick("tunnel::two_at_once", two_at_once),
        quick("tunnel::which_user", which_user),
        quick("tunnel::elevated", elevated),
        quick("tunnel::link_removed", link_removed),
        quick("tunnel::name_server_of_this_machine", own_name_server),
        quick("tunnel::full_both_ways", full_both_ways),
    ]
}

/// The link's number: another one after a link was made anew.
fn index(world: &World) -> Result<String> {
    world.read(format!("/sys/class/net/{LINK}/ifindex"))
}

/// Waits until a connection through it works.
fn works(world: &World) -> Result<()> {
    until("traffic", LIMIT, || {
        Ok(world.try_probe("refused", SERVER)?.ok().map(drop))
    })
}

fn killed(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(true)?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    works(world)?;
    let switch = world.switch()?.context("no switch")?;
    tunnel.process().signal(KILL)?;
    tunnel.process().finish(LIMIT)?;
    until("the switch's end", LIMIT, || {
        let gone = !world.path(format!("/proc/{}", switch.pid)).exists();
        Ok(gone.then_some(()))
    })?;
    // The file of its state is passed over, and its sockets are made anew.
    world.shell("rm /run/wslmesh-tunnel/*")?;
    world.ways_again(&before, LIMIT)
}

/// How a switch is lost, and what is said of it.
fn replaced(world: &World, signal: i32, why: &str, within: Duration) -> Result<()> {
    let _outside = world.nat_is_broken(true)?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    let link = index(world)?;
    let talk = world.talks(SERVER)?;
    let switch = world.switch()?.context("no switch")?;
    let (signal, pid) = (format!("-{signal}"), switch.pid.to_string());
    let begun = Instant::now();
    world.guest(&["kill", &signal, &pid])?.ok()?;
    // Resets what it does not know.
    let said = talk.finish(LIMIT)?.stdout;
    let reset = begun.elapsed();
    ensure!(said.contains("reset"), "{said}");
    works(world)?;
    let took = begun.elapsed();
    ensure!(
        took < within,
        "a reset after {reset:?}, traffic after {took:?}: {}",
        tunnel.log()?
    );
    ensure!(index(world)? == link, "the link is another one");
    let state = tunnel.state("a restart", |state| is(state, "restarts", 1))?;
    ensure!(is(&state, "up", true), "{state}");
    let next = world.next_switch(switch.pid)?;
    let runs = world.path(format!("/proc/{}", switch.pid)).exists();
    ensure!(!runs && next.pid != switch.pid, "the first one is left");
    let page = world.wslmesh(&["tunnel", "status"])?.ok()?;
    ensure!(
        page.contains("starts  1 restart") && page.contains(why),
        "{page}"
    );
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}

fn switch_killed(world: &World) -> Result<()> {
    let within = Duration::from_secs(2);
    replaced(world, KILL, "last failure: the switch ended", within)
}

/// Asked every 500 ms while packets are sent, and dead 1.5 s after a question.
fn switch_hangs(world: &World) -> Result<()> {
    let within = Duration::from_secs(4);
    let why = "last failure: the switch has not answered for 1.5 s";
    replaced(world, STOP, why, within)
}

/// The next switch is silent: the link is kept for 2 s after the loss of the last one, and the
/// routes are those of before while the start is tried again after 2 s and 4 s.
fn closes(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(true)?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    works(world)?;
    let (link, switch) = (index(world)?, world.switch()?.context("no switch")?);
    world.windows().set_relay_says(Some(""))?;
    world
        .guest(&["kill", "-9", &switch.pid.to_string()])?
        .ok()?;
    let begun = Instant::now();
    tunnel.state("the loss", |state| is(state, "up", false))?;
    ensure!(index(world)? == link, "it is closed at once");
    tunnel.says("the tunnel is closed until the switch answers")?;
    let took = begun.elapsed();
    ensure!(
        took > Duration::from_millis(1500) && took < Duration::from_secs(3),
        "closed after {took:?}"
    );
    let during = world
        .ways()?
        .replace("agent.sock\napi.sock\nstate.json\n", "");
    ensure!(during == before, "before:\n{before}\nclosed:\n{during}");
    let page = world.wslmesh(&["tunnel", "status"])?;
    ensure!(
        page.status == Status::Code(3) && page.stdout.contains("tunnel  down for "),
        "{page:?}"
    );
    // Of those that were silent: one kept the link, and the next one begins 2 s later.
    world.windows().set_relay_says(None)?;
    tunnel.state("the next one", |state| is(state, "up", true))?;
    works(world)?;
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}

/// A switch that serves and then sends what is no frame, or messages without end, is replaced.
fn false_later(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    let before = world.ways()?;
    for (how, why) in [
        ("garbage-later", "the switch violated the protocol: "),
        ("floods", "the switch floods its link with messages"),
    ] {
        let (switch, socket) = world.false_switch(how)?;
        let tunnel = Tunneled::up(world, &["--connect", &socket])?;
        // A packet, of which a question follows.
        drop(world.guest(&["ping", "-c1", "-W1", "192.168.127.1"])?);
        let state = tunnel.state("a restart", |state| {
            let restarts = state.get("restarts").and_then(Value::as_u64);
            restarts.is_some_and(|restarts| restarts > 0)
        })?;
        ensure!(tunnel.log()?.contains(why), "{how}: {}", tunnel.log()?);
        ensure!(is(&state, "last-code", "tunnel-failed"), "{state}");
        ensure!(switch.stdout()?.lines().count() > 1, "{how}: one start");
        tunnel.stop()?;
        world.ways_again(&before, Duration::ZERO)?;
    }
    Ok(())
}

/// Those that never serve: the tunnel was never up, and gives up after 15 s with the reason.
fn never_up(world: &World, how: &str, why: &str) -> Result<()> {
    let before = world.ways()?;
    let (switch, socket) = world.false_switch(how)?;
    let tunnel = Tunneled::start(world, &["--connect", &socket])?;
    tunnel.says(why)?;
    let page = world.wslmesh(&["tunnel", "status"])?;
    ensure!(
        page.status == Status::Code(3) && page.stdout.contains(&format!("reason: {why}")),
        "{page:?}"
    );
    // No link, no route.
    let during = world.ways()?;
    let during = during.replace("agent.sock\napi.sock\nstate.json\n", "");
    ensure!(during == before, "before:\n{before}\nduring:\n{during}");
    let ended = tunnel.process().finish(Duration::from_secs(20))?;
    ensure!(ended.status == Status::Code(1), "{ended:?}");
    // 0, 2, 6 and at most 14 s after the start.
    let tries = switch.stdout()?.lines().count();
    ensure!((3..=4).contains(&tries), "{tries} tries");
    world.ways_again(&before, Duration::ZERO)
}

fn false_switches(world: &World) -> Result<()> {
    world.shell("rm -rf /etc/resolv.conf; echo 'nameserver 192.0.2.53' >/etc/resolv.conf")?;
    for (how, why) in [
        ("garbage", "the switch violated the protocol: "),
        (
            "other-version",
            "the switch speaks version 2 of the link, this program speaks version 1",
        ),
        ("silent", "the switch did not say hello within 2 s"),
    ] {
        never_up(world, how, why).context(how)?;
    }
    Ok(())
}

fn says_at_its_end(world: &World, arguments: &[&str], why: &str) -> Result<()> {
    let before = world.ways()?;
    let tunnel = Tunneled::start(world, arguments)?;
    let ended = tunnel.process().finish(Duration::from_secs(20))?;
    ensure!(
        ended.status == Status::Code(1) && ended.stderr.contains(why),
        "{ended:?}"
    );
    world.ways_again(&before, Duration::ZERO)
}

fn no_device(world: &World) -> Result<()> {
    world.shell("umount /dev/net/tun 2>/dev/null || true; rm -f /dev/net/tun")?;
    says_at_its_end(
        world,
        &[],
        "/dev/net/tun does not exist: `sudo modprobe tun`",
    )
}

fn name_taken(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    world.shell("ip link add wslmesh0 type veth peer name other")?;
    says_at_its_end(world, &[], "the name wslmesh0 is taken")
}

/// The second one leaves the first alone, its rules and the file of its state included.
fn two_at_once(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(true)?;
    world.write("/etc/resolv.conf", format!("nameserver {GATEWAY}\n"))?;
    let before = world.ways()?;
    let first = Tunneled::up(world, &[])?;
    let during = world.ways()?;
    let second = Tunneled::start(world, &[])?;
    let ended = second.process().finish(LIMIT)?;
    ensure!(
        ended.status == Status::Code(1) && ended.stderr.contains("the name wslmesh0 is taken"),
        "{ended:?}"
    );
    world.ways_again(&during, Duration::ZERO)?;
    ensure!(is(&first.status()?, "up", true), "{}", first.status()?);
    works(world)?;
    first.stop()?;
    world.ways_again(&before, Duration::ZERO)
}

fn which_user(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    world.shell("rm /mnt/c/Users/me/.wslconfig")?;
    let why = "several users of Windows may be meant (me, other): create an empty file .wslconfig";
    says_at_its_end(world, &[], why)
}

fn elevated(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    world.windows().set_elevated(true)?;
    let why = "the switch ended: wslmesh-relay switch: started elevated";
    says_at_its_end(world, &[], why)
}

/// Another program removes it: it is made anew.
fn link_removed(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(true)?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    world.shell("ip link del wslmesh0")?;
    tunnel.says("the device was removed")?;
    tunnel.state("the next one", |state| is(state, "up", true))?;
    works(world)?;
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}

/// WSL's DNS tunnelling: that works without NAT, and is left alone.
fn own_name_server(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    world.dns_tunnel()?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    let way = world
        .guest(&["ip", "route", "get", "10.255.255.254"])?
        .ok()?;
    ensure!(way.contains("dev lo"), "{way}");
    let rules = world.guest(&["ip", "rule"])?.ok()?;
    ensure!(!rules.contains("19216"), "{rules}");
    let page = world.wslmesh(&["tunnel", "status"])?.ok()?;
    ensure!(
        page.contains("no name server leads through the tunnel"),
        "{page}"
    );
    works(world)?;
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}

/// Both ends always read.
fn full_both_ways(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    let argv = [
        "/init",
        crate::ROLE,
        crate::net_probe::NET_PROBE,
        "bidir",
        SERVER,
    ];
    let probe: Process<'_> = world.spawn(Place::Guest, &argv, &[])?;
    probe.finish(Duration::from_secs(40))?.ok()?;
    let state = tunnel.state("the state", |_| true)?;
    ensure!(is(&state, "restarts", 0), "{state}");
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}
