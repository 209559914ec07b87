//! Modes in which the guest has Windows' own ports: a forward with two ports needs
//! the relay in here, one with equal ports needs no relay.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{LIMIT, SSH, forward};
use crate::contract::{Firewall, Grant, MIRRORED, Policy, Protocol};
use crate::double::machine::{FirewallKind, FirewallRule, ME, forward_task};
use crate::installed::{TUNNEL, both, proxied, ten};
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::setup::{grant, said};
use crate::status::Status;
use crate::topology::{FIRST, GUEST_ADDRESS, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let mode = |name: &str, mode: &str, body| {
        let options = Options {
            mode: mode.to_owned(),
            ..Options::quick()
        };
        trial_with(name, options, body)
    };
    vec![
        mode("mirrored::unequal_ports", "mirrored", unequal),
        mode("mirrored::unequal_ports_consomme", "consomme", unequal),
        mode("mirrored::equal_ports_need_no_backend", "mirrored", equal),
        mode("mirrored::relay_killed", "mirrored", killed),
        mode("mirrored::firewall_rules", "mirrored", rules),
        mode("mirrored::nothing_stays_of_nat", "nat", after_nat),
        mode("mirrored::port_that_windows_keeps", "mirrored", kept),
        mode("mirrored::last_of_a_loop_is_not_served", "mirrored", circle),
        mode("consomme::nothing_stays_of_nat", "nat", |world| {
            left_nat(world, "consomme")
        }),
        mode("bridged::nothing_stays_of_nat", "nat", |world| {
            left_nat(world, "bridged")
        }),
        mode("none::nothing_stays_of_nat", "nat", |world| {
            left_nat(world, "none")
        }),
    ]
}

fn up(status: &Status) -> bool {
    status.serves("relay", &["ssh", "wg"])
}

/// A TCP client gets through the relay here.
pub(crate) fn connects(world: &World, address: &str) -> Result<()> {
    let line = format!("exec 3<>/dev/tcp/{address}/2222; echo ping >&3; read -t 5 a <&3; echo $a");
    let mut said = String::new();
    until("an echo through the relay", LIMIT, || {
        said = world.host(&["bash", "-c", &line])?.stdout;
        Ok((said.trim() == "ping").then_some(()))
    })
    .with_context(|| format!("it said {said:?}"))
}

/// TCP and UDP come through here, at each address the guest gets. The windows
/// namespace is a neighbour that reaches the guest, as any machine in the LAN
/// reaches a mirrored one.
fn unequal(world: &World) -> Result<()> {
    let agent = world.start_agent(&both("auto").replace("\"local\"", "\"none\""))?;
    let status = agent.wait("the relay", up)?;
    ensure!(
        status.relay.is_some_and(|relay| relay.location == "guest"),
        "it is elsewhere"
    );
    let service = world.station(Place::Guest, "0.0.0.0:51821")?;
    let client = world.station(Place::Windows, "0.0.0.0:0")?;
    let sockets = || -> Result<_> {
        Ok((
            world.listener(Place::Guest, "t", 2222)?,
            world.listener(Place::Guest, "u", 51820)?,
        ))
    };
    let first = sockets()?;
    ensure!(
        first.0.program == "wslmesh-relay" && first.1.at == "0.0.0.0:51820",
        "{first:?}"
    );
    let mut sources = std::collections::BTreeSet::new();
    let begin = FIRST.to_owned();
    for address in std::iter::once(begin).chain(ten().take(3)) {
        if address != FIRST {
            world.change_address(&format!("{address}/20"))?;
        }
        connects(world, &address)?;
        let to = format!("{address}:51820").parse()?;
        let heard = client.reaches(to, &service, &format!("to {address}"))?;
        sources.insert(heard.from.port());
        let back = service.reaches(heard.from, &client, &format!("from {address}"))?;
        ensure!(back.from == to, "{back:?}");
    }
    ensure!(sources.len() == 1, "the client's port changed: {sources:?}");
    ensure!(sockets()? == first, "{:?} was {first:?}", sockets()?);
    agent.healthy()?;
    ensure!(world.windows().relays()?.is_empty(), "a relay on Windows");
    agent.stop()?;
    world.closed(Place::Guest, "t", 2222)?;
    world.closed(Place::Guest, "u", 51820)
}

fn equal(world: &World) -> Result<()> {
    let agent = world.start_agent(&forward("ssh", 22, 22))?;
    let guest = |status: &Status| status.serves("guest", &["ssh"]);
    let status = agent.wait("no need", guest)?;
    ensure!(status.relay.is_none(), "{status:?}");
    agent.healthy()?;
    let heard = world.listener(Place::Guest, "t", 22)?;
    ensure!(heard.program != "wslmesh-relay", "{heard:?}");
    ensure!(
        world.windows().calls()?.is_empty(),
        "Windows was called for nothing"
    );
    agent.stop()
}

/// The relay in here is started again like the one on Windows.
fn killed(world: &World) -> Result<()> {
    let agent = world.start_agent(SSH)?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    let pid = |of: &str| -> Result<String> {
        let text = world.guest(&["ss", "-Htlnp", "sport = :2222"])?.ok()?;
        let pid = text.split_once("pid=").map(|(_, rest)| rest);
        let pid = pid.and_then(|rest| rest.split(',').next());
        pid.map(str::to_owned).with_context(|| of.to_owned())
    };
    let first = pid("no relay")?;
    world.guest(&["kill", "-9", &first])?.ok()?;
    let found = agent.raised("relay-restarted")?;
    ensure!(found.detail.contains("signal 9"), "{found:?}");
    connects(world, FIRST)?;
    ensure!(pid("no second relay")? != first);
    agent.healthy()?;
    agent.stop()
}

fn rule(world: &World, end: &str) -> Result<Option<FirewallRule>> {
    let rules = world.windows().view()?.machine.firewall;
    let mut found = rules.into_iter().filter(|(name, _)| name.ends_with(end));
    Ok(found.next().map(|(_, rule)| rule))
}

/// A policy for [`TUNNEL`] and a guest that shares Windows' addresses.
fn mirrored() -> Policy {
    Policy {
        mode: MIRRORED.to_owned(),
        ..crate::setup::policy(vec![
            Grant {
                firewall: Firewall::None,
                ..grant(Protocol::Tcp, (2222, 2222), (22, 22))
            },
            grant(Protocol::Udp, (51820, 51820), (51821, 51821)),
        ])
    }
}

/// Windows' ordinary rules let clients in to the guest, or Hyper-V's where those do not
/// hold for guests; the setup alone makes them.
fn rules(world: &World) -> Result<()> {
    for (merge, end, kind) in [
        (true, "-udp-51820-mirrored", FirewallKind::Windows),
        (false, "-udp-51820-hyperv", FirewallKind::HyperV),
    ] {
        world.windows().set(|now| now.host_policy_merge = merge)?;
        world.windows().install(&mirrored())?;
        let made = rule(world, end)?.context(end)?;
        ensure!(
            made.kind == kind
                && made.ports == Some((51820, 51820))
                && made.local_only
                && made.program.is_none()
                && made.service.is_none(),
            "{made:?}"
        );
        let before = world.windows().view()?.machine;
        let agent = world.start_agent(&both("auto"))?;
        agent.wait("the relay", up)?;
        agent.healthy()?;
        let view = world.windows().view()?;
        ensure!(view.machine == before, "{:#?}", view.machine);
        ensure!(view.task_runs.is_empty(), "{:?}", view.task_runs);
        // Another tool removes it.
        world
            .windows()
            .alter(|machine| machine.firewall.retain(|name, _| !name.ends_with(end)))?;
        agent.process().signal(HUP)?;
        let found = agent.ill("firewall-failed")?;
        ensure!(found.detail.contains("wslmesh host install"), "{found:?}");
        world.windows().install(&mirrored())?;
        agent.process().signal(HUP)?;
        agent.healthy()?;
        agent.stop()?;
    }
    Ok(())
}

/// WSL was restarted in another mode: what the port proxy has is withdrawn, Windows'
/// relay is not started, and the rules are those of the other mode until an install.
fn after_nat(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    let agent = world.start_agent(&format!("{SSH}backend = \"portproxy\"\n{TUNNEL}"))?;
    let nat =
        |status: &Status| status.serves("portproxy", &["ssh"]) && status.serves("relay", &["wg"]);
    agent.wait("both", nat)?;
    agent.stop()?;
    world.forwards(&[(2222, FIRST, 22)])?;
    let starts = world.windows().relays()?.len();
    world.switch_mode("mirrored")?;
    let agent = world.start_agent(&both("auto"))?;
    world.forwards(&[])?;
    let found = agent.raised("firewall-failed")?;
    ensure!(
        found.detail.contains("for mode nat") && found.detail.contains("wslmesh host install"),
        "{found:?}"
    );
    let output = world.cli(&["host", "install", "--yes"])?;
    ensure!(output.success(), "{output:?}");
    agent.healthy()?;
    let machine = world.windows().view()?.machine;
    let ours = |name: &&String| name.contains(ME);
    let names: Vec<&String> = machine.firewall.keys().filter(ours).collect();
    ensure!(
        names == [&format!("wslmesh-{ME}-udp-51820-mirrored")],
        "{names:?}"
    );
    ensure!(
        !machine.tasks.contains_key(&forward_task(ME)),
        "{machine:#?}"
    );
    agent.wait("the relay in here", up)?;
    connects(world, GUEST_ADDRESS.trim_end_matches("/20"))?;
    ensure!(world.windows().relays()?.len() == starts);
    agent.stop()
}

/// Rules of NAT times are withdrawn in the other modes too, once.
fn left_nat(world: &World, mode: &str) -> Result<()> {
    world.windows().install(&proxied())?;
    let config = format!("{SSH}backend = \"portproxy\"\n");
    let agent = world.start_agent(&config)?;
    agent.wait("the port proxy", |status| {
        status.serves("portproxy", &["ssh"])
    })?;
    agent.stop()?;
    world.forwards(&[(2222, FIRST, 22)])?;
    world.switch_mode(mode)?;
    let agent = world.start_agent(&config)?;
    // What it knows of them then outlives it.
    agent.says("1 removed")?;
    world.forwards(&[])?;
    agent.wait("the mode", |status| status.mode == mode)?;
    agent.stop()?;
    let calls = world.windows().calls()?.len();
    let agent = world.start_agent(&config)?;
    agent.wait("the mode", |status| status.mode == mode)?;
    agent.stop()?;
    let again = world.windows().calls()?.len();
    ensure!(again == calls, "{calls} calls became {again}");
    Ok(())
}

/// A port that never reaches a distribution is not called up.
fn kept(world: &World) -> Result<()> {
    let agent = world.start_agent(&forward("web", 5357, 80))?;
    let found = agent.raised("forward-kept")?;
    ensure!(
        found.detail.contains("tcp 5357") && found.remediation.contains("listen-port"),
        "{found:?}"
    );
    let status = agent.status()?.context("no status")?;
    ensure!(status.relay.is_none(), "{status:?}");
    world.closed(Place::Guest, "t", 5357)?;
    agent.reload(&forward("web", 8080, 80))?;
    agent.cleared("forward-kept")?;
    agent.stop()
}

/// What leads into another forward's listener is served and said; of a loop the last one is
/// not served, and `port` names it with and without an agent.
fn circle(world: &World) -> Result<()> {
    let chain = forward("web", 2222, 2223) + &forward("ssh", 2223, 22);
    let agent = world.start_agent(&chain)?;
    agent.wait("both", |status| status.serves("relay", &["web", "ssh"]))?;
    connects(world, FIRST)?;
    let found = agent.raised("forward-chain")?;
    ensure!(
        found.subject == "web" && found.detail.contains("forward \"ssh\""),
        "{found:?}"
    );
    agent.reload(&(forward("web", 2222, 2223) + &forward("ssh", 2223, 2222)))?;
    let found = agent.raised("forward-loop")?;
    ensure!(found.detail.contains("not served"), "{found:?}");
    agent.cleared("forward-chain")?;
    world.closed(Place::Guest, "t", 2223)?;
    agent.wait("the first", |status| status.serves("relay", &["web"]))?;
    let named = || {
        said(
            &world.cli(&["port", "2223", "--json"])?,
            3,
            &["forward-loop"],
        )
    };
    named()?;
    agent.stop()?;
    named()
}
