//! Services that listen on 127.0.0.1 alone, which are exposed where that is asked for.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{LIMIT, config};
use crate::installed::listen;
use crate::options::Options;
use crate::process::Process;
use crate::runner::trial_with;
use crate::setup::said;
use crate::status::Status;
use crate::test_discovery::{end, installed_with as installed};
use crate::topology::{FIRST, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("loopback::discovered", discovered),
        quick("loopback::configured", configured),
        quick("loopback::address_change", address_change),
        quick("loopback::port_taken", port_taken),
        quick("loopback::header", header),
        quick("loopback::udp", udp),
        trial_with(
            "loopback::mirrored",
            Options {
                mode: "mirrored".to_owned(),
                ..Options::quick()
            },
            mirrored,
        ),
    ]
}

const ON: &str = "[discovery]\ntcp = [\"8080-8090\"]\ndeny = [8089]\n";
const ASKED: &str = "[discovery]\nloopback = true\ntcp = [\"8080-8090\"]\ndeny = [8089]\n";
/// A service of the default deny list, which a forward names.
pub(crate) const DB: &str = "[[forward]]\nname = \"db\"\nprotocol = \"tcp\"\nlisten-port = 15432\nconnect-address = \"127.0.0.1\"\nconnect-port = 5432\n";

/// An echo service in the guest.
fn echo<'w>(world: &'w World, at: &str) -> Result<Process<'w>> {
    world.echo(Place::Guest, at)
}

/// Where the relay in the guest listens on this port.
fn relay_at(world: &World, port: u16) -> Result<Vec<String>> {
    let all = world.listens(Place::Guest, "t", port)?.into_iter();
    Ok(all
        .filter(|one| one.program == "wslmesh-relay")
        .map(|one| one.at)
        .collect())
}

/// The relays that listen in the guest.
fn relays(world: &World) -> Result<BTreeSet<String>> {
    let text = world.guest(&["ss", "-Htulnp"])?.ok()?;
    let pids = text.split("(\"wslmesh-relay\",pid=").skip(1);
    Ok(pids
        .filter_map(|rest| rest.split(',').next())
        .map(str::to_owned)
        .collect())
}

fn no_relay(world: &World) -> Result<()> {
    until("no relay in the guest", LIMIT, || {
        Ok(relays(world)?.is_empty().then_some(()))
    })
}

/// Not exposed until it is asked for, and then as long as it listens; what is denied stays
/// closed, and a service at the node's address needs no relay.
fn discovered(world: &World) -> Result<()> {
    let agent = installed(world, ON)?;
    agent.healthy()?;
    let service = echo(world, "127.0.0.1:8080")?;
    let denied = echo(world, "127.0.0.1:8089")?;
    let open = echo(world, "0.0.0.0:8082")?;
    world.reached(8082)?;
    let names = |status: &Status| -> Vec<String> {
        status.served.iter().map(|one| one.name.clone()).collect()
    };
    let status = agent.wait("one forward", |status| {
        status.serves("relay", &["auto-tcp-8082"])
    })?;
    ensure!(names(&status) == ["auto-tcp-8082"], "{status:?}");
    ensure!(
        world.listens(Place::Windows, "t", 8080)?.is_empty(),
        "it is exposed"
    );
    ensure!(relays(world)?.is_empty(), "a second process");

    agent.reload(&config(ASKED))?;
    world.reached(8080)?;
    let status = agent.wait("both", |status| {
        status.serves("relay", &["auto-tcp-8080", "auto-tcp-8082"])
    })?;
    ensure!(
        status.served.len() == 2 && status.problems().is_empty(),
        "{status:?}"
    );
    ensure!(relay_at(world, 8080)? == [format!("{FIRST}:8080")]);
    ensure!(relays(world)?.len() == 1, "{:?}", relays(world)?);
    let says = [
        "loopback service (127.0.0.1)",
        "exposed by [discovery] loopback",
    ];
    said(&world.cli(&["forward", "list"])?, 0, &says)?;
    let text = world.cli(&["status"])?.ok()?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        text.contains("loopback service (127.0.0.1), exposed by"),
        "{text}"
    );
    let port = world.cli(&["port", "8080"])?.ok()?;
    ensure!(port.contains("exposed by [discovery] loopback"), "{port}");
    let rows: Value = serde_json::from_str(&world.cli(&["forward", "list", "--json"])?.ok()?)?;
    let row = rows.as_array().context("no rows")?.iter();
    let mut row = row.filter(|one| one["name"] == "auto-tcp-8080");
    ensure!(
        row.any(|one| one["connect-address"] == "127.0.0.1" && one["answers"] == true),
        "{rows}"
    );

    // The one at the node's address wins, which needs no relay.
    let (near, far) = (
        echo(world, "127.0.0.1:8083")?,
        echo(world, &format!("{FIRST}:8083"))?,
    );
    world.reached(8083)?;
    agent.wait("the third", |status| {
        status.serves("relay", &["auto-tcp-8083"])
    })?;
    ensure!(
        relay_at(world, 8083)?.is_empty(),
        "a relay beside the service"
    );
    end(&near)?;
    end(&far)?;

    end(&service)?;
    world.closed(Place::Windows, "t", 8080)?;
    world.closed(Place::Guest, "t", 8080)?;
    world.unreachable(8080)?;
    no_relay(world)?;
    ensure!(
        world.listens(Place::Windows, "t", 8089)?.is_empty(),
        "a denied port"
    );
    drop((denied, open));
    agent.stop()
}

/// A forward names it, whatever the deny list has; Windows alone reaches it, the relay is
/// started again when it is killed, and so it is with the agent.
fn configured(world: &World) -> Result<()> {
    let _service = echo(world, "127.0.0.1:5432")?;
    let agent = installed(world, DB)?;
    world.reached(15432)?;
    agent.wait("the forward", |status| status.serves("relay", &["db"]))?;
    agent.healthy()?;
    said(
        &world.cli(&["status"])?,
        0,
        &[
            "loopback service (127.0.0.1), exposed by",
            "loopback: serves",
        ],
    )?;
    said(
        &world.cli(&["port", "15432"])?,
        0,
        &["127.0.0.1:5432 answers", "exposed by connect-address"],
    )?;

    // A neighbour that has a way to the guest reaches a service for all, and not this one.
    world
        .host(&["ip", "addr", "add", "172.28.16.9/20", "dev", "vEthernet"])?
        .ok()?;
    let from_other = |port: u16| {
        let command = format!("exec 3<>/dev/tcp/{FIRST}/{port} && echo ping >&3 && head -c 5 <&3");
        world
            .host(&[
                "ip",
                "route",
                "replace",
                &format!("{FIRST}/32"),
                "dev",
                "vEthernet",
                "src",
                "172.28.16.9",
            ])?
            .ok()?;
        let output = world.host(&["bash", "-c", &command])?;
        world
            .host(&["ip", "route", "del", &format!("{FIRST}/32")])?
            .ok()?;
        Ok::<_, anyhow::Error>(output.stdout)
    };
    let _open = echo(world, "0.0.0.0:5433")?;
    ensure!(from_other(5433)? == "ping\n", "no way to the guest");
    ensure!(from_other(5432)?.is_empty(), "a stranger is let in");
    world.reached(15432)?;

    let first = relays(world)?;
    let pid = first.first().context("no relay in the guest")?;
    world.guest(&["kill", "-9", pid])?.ok()?;
    world.reached(15432)?;
    let found = agent.raised("relay-restarted")?;
    ensure!(found.severity == "info", "{found:?}");
    agent.wait("the forward", |status| status.serves("relay", &["db"]))?;
    ensure!(relays(world)?.len() == 1 && relays(world)? != first);

    agent.kill()?;
    no_relay(world)?;
    let agent = world.start_agent(&config(DB))?;
    world.reached(15432)?;
    agent.wait("the forward", |status| status.serves("relay", &["db"]))?;
    agent.stop()?;
    no_relay(world)?;
    world.closed(Place::Guest, "t", 15432)
}

fn address_change(world: &World) -> Result<()> {
    let _service = echo(world, "127.0.0.1:5432")?;
    let agent = installed(world, DB)?;
    world.reached(15432)?;
    for address in ["172.28.27.77", "172.19.3.4"] {
        world.change_address(&format!("{address}/20"))?;
        agent.settled(address)?;
        world.reached(15432)?;
        agent.wait("the forward", |status| status.serves("relay", &["db"]))?;
        ensure!(relay_at(world, 5432)? == [format!("{address}:5432")]);
    }
    agent.healthy()?;
    agent.stop()
}

/// Another program has the port at the node's address: the forward is down until it ends.
fn port_taken(world: &World) -> Result<()> {
    let (_service, other) = (
        echo(world, "127.0.0.1:5432")?,
        echo(world, &format!("{FIRST}:5432"))?,
    );
    let agent = installed(world, DB)?;
    let found = agent.raised("forward-taken")?;
    ensure!(
        found.subject == "db" && found.detail.contains(&format!("{FIRST}:5432")),
        "{found:?}"
    );
    agent.wait("its state", |status| {
        status.served.iter().all(|one| one.state == "down")
    })?;
    end(&other)?;
    agent.cleared("forward-taken")?;
    agent.wait("the forward", |status| status.serves("relay", &["db"]))?;
    world.reached(15432)?;
    agent.stop()
}

/// Both relays pass on the header that the first one writes.
fn header(world: &World) -> Result<()> {
    let proxied = [
        "/init",
        crate::ROLE,
        crate::talker::PROXIED,
        "127.0.0.1:5432",
        "/run/lab/seen",
    ];
    let _service = world.spawn(Place::Guest, &proxied, &[])?;
    let agent = installed(world, &format!("{DB}proxy-protocol = \"v2\"\n"))?;
    agent.wait("the forward", |status| status.serves("relay", &["db"]))?;
    let request = [
        "/init",
        crate::ROLE,
        crate::talker::REQUEST,
        "192.168.50.10:15432",
    ];
    let mut seen = String::new();
    until("the client's address", LIMIT, || {
        let asked = world.run(Place::Lan, &request, b"")?;
        let client = asked.stdout.trim().to_owned();
        seen = world.read("/run/lab/seen").unwrap_or_default();
        let line = format!("192.168.50.20 {client} to 192.168.50.10 15432 from 127.0.0.1");
        Ok((!client.is_empty() && seen.contains(&line)).then_some(()))
    })
    .with_context(|| seen.clone())?;
    agent.stop()
}

fn udp(world: &World) -> Result<()> {
    let service = world.station(Place::Guest, "127.0.0.1:51821")?;
    let forward = crate::installed::TUNNEL.replace(
        "connect-port",
        "connect-address = \"127.0.0.1\"\nconnect-port",
    );
    let agent = installed(world, &forward)?;
    agent.wait("the forward", |status| status.serves("relay", &["wg"]))?;
    let client = world.station(Place::Lan, "0.0.0.0:40000")?;
    let first = client.reaches(listen()?, &service, "hello")?;
    ensure!(first.from.ip().is_loopback(), "{first:?}");
    let back = service.reaches(first.from, &client, "and back")?;
    ensure!(back.from == listen()?, "{back:?}");
    let second = client.reaches(listen()?, &service, "again")?;
    ensure!(second.from == first.from, "{second:?} after {first:?}");
    agent.stop()
}

/// Clients reach the guest itself: the relay takes them at the node's address, and elsewhere
/// where the ports differ.
fn mirrored(world: &World) -> Result<()> {
    let services = [
        echo(world, "127.0.0.1:8080")?,
        echo(world, "127.0.0.1:5432")?,
    ];
    let agent = installed(world, &format!("{ASKED}{DB}"))?;
    agent.wait("both", |status| {
        status.serves("relay", &["auto-tcp-8080", "db"])
    })?;
    ensure!(relay_at(world, 8080)? == [format!("{FIRST}:8080")]);
    ensure!(relay_at(world, 15432)? == ["0.0.0.0:15432"]);
    // The windows namespace is a neighbour, as any machine in the LAN is.
    for port in [8080, 15432] {
        let probe = world.probe_from(Place::Windows, format!("{FIRST}:{port}").parse()?)?;
        probe.success_after(crate::probe::now(), LIMIT)?;
    }
    agent.healthy()?;
    end(&services[0])?;
    world.closed(Place::Guest, "t", 8080)?;
    agent.wait("one forward", |status| status.served.len() == 1)?;
    // Once it is no longer asked for.
    agent.reload(&config(ON))?;
    agent.wait("no forward", |status| status.served.is_empty())?;
    world.closed(Place::Guest, "t", 15432)?;
    no_relay(world)?;
    agent.stop()
}
