//! The way from the home network through Windows to the guest, and what WSL
//! does to it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::caller::sync;
use crate::options::Options;
use crate::probe::{Attempt, EVERY, Outage, now, outages};
use crate::runner::{trial_alone, trial_with};
use crate::topology::GUEST_ADDRESS;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_with("network::three_places", Options::quick(), three_places),
        trial_with(
            "network::forward_carries_traffic",
            Options::quick(),
            forward_carries_traffic,
        ),
        trial_with(
            "network::repointed_after_a_new_address",
            Options::quick(),
            repointed,
        ),
        trial_with("network::events", Options::quick(), events),
        trial_with("network::thousand_rules", Options::quick(), thousand_rules),
        trial_with("network::wireguard", Options::quick(), wireguard),
        trial_alone("network::outages_are_counted", outages_are_counted),
    ]
}

const LIMIT: Duration = Duration::from_secs(10);

fn service() -> Result<SocketAddr> {
    Ok("192.168.50.10:2222".parse()?)
}

fn three_places(world: &World) -> Result<()> {
    let addresses = ["ip", "-4", "-o", "addr", "show", "scope", "global"];
    ensure!(world.lan(&addresses)?.ok()?.contains("192.168.50.20/24"));
    let windows = world.host(&addresses)?.ok()?;
    ensure!(
        windows.contains("192.168.50.10/24") && windows.contains("172.28.16.1/20"),
        "{windows}"
    );
    ensure!(world.guest(&addresses)?.ok()?.contains(GUEST_ADDRESS));
    // Windows reaches both; the home network does not reach the guest.
    world.host(&["ping", "-c1", "-W2", "192.168.50.20"])?.ok()?;
    world.host(&["ping", "-c1", "-W2", "172.28.16.5"])?.ok()?;
    ensure!(
        !world.lan(&["ping", "-c1", "-W1", "172.28.16.5"])?.success(),
        "there is a way past the proxy"
    );
    Ok(())
}

fn forward_carries_traffic(world: &World) -> Result<()> {
    let probe = world.probe(service()?)?;
    sync(world, "172.28.16.5", &[(2222, 22)])?;
    probe.success_after(0, LIMIT)?;
    ensure!(
        probe.attempts()?.first().is_some_and(|a| !a.ok),
        "it worked before there was a forward"
    );
    ensure!(world.windows().listening()? == ["0.0.0.0:2222".parse()?]);
    sync(world, "172.28.16.5", &[])?;
    ensure!(world.windows().listening()?.is_empty() && world.windows().table()?.is_empty());
    Ok(())
}

fn repointed(world: &World) -> Result<()> {
    sync(world, "172.28.16.5", &[(2222, 22)])?;
    let probe = world.probe(service()?)?;
    probe.success_after(0, LIMIT)?;
    for (address, plain) in [
        ("172.28.27.77/20", "172.28.27.77"),
        ("172.19.3.4/20", "172.19.3.4"),
    ] {
        world.change_address(address)?;
        let changed = now();
        let failed = until("a failure", LIMIT, || {
            Ok(probe
                .attempts()?
                .into_iter()
                .find(|a| !a.ok && a.start > changed))
        })?;
        let before = now();
        sync(world, plain, &[(2222, 22)])?;
        probe.success_after(now(), LIMIT)?;
        let outages = probe.outages()?;
        let covers = |o: &Outage| o.from < failed.start && o.to > before && o.failures > 0;
        let outage = outages.iter().find(|o| covers(o));
        let length = outage.map(Outage::length).unwrap_or_default();
        ensure!(length > EVERY, "no outage around the change: {outages:?}");
    }
    Ok(())
}

fn events(world: &World) -> Result<()> {
    let state = |world: &World| {
        world
            .guest(&[
                "sh",
                "-c",
                "ip -br addr show eth0 2>&1; ip route show default",
            ])?
            .ok()
    };
    world.flap(GUEST_ADDRESS)?;
    let flapped = state(world)?;
    ensure!(
        flapped.contains(GUEST_ADDRESS) && flapped.contains("default via 172.28.16.1"),
        "{flapped}"
    );
    world.add_address("172.28.20.20/20")?;
    ensure!(state(world)?.contains("172.28.20.20/20"));
    world.delete_address("172.28.20.20/20")?;
    ensure!(!state(world)?.contains("172.28.20.20/20"));
    world.set_mtu(1280)?;
    ensure!(world.read("/sys/class/net/eth0/mtu")?.trim() == "1280");
    world.link_down()?;
    ensure!(!state(world)?.contains("default"));
    world.link_up(GUEST_ADDRESS)?;
    ensure!(state(world)?.contains("default via 172.28.16.1"));
    world.remove_eth0()?;
    ensure!(state(world)?.contains("does not exist"));
    world.create_eth0("172.28.30.1/20")?;
    ensure!(state(world)?.contains("172.28.30.1/20"));
    world.guest(&["ping", "-c1", "-W2", "172.28.16.1"])?.ok()?;
    Ok(())
}

fn thousand_rules(world: &World) -> Result<()> {
    let forwards: Vec<(u16, u16)> = (0..1_000).map(|n| (10_000 + n, 22)).collect();
    let answer = sync(world, "172.28.16.5", &forwards)?;
    ensure!(
        answer.added == 1_000 && answer.rules.len() == 1_000,
        "{} added",
        answer.added
    );
    ensure!(world.windows().listening()?.len() == 1_000 && world.windows().calls()?.len() == 1);
    let probe = world.probe("192.168.50.10:10999".parse()?)?;
    probe.success_after(0, LIMIT)?;
    Ok(())
}

fn wireguard(world: &World) -> Result<()> {
    let wg = world.wireguard("wg0", 300)?;
    let keepalives = wg.keepalives()?;
    ensure!(
        keepalives.len() == 300 && keepalives.values().all(Option::is_none),
        "{} peers",
        keepalives.len()
    );
    wg.set_keepalive(7, 15)?;
    ensure!(wg.keepalives()?.get(&crate::wireguard::peer_key(7)) == Some(&Some(15)));
    wg.remove_peer(7)?;
    wg.add_peer(400)?;
    let keys = wg.keepalives()?;
    ensure!(
        keys.len() == 300 && keys.contains_key(&crate::wireguard::peer_key(400)),
        "{} peers",
        keys.len()
    );
    let userspace = wg.userspace();
    wg.remove()?;
    ensure!(
        !userspace || !world.path("/run/wireguard/wg0.sock").exists(),
        "wireguard-go is still there"
    );
    ensure!(
        !world.guest(&["ip", "link", "show", "wg0"])?.success(),
        "wg0 is still there"
    );
    Ok(())
}

fn outages_are_counted() -> Result<()> {
    let attempts: Vec<Attempt> = [
        (0, true),
        (5, false),
        (10, true),
        (15, true),
        (20, false),
        (25, false),
        (30, true),
        (35, false),
    ]
    .into_iter()
    .map(|(start, ok)| Attempt {
        start,
        end: start + 1,
        ok,
    })
    .collect();
    let found: Vec<_> = outages(&attempts)
        .iter()
        .map(|o| (o.from, o.to, o.failures))
        .collect();
    ensure!(found == [(1, 11, 1), (16, 31, 2)], "{found:?}");
    Ok(())
}
