//! UDP and TCP through Windows' relay, run by the agent: sources that stay the
//! same whatever happens, and what happens to the relay itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, CONFIG, LIMIT};
use crate::installed::{INSIDE, LISTEN, TUNNEL, both, listen, policy, ten};
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::station::Station;
use crate::status::Status;
use crate::topology::Place;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("relay::ten_addresses_one_source", ten_addresses),
        quick("relay::killed", killed),
        quick("relay::gone_with_the_agent", gone_with_the_agent),
        quick("relay::taken_back_by_the_next_agent", next_agent),
    ]
}

/// An installed Windows, an agent whose relay serves [`TUNNEL`], a client in the
/// LAN, and the service in the guest.
struct Tunnel<'w> {
    agent: Agent<'w>,
    client: Station<'w>,
    service: Station<'w>,
}

fn serves(status: &Status) -> bool {
    status.serves("relay", &["wg"]) && status.relay.as_ref().is_some_and(|relay| relay.applied)
}

impl<'w> Tunnel<'w> {
    fn start(world: &'w World) -> Result<Self> {
        world.windows().install(&policy())?;
        let agent = world.start_agent(TUNNEL)?;
        agent.wait("the relay", serves)?;
        Ok(Self {
            agent,
            client: world.station(Place::Lan, "0.0.0.0:40000")?,
            service: world.station(Place::Guest, INSIDE)?,
        })
    }

    /// The client speaks; says from where the guest hears it.
    fn inward(&self, text: &str) -> Result<std::net::SocketAddrV4> {
        let heard = self.client.reaches(listen()?, &self.service, text)?;
        Ok(heard.from)
    }

    /// The guest speaks to the client's port on Windows. The client must hear it
    /// from the port that it spoke to itself.
    fn outward(&self, to: std::net::SocketAddrV4, text: &str) -> Result<()> {
        let heard = self.service.reaches(to, &self.client, text)?;
        ensure!(heard.from == listen()?, "{heard:?} is not from {LISTEN}");
        Ok(())
    }
}

fn ten_addresses(world: &World) -> Result<()> {
    let tunnel = Tunnel::start(world)?;
    let source = tunnel.inward("hello")?;
    ensure!(
        source.ip().to_string() == crate::topology::GATEWAY,
        "{source}"
    );
    tunnel.outward(source, "welcome")?;
    let socket = world.listener(Place::Windows, "u", 51820)?;
    ensure!(
        socket.program == "wslmesh-relay" && socket.at == "0.0.0.0:51820",
        "{socket:?}"
    );
    for (round, address) in ten().enumerate() {
        world.change_address(&format!("{address}/20"))?;
        // By turns either side speaks first at the new address.
        if round % 2 == 0 {
            let again = tunnel.inward(&format!("in {round}"))?;
            ensure!(again == source, "{source} became {again} at {address}");
            tunnel.outward(source, &format!("out {round}"))?;
        } else {
            tunnel.outward(source, &format!("out {round}"))?;
            let again = tunnel.inward(&format!("in {round}"))?;
            ensure!(again == source, "{source} became {again} at {address}");
        }
    }
    let after = world.listener(Place::Windows, "u", 51820)?;
    ensure!(after == socket, "{socket:?} became {after:?}");
    let starts = world.windows().relays()?.len();
    ensure!(starts == 1, "{starts} starts of the relay");
    tunnel.agent.stop()
}

/// The relay is ended from outside: the next one takes its table over, and the
/// guest, which knows nothing of it, reaches the client first.
fn killed(world: &World) -> Result<()> {
    let tunnel = Tunnel::start(world)?;
    let source = tunnel.inward("hello")?;
    let one = |status: &Status| status.relay.as_ref().is_some_and(|r| r.sessions == 1);
    tunnel.agent.wait("one client", one)?;
    let first = world.windows().relay()?.context("no relay")?;
    world.guest(&["kill", "-9", &first.pid.to_string()])?.ok()?;
    tunnel.outward(source, "are you there")?;
    ensure!(tunnel.inward("yes")? == source);
    let second = world.windows().relay()?.context("no relay")?;
    ensure!(second.pid != first.pid);
    let order = second.orders.first().context("no order")?;
    ensure!(
        order.contains("\"client\":\"192.168.50.20:40000\"")
            && order.contains(&format!("\"port\":{}", source.port())),
        "{order}"
    );
    let found = tunnel.agent.raised("relay-restarted")?;
    ensure!(
        found.severity == "info" && !found.detail.is_empty(),
        "{found:?}"
    );
    tunnel.agent.healthy()?;
    tunnel.agent.stop()
}

/// Nothing of the relay is left, however the agent ends.
fn gone_with_the_agent(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let gone = |what: &str| {
        until(what, LIMIT, || {
            let relay = world.windows().relay()?;
            let left = world.processes_with("wslmesh-relay")?;
            Ok((relay.is_none() && left.is_empty()).then_some(()))
        })?;
        world.closed(Place::Windows, "u", 51820)?;
        world.closed(Place::Windows, "t", 2222)
    };
    let agent = world.start_agent(&both("relay"))?;
    agent.wait("the relay", |status| status.serves("relay", &["wg", "ssh"]))?;
    agent.stop()?;
    gone("its end after a stop")?;
    let agent = world.start_agent(&both("relay"))?;
    agent.wait("the relay", |status| status.serves("relay", &["wg", "ssh"]))?;
    agent.kill()?;
    gone("its end after a kill")?;
    // Nothing left to serve ends it too.
    let agent = world.start_agent(&both("relay"))?;
    agent.wait("the relay", |status| status.serves("relay", &["wg", "ssh"]))?;
    world.write(CONFIG, "")?;
    agent.process().signal(HUP)?;
    gone("its end after a reload")?;
    agent.stop()
}

/// The next agent gives its relay the table that the last one left, whether that
/// ended well or not.
fn next_agent(world: &World) -> Result<()> {
    let Tunnel {
        agent,
        client,
        service,
    } = Tunnel::start(world)?;
    let source = client.reaches(listen()?, &service, "hello")?.from;
    agent.stop()?;
    let file = "/run/wslmesh/relay-sessions.json";
    let mode = world.guest(&["stat", "-c", "%a", file])?.ok()?;
    ensure!(mode.trim() == "600", "mode {mode}");
    let mut agent = world.start_agent(TUNNEL)?;
    for text in ["after a stop", "after a kill"] {
        let heard = service.reaches(source, &client, text)?;
        ensure!(heard.from == listen()?, "{heard:?}");
        let back = client.reaches(listen()?, &service, &format!("answer {text}"))?;
        ensure!(back.from == source, "{source} became {}", back.from);
        if text == "after a stop" {
            // The file is at most a second behind.
            std::thread::sleep(Duration::from_millis(10));
            agent.kill()?;
            agent = world.start_agent(TUNNEL)?;
        }
    }
    agent.stop()
}
