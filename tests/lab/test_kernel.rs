//! WireGuard as the kernel does it, and a TCP client, across ten changes of the
//! guest's address.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, PROXY, SSH, config};
use crate::contract::{Backend, Firewall, Grant, Protocol};
use crate::kernel::trial;
use crate::probe::{Outage, now};
use crate::setup::policy;
use crate::talker::{TCP, Talker, UDP};
use crate::topology::{FIRST, Place, WINDOWS_ADDRESS};
use crate::tunnel::{GUEST, PEER, Tunnel};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("kernel::lan_speaks_first", lan_speaks_first),
        trial("kernel::guest_speaks_first", guest_speaks_first),
        trial("kernel::tcp_reconnects", tcp_reconnects),
        trial("kernel::path_mtu", crate::test_path::a_hop_says_so),
    ]
}

/// Ten addresses after [`FIRST`], all in the same network: Windows keeps its own.
const NEAR: [&str; 10] = [
    "172.28.30.7/20",
    "172.28.19.200/20",
    "172.28.16.6/20",
    "172.28.31.254/20",
    "172.28.16.5/20",
    "172.28.22.22/20",
    "172.28.16.2/20",
    "172.28.27.77/20",
    "172.28.20.1/20",
    "172.28.16.5/20",
];
/// Ten addresses of which some are in other networks, as after a restart of
/// Windows: Windows' own address towards the guest changes with them.
const FAR: [&str; 10] = [
    "172.28.30.7/20",
    "172.29.64.7/20",
    "172.29.70.1/20",
    "172.20.0.9/20",
    "172.28.16.5/20",
    "172.28.19.200/20",
    "172.31.250.250/20",
    "172.31.240.2/20",
    "172.28.27.77/20",
    "172.28.16.5/20",
];
/// The relay is killed after this many changes.
const CRASH: usize = 5;
pub(crate) const WIREGUARD: &str = "[[forward]]\nname = \"wireguard\"\nprotocol = \"udp\"\nlisten-port = 51820\nconnect-port = 51820\nfirewall = \"local\"\n";

/// What the administrator has agreed to: the ports of these trials.
pub(crate) fn install(world: &World) -> Result<()> {
    let grant = |protocol, listen, connect, firewall| Grant {
        protocol,
        listen_address: Ipv4Addr::UNSPECIFIED.into(),
        listen_ports: (listen, listen),
        connect_ports: (connect, connect),
        firewall,
        backend: Backend::Auto,
    };
    world.windows().install(&policy(vec![
        grant(Protocol::Udp, 51820, 51820, Firewall::Local),
        grant(Protocol::Tcp, 2222, 22, Firewall::None),
    ]))
}

/// The guest is silent until it is spoken to: not even a keepalive.
fn lan_speaks_first(world: &World) -> Result<()> {
    install(world)?;
    let tunnel = world.tunnel()?;
    let _service = world.answer(Place::Guest, "0.0.0.0:7777")?;
    let silent = config(WIREGUARD) + "[wireguard]\nkeepalive = 0\n";
    let agent = world.start_agent(&silent)?;
    let talker = world.talk(Place::Lan, UDP, &format!("{GUEST}:7777"))?;
    ensure!(tunnel.keepalive()? == "off", "{}", tunnel.keepalive()?);
    let lost = survive(world, &agent, &tunnel, &talker, &FAR)?;
    ensure!(tunnel.keepalive()? == "off", "{}", tunnel.keepalive()?);
    report("a peer in lan speaks first", &lost);
    agent.stop()
}

/// The peer only ever answers, but for what WireGuard does by itself. In the same
/// network: behind a gateway with another address the guest could not know where
/// Windows is.
fn guest_speaks_first(world: &World) -> Result<()> {
    install(world)?;
    let tunnel = world.tunnel()?;
    let _service = world.answer(Place::Lan, "0.0.0.0:7777")?;
    let agent = world.start_agent(&config(WIREGUARD))?;
    world.has_mtu("wg0", 1280)?;
    until("the keepalive", crate::agent::LIMIT, || {
        Ok((tunnel.keepalive()? == "25").then_some(()))
    })?;
    {
        // The guest must learn where its peer is.
        let _there = world.answer(Place::Guest, "0.0.0.0:7777")?;
        world.talk(Place::Lan, UDP, &format!("{GUEST}:7777"))?;
    }
    let talker = world.talk(Place::Guest, UDP, &format!("{PEER}:7777"))?;
    let lost = survive(world, &agent, &tunnel, &talker, &NEAR)?;
    ensure!(world.mtu("wg0")? == 1280 && tunnel.keepalive()? == "25");
    report("the guest speaks first", &lost);
    agent.stop()
}

/// How long nothing came through, for each event.
type Lost = Vec<(String, Outage)>;

/// Changes the address ten times and kills the relay once. The relay's port
/// towards the guest is the same all the time.
fn survive(
    world: &World,
    agent: &Agent,
    tunnel: &Tunnel,
    talker: &Talker,
    addresses: &[&str],
) -> Result<Lost> {
    let port = tunnel.endpoint()?.port();
    let mut lost = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        lost.push((
            format!("change {} to {address}", index + 1),
            change(world, talker, address).with_context(|| agent.log().unwrap_or_default())?,
        ));
        same_port(tunnel, port)?;
        if index + 1 == CRASH {
            let outage = crash(world, talker);
            lost.push((
                "relay killed".to_owned(),
                outage.with_context(|| agent.log().unwrap_or_default())?,
            ));
            same_port(tunnel, port)?;
        }
    }
    let runs = world.windows().relays()?;
    ensure!(runs.len() == 2, "{} relays ran", runs.len());
    Ok(lost)
}

fn change(world: &World, talker: &Talker, address: &str) -> Result<Outage> {
    let before = now();
    world.change_address(address)?;
    // From here on nothing reaches the old address.
    talker
        .answered(before, now())
        .with_context(|| format!("after the change to {address}"))
}

fn crash(world: &World, talker: &Talker) -> Result<Outage> {
    let before = now();
    let relay = world.windows().relay()?.context("no relay runs")?;
    world.shell(&format!("kill -9 {}", relay.pid))?;
    until("the end of the relay", crate::agent::LIMIT, || {
        let runs = world.windows().relays()?;
        let run = runs.iter().find(|run| run.pid == relay.pid);
        Ok(run.and_then(|run| run.outcome.clone()))
    })?;
    talker
        .answered(before, now())
        .context("after the relay was killed")
}

/// The guest's answers go to the port that they always went to.
fn same_port(tunnel: &Tunnel, port: u16) -> Result<()> {
    let endpoint = tunnel.endpoint()?;
    ensure!(
        endpoint.port() == port,
        "the relay's port was {port}, now the guest has {endpoint}"
    );
    Ok(())
}

/// Through the port proxy, whose rules the task changes. The client keeps its
/// connection as long as it is answered.
fn tcp_reconnects(world: &World) -> Result<()> {
    world.windows().install(&crate::installed::proxied())?;
    let agent = world.start_agent(&(config("") + PROXY + SSH))?;
    agent.settled(FIRST)?;
    let talker = world.talk(Place::Lan, TCP, &format!("{WINDOWS_ADDRESS}:2222"))?;
    let mut lost = Vec::new();
    for (index, address) in FAR.iter().enumerate() {
        let outage =
            change(world, &talker, address).with_context(|| agent.log().unwrap_or_default())?;
        ensure!(
            outage.failures > 0,
            "a connection to a removed address was answered"
        );
        lost.push((format!("change {} to {address}", index + 1), outage));
        let bare = address.split('/').next().unwrap_or_default();
        agent.settled(bare)?;
        world.forwards(&[(2222, bare, 22)])?;
    }
    let view = world.windows().view()?;
    ensure!(!view.situation.elevated, "something ran elevated");
    ensure!(
        view.task_runs.len() >= 11 && view.task_runs.iter().all(|end| end == "synced"),
        "{:?}",
        view.task_runs
    );
    report("a TCP client in lan, by the task and the port proxy", &lost);
    agent.stop()
}

/// Prints how long each event cut the client off. In one piece, and on lines of
/// its own between those of the runner.
fn report(who: &str, lost: &Lost) {
    let lines: Vec<String> = lost
        .iter()
        .map(|(event, outage)| format!("#   {event}: {} ms", outage.length().as_millis()))
        .collect();
    println!("\n# {who}: cut off for\n{}", lines.join("\n"));
}
