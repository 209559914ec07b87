//! The backend of a forward: portproxy, the relay or none, and how a port moves
//! from one to the other.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, PROXY as TCP_PROXIED, SSH};
use crate::contract::{Answer, Protocol};
use crate::double::machine::{FirewallKind, FirewallRule, ME, Task, forward_task};
use crate::double::situation::Port;
use crate::installed::{INSIDE, TUNNEL, both, listen, listeners, policy, proxied, ten};
use crate::options::Options;
use crate::probe::now;
use crate::process::{HUP, Process};
use crate::runner::trial_with;
use crate::setup::grant;
use crate::status::Status;
use crate::topology::{FIRST, Place, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("backends::auto_follows_the_installation", installation),
        quick("backends::reloads", reloads),
        quick("backends::loopback_addresses", loopback_addresses),
        quick("backends::rule_waits_for_the_relay", waits),
        quick("backends::portproxy_taken_and_excluded", taken),
        quick("backends::reconnects_through_ten_addresses", reconnects),
        quick("backends::task_disabled", task_disabled),
        quick("backends::firewall_blocks", firewall_blocks),
        quick("backends::restore_withdraws_everything", restore),
    ]
}

/// Polls who listens on Windows.
struct Watch<'w>(Process<'w>);

impl<'w> Watch<'w> {
    fn start(world: &'w World) -> Result<Self> {
        let line = "while :; do ss -Htlnpe 'sport = :2222'; echo =; done";
        Ok(Self(world.spawn(
            Place::Windows,
            &["sh", "-c", line],
            &[],
        )?))
    }

    /// Checks that no poll has found two listeners, and that the owners so far were
    /// these, in this order.
    fn saw(&self, owners: &[&str]) -> Result<()> {
        let mut order = Vec::new();
        let seen = until("the owners in their order", LIMIT, || {
            order = self.owners()?;
            Ok((order == owners).then_some(()))
        });
        seen.with_context(|| format!("{order:?} is not {owners:?}"))
    }

    fn owners(&self) -> Result<Vec<&'static str>> {
        let text = self.0.stdout()?;
        let mut order = Vec::new();
        for look in text.split_inclusive("=\n") {
            let found = listeners(look);
            ensure!(found.len() <= 1, "two owners of a port: {found:?}");
            let Some(one) = found.into_iter().next() else {
                continue;
            };
            let owner = if one.program == RELAY { RELAY } else { PROXY };
            if order.last() != Some(&owner) {
                order.push(owner);
            }
        }
        Ok(order)
    }
}

/// Any listener but the relay.
const PROXY: &str = "portproxy";
const RELAY: &str = "wslmesh-relay";
/// What the agent calls it.
const RELAY_BACKEND: &str = "relay";

/// Neither backend ever tried a port that the other one had: portproxy rules would
/// have been reported as taken, the relay's listeners as failed.
fn no_collision(world: &World) -> Result<()> {
    for call in world.windows().calls()? {
        let answer: Option<Answer> = serde_json::from_str(&call.answer).ok();
        let taken = answer.map(|answer| answer.taken).unwrap_or_default();
        ensure!(taken.is_empty(), "{taken:?}");
    }
    for run in world.windows().relays()? {
        let failed = |event: &&String| event.contains("\"failure\":{");
        let failed: Vec<_> = run.events.iter().filter(failed).collect();
        ensure!(failed.is_empty(), "{failed:?}");
    }
    Ok(())
}

fn by(name: &'static str) -> impl Fn(&Status) -> bool {
    move |status| status.serves(name, &["ssh"])
}

/// A TCP client in the LAN gets through.
fn reached(world: &World, at: &str) -> Result<()> {
    let probe = world.probe(at.parse()?)?;
    probe.success_after(0, LIMIT).map(drop)
}

/// Each address of loopback is one of its own: two forwards of one port, of the relay and of
/// the port proxy, for programs on Windows alone.
fn loopback_addresses(world: &World) -> Result<()> {
    let near = |name, address, backend, connect| {
        format!(
            "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-address = \"{address}\"\n\
             listen-port = 2222\nconnect-port = {connect}\nbackend = \"{backend}\"\n"
        )
    };
    let config = near("second", "127.0.0.2", "relay", 22)
        + &near("last", "127.255.255.254", "portproxy", 23);
    let approved = crate::setup::policy(vec![
        crate::contract::Grant {
            listen_address: "127.0.0.2".parse()?,
            ..grant(Protocol::Tcp, (2222, 2222), (22, 22))
        },
        crate::contract::Grant {
            listen_address: "127.255.255.254".parse()?,
            ..crate::setup::proxied((2222, 2222), (23, 23))
        },
    ]);
    world.windows().install(&approved)?;
    let _service = world.echo(Place::Guest, "0.0.0.0:23")?;
    let agent = world.start_agent(&config)?;
    agent.wait("both", |status| {
        status.serves(RELAY_BACKEND, &["second"]) && status.serves(PROXY, &["last"])
    })?;
    for at in ["127.0.0.2:2222", "127.255.255.254:2222"] {
        let probe = world.probe_from(Place::Windows, at.parse()?)?;
        probe.success_after(0, LIMIT).map(drop).context(at)?;
    }
    for (place, at) in [
        (Place::Windows, "127.0.0.1:2222"),
        (Place::Windows, "192.168.50.10:2222"),
        (Place::Lan, "192.168.50.10:2222"),
    ] {
        let probe = world.probe_from(place, at.parse()?)?;
        until("three tries", LIMIT, || {
            let tries = probe.attempts()?;
            ensure!(tries.iter().all(|one| !one.ok), "{at} answers");
            Ok((tries.len() >= 3).then_some(()))
        })?;
    }
    agent.healthy()?;
    agent.stop()
}

fn unreachable(world: &World, agent: &Agent) -> Result<()> {
    world.closed(Place::Windows, "t", 2222)?;
    let relay = || Ok(world.windows().relay()?.is_none().then_some(()));
    until("the relay's end", LIMIT, relay).context(agent.log()?)
}

/// After `wslmesh host install` the relay serves the network, or the port proxy what
/// asks for it; after `wslmesh host uninstall` the relay serves Windows alone again.
fn installation(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    let before = world.windows().snapshot()?;
    let config = format!("{SSH}backend = \"portproxy\"\n{TUNNEL}");
    let agent = world.start_agent(&both("auto"))?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh", "wg"]))?;
    let watch = Watch::start(world)?;
    let service = world.station(Place::Guest, INSIDE)?;
    let client = world.station(Place::Lan, "0.0.0.0:0")?;
    watch.saw(&[RELAY])?;

    let output = world.wslmesh(&["host", "install", "--yes"])?;
    ensure!(output.success(), "{output:?}");
    agent.healthy()?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh", "wg"]))?;
    reached(world, "192.168.50.10:2222")?;
    watch.saw(&[RELAY])?;
    agent.reload(&config)?;
    let output = world.wslmesh(&["host", "install", "--yes"])?;
    ensure!(output.success(), "{output:?}");
    let up =
        |status: &Status| status.serves("portproxy", &["ssh"]) && status.serves("relay", &["wg"]);
    agent.wait("the port proxy", up)?;
    agent.healthy()?;
    reached(world, "192.168.50.10:2222")?;
    client.reaches(listen()?, &service, "hello")?;
    world.forwards(&[(2222, FIRST, 22)])?;
    watch.saw(&[RELAY, PROXY])?;

    let output = world.wslmesh(&["host", "uninstall", "--yes"])?;
    ensure!(output.success(), "{output:?}");
    agent.reload(&both("auto"))?;
    agent.ill("relay-loopback")?;
    agent.wait("the relay again", |status| {
        status.serves("relay", &["ssh", "wg"])
    })?;
    world.forwards(&[])?;
    let heard = world.listener(Place::Windows, "u", 51820)?;
    ensure!(heard.at == "127.0.0.1:51820", "{heard:?}");
    watch.saw(&[RELAY, PROXY, RELAY])?;
    no_collision(world)?;
    agent.stop()?;
    ensure!(world.windows().snapshot()?.machine == before.machine);
    Ok(())
}

/// A reload that names another backend moves the ports, from each to each.
fn reloads(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let agreed = |policy| world.windows().install(&policy);
    let config = |backend: &str| format!("[host]\nbackend = \"{backend}\"\n{SSH}");
    let agent = world.start_agent(&config("relay"))?;
    agent.wait("the relay", by("relay"))?;
    let watch = Watch::start(world)?;
    reached(world, "192.168.50.10:2222")?;
    watch.saw(&[RELAY])?;
    // Not what was agreed to: the relay's grant is no leave for the port proxy.
    agent.reload(&config("portproxy"))?;
    let found = agent.raised("forward-outside-policy")?;
    ensure!(found.remediation.contains("host install"), "{found:?}");
    world.forwards(&[])?;
    agreed(proxied())?;
    agent.process().signal(HUP)?;
    agent.wait("the port proxy", by("portproxy"))?;
    world.forwards(&[(2222, FIRST, 22)])?;
    reached(world, "192.168.50.10:2222")?;
    watch.saw(&[RELAY, PROXY])?;
    agreed(policy())?;
    agent.reload(&config("relay"))?;
    agent.wait("the relay", by("relay"))?;
    world.forwards(&[])?;
    reached(world, "192.168.50.10:2222")?;
    watch.saw(&[RELAY, PROXY, RELAY])?;
    agent.reload(&config("none"))?;
    unreachable(world, &agent)?;
    agreed(proxied())?;
    agent.reload(&config("portproxy"))?;
    agent.wait("the port proxy", by("portproxy"))?;
    reached(world, "192.168.50.10:2222")?;
    watch.saw(&[RELAY, PROXY, RELAY, PROXY])?;
    no_collision(world)?;
    // Without a backend the rules stay, with a finding.
    agent.reload(&config("none"))?;
    let found = agent.raised("forward-leftover")?;
    ensure!(found.severity == "info", "{found:?}");
    world.forwards(&[(2222, FIRST, 22)])?;
    agent.stop()
}

/// A relay that exits slowly keeps its port: Windows is asked for a rule only once
/// the port is closed.
fn waits(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    let agent = world.start_agent(&both("relay"))?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh", "wg"]))?;
    let pid = world
        .windows()
        .relay()?
        .context("no relay")?
        .pid
        .to_string();
    world.guest(&["kill", "-STOP", &pid])?.ok()?;
    agent.reload(&format!("{SSH}backend = \"portproxy\"\n{TUNNEL}"))?;
    agent.says("configuration reloaded")?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    // Longer than a call takes.
    std::thread::sleep(Duration::from_millis(500));
    let calls = world.windows().calls()?;
    ensure!(
        calls
            .iter()
            .all(|call| !call.request.contains("\"portproxy\"")),
        "asked too early: {calls:#?}"
    );
    let status = agent.status()?.context("no status")?;
    ensure!(!status.serves("portproxy", &["ssh"]), "{status:?}");
    world.guest(&["kill", "-CONT", &pid])?.ok()?;
    agent.wait("both", |status| {
        status.serves("portproxy", &["ssh"]) && status.serves("relay", &["wg"])
    })?;
    world.forwards(&[(2222, SECOND, 22)])?;
    let run = world.windows().relay()?.context("no relay")?;
    ensure!(run.pid.to_string() == pid, "another relay");
    no_collision(world)?;
    agent.stop()
}

/// A port that another program has, and one that Windows reserves.
fn taken(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    let port = |forbidden, owner: Option<&str>| Port {
        protocol: Protocol::Tcp,
        forbidden,
        owner: owner.map(str::to_owned),
    };
    world.windows().set(|situation| {
        let owned = port(false, Some("nginx (1234)"));
        situation.ports.insert(2222, owned);
        situation.ports.insert(8000, port(true, None));
    })?;
    let address = "192.168.50.10:2222";
    let owner = world.echo(Place::Windows, address)?;
    let config = crate::rules::two() + &crate::agent::forward("other", 9000, 90);
    let agent = world.start_agent(&[TCP_PROXIED, &config].concat())?;
    let both = |status: &Status| {
        let named = |code, name| {
            let found = status.finding(code);
            found.is_some_and(|found| found.subject == name)
        };
        named("forward-taken", "ssh") && named("forward-excluded", "web")
    };
    let status = agent.wait("both findings", both)?;
    let found = status.finding("forward-taken").context("no finding")?;
    ensure!(found.detail.contains("nginx (1234)"), "{found:?}");
    let found = status.finding("forward-excluded").context("no finding")?;
    ensure!(found.remediation.contains("excludedportrange"), "{found:?}");
    world.forwards(&[(9000, FIRST, 90)])?;
    drop(owner);
    world.windows().set(|situation| situation.ports.clear())?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    world.forwards(&[(2222, FIRST, 22), (8000, FIRST, 80), (9000, FIRST, 90)])?;
    agent.stop()
}

/// The elevated task re-points the rule at each new address, and a client that
/// reconnects gets through.
fn reconnects(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    let agent = world.start_agent(&[TCP_PROXIED, SSH].concat())?;
    let at: SocketAddrV4 = "192.168.50.10:2222".parse()?;
    let probe = world.probe(at.into())?;
    probe.success_after(0, LIMIT)?;
    for address in ten() {
        let begun = now();
        world.change_address(&format!("{address}/20"))?;
        probe.success_after(begun, LIMIT)?;
        world.forwards(&[(2222, &address, 22)])?;
    }
    let runs: BTreeSet<String> = world.windows().view()?.task_runs.into_iter().collect();
    ensure!(runs == BTreeSet::from(["synced".to_owned()]), "{runs:?}");
    ensure!(world.windows().relays()?.is_empty(), "a relay for TCP");
    agent.healthy()?;
    agent.stop()
}

/// `wslmesh restore` removes the rules that the task made; the policy and its firewall
/// rules stay, and so do foreign rules.
fn restore(world: &World) -> Result<()> {
    let foreign = crate::rules::foreign(world)?;
    world.windows().install(&proxied())?;
    let before = world.windows().snapshot()?.without_messages();
    let agent = world.start_agent(&format!("{SSH}backend = \"portproxy\"\n{TUNNEL}"))?;
    let up =
        |status: &Status| status.serves("portproxy", &["ssh"]) && status.serves("relay", &["wg"]);
    agent.wait("both", up)?;
    world.change_address(&format!("{SECOND}/20"))?;
    until("the rule at the new address", LIMIT, || {
        let ours = crate::contract::Rule::new(("0.0.0.0", 2222), (SECOND, 22))?;
        Ok((world.windows().ledger()? == [ours]).then_some(()))
    })?;
    agent.stop()?;
    let output = world.wslmesh(&["restore"])?;
    ensure!(output.success(), "{output:?}");
    ensure!(world.windows().table()? == foreign);
    world.windows().snapshot()?.without_messages().is(&before)
}

/// With the task disabled the rules stay, with a finding; once it is enabled they
/// are corrected.
fn task_disabled(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    let agent = world.start_agent(&[TCP_PROXIED, SSH].concat())?;
    world.forwards(&[(2222, FIRST, 22)])?;
    agent.healthy()?;
    let name = forward_task(ME);
    let task = world.windows().view()?.machine.tasks.remove(&name);
    let task = task.context("no task")?;
    let disabled = Task {
        enabled: false,
        ..task.clone()
    };
    world.windows().put_task(&name, Some(disabled))?;
    world.change_address(&format!("{SECOND}/20"))?;
    let found = agent.ill("host-task-failed")?;
    ensure!(found.detail.contains("disabled"), "{found:?}");
    world.forwards(&[(2222, FIRST, 22)])?;
    world.windows().put_task(&name, Some(task))?;
    agent.process().signal(HUP)?;
    world.forwards(&[(2222, SECOND, 22)])?;
    agent.healthy()?;
    // Starting it without a reason changes nothing.
    let before = world.windows().view()?.machine;
    world.windows().run_task()?;
    ensure!(world.windows().view()?.machine == before);
    agent.stop()
}

/// A Block rule that overrides ours is reported and not touched.
fn firewall_blocks(world: &World) -> Result<()> {
    let grants = vec![grant(Protocol::Udp, (51820, 51820), (51821, 51821))];
    world.windows().install(&crate::setup::policy(grants))?;
    let block = FirewallRule {
        kind: FirewallKind::Windows,
        group: None,
        enabled: true,
        allow: false,
        protocol: Some(Protocol::Udp),
        ports: None,
        local: None,
        program: Some("C:\\Program Files\\wslmesh\\wslmesh-relay.exe".to_owned()),
        service: None,
        local_only: false,
        profiles: vec!["private".to_owned()],
    };
    let name = "{0F1E2D3C} wslmesh-relay.exe";
    world.windows().put_firewall(name, Some(block.clone()))?;
    let agent = world.start_agent(TUNNEL)?;
    let found = agent.ill("firewall-blocked")?;
    ensure!(
        found.detail.contains("{0F1E2D3C}") && found.detail.contains("51820"),
        "{found:?}"
    );
    let rules = world.windows().view()?.machine.firewall;
    ensure!(rules.get(name) == Some(&block), "{rules:?}");
    world.windows().put_firewall(name, None)?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    agent.stop()
}
