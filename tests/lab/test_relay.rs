//! UDP and TCP through the relay on Windows, run by the agent: stable source
//! ports, and failures of the relay itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use wslmesh_relay::protocol::{Event, VERSION};

use crate::agent::{Agent, CONFIG, LIMIT, SSH};
use crate::double::machine::{ME, local_app_data};
use crate::double::relay::STAND_IN;
use crate::installed::{INSIDE, LISTEN, TUNNEL, both, listen, policy, proxied, ten};
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::station::{CROWD, Station};
use crate::status::Status;
use crate::talker::UDP;
use crate::topology::Place;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("relay::ten_addresses_one_source", ten_addresses),
        quick("relay::killed", killed),
        quick("relay::crash_loop", crash_loop),
        quick("relay::sends_invalid_event", invalid_event),
        quick("relay::never_ready", never_ready),
        quick("relay::refuses_elevation", elevated),
        quick("relay::port_in_use", port_in_use),
        quick("relay::unavailable_address", unavailable_address),
        quick("relay::made_up_senders", made_up_senders),
        quick("relay::floods_the_agent", floods),
        quick("relay::vanishes", vanishes),
        quick("relay::not_installed", not_installed),
        quick("relay::uninstalled_by_another", uninstalled_by_another),
        quick("relay::exits_with_the_agent", exits_with_the_agent),
        quick("relay::next_agent_takes_over", next_agent_takes_over),
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

fn one_client(status: &Status) -> bool {
    status
        .relay
        .as_ref()
        .is_some_and(|relay| relay.sessions == 1)
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

    /// Both sides send until the relay knows that the client is there; returns the
    /// source address that the guest sees.
    fn greet(&self) -> Result<std::net::SocketAddr> {
        let source = self.inward("hello")?;
        self.outward(source, "welcome")?;
        self.inward("thank you")
    }

    /// The client sends; returns the source address that the guest sees.
    fn inward(&self, text: &str) -> Result<std::net::SocketAddr> {
        let heard = self.client.reaches(listen()?, &self.service, text)?;
        Ok(heard.from)
    }

    /// The guest sends to the client's port on Windows. The client must receive it
    /// from the port that it sent to.
    fn outward(&self, to: std::net::SocketAddr, text: &str) -> Result<()> {
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
        // Either side in turn sends first after the change.
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

/// The relay is killed: the next one takes over its table, and the guest, which does
/// not notice, reaches the client first.
fn killed(world: &World) -> Result<()> {
    let tunnel = Tunnel::start(world)?;
    let source = tunnel.greet()?;
    tunnel.agent.wait("one client", one_client)?;
    let first = world.windows().relay()?.context("no relay")?;
    world.guest(&["kill", "-9", &first.pid.to_string()])?.ok()?;
    tunnel.outward(source, "are you there")?;
    ensure!(tunnel.inward("yes")? == source);
    let second = world.windows().relay()?.context("no relay")?;
    ensure!(second.pid != first.pid);
    let command = second.commands.first().context("no command")?;
    ensure!(
        command.contains("\"client\":\"192.168.50.20:40000\"")
            && command.contains(&format!("\"port\":{}", source.port())),
        "{command}"
    );
    let found = tunnel.agent.raised("relay-restarted")?;
    ensure!(
        found.severity == "info" && !found.detail.is_empty(),
        "{found:?}"
    );
    tunnel.agent.healthy()?;
    tunnel.agent.stop()
}

/// No relay is left, however the agent exits.
fn exits_with_the_agent(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let gone = |what: &str| {
        let mut left = (None, Vec::new());
        until(what, LIMIT, || {
            let mut processes = world.processes_with("wslmesh-relay")?;
            // The lab's own have the program's path among their options.
            processes.retain(|(_, line)| !line.starts_with("wslmesh-lab "));
            left = (world.windows().relay()?, processes);
            Ok((left.0.is_none() && left.1.is_empty()).then_some(()))
        })
        .with_context(|| format!("{left:?}"))?;
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
    // Without a forward it exits too.
    let agent = world.start_agent(&both("relay"))?;
    agent.wait("the relay", |status| status.serves("relay", &["wg", "ssh"]))?;
    world.write(CONFIG, "")?;
    agent.process().signal(HUP)?;
    gone("its end after a reload")?;
    agent.stop()
}

/// The next agent gives its relay the table of the last one, whether that was
/// stopped or killed.
fn next_agent_takes_over(world: &World) -> Result<()> {
    let Tunnel {
        agent,
        client,
        service,
    } = Tunnel::start(world)?;
    let source = client.reaches(listen()?, &service, "hello")?.from;
    service.reaches(source, &client, "welcome")?;
    client.reaches(listen()?, &service, "thank you")?;
    agent.wait("one client", one_client)?;
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
            agent.kill()?;
            agent = world.start_agent(TUNNEL)?;
        }
    }
    agent.stop()
}

/// A relay that crashes is restarted less and less often, with a finding until it
/// runs.
fn crash_loop(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    world.windows().set_relay_crashes(Some(7))?;
    let agent = world.start_agent(TUNNEL)?;
    let found = agent.ill("relay-failed")?;
    ensure!(found.detail.contains("exit code 7"), "{found:?}");
    let starts = until("three starts", LIMIT, || {
        let starts = world.windows().relays()?;
        Ok((starts.len() >= 3).then_some(starts))
    })?;
    let times: Vec<u64> = starts.iter().map(|run| run.at / 1_000_000).collect();
    let [first, second, third, ..] = times.as_slice() else {
        bail!("{times:?}")
    };
    ensure!(
        second - first >= 1000 && third - second >= 2000,
        "started at {times:?} ms"
    );
    let logged = agent.log()?.matches("relay-failed").count();
    ensure!(logged == 1, "logged {logged} times");
    // A reload retries at once.
    world.windows().set_relay_crashes(None)?;
    agent.process().signal(HUP)?;
    agent.wait_for("the relay", Duration::from_secs(3), serves)?;
    agent.healthy()?;
    agent.says("relay-failed cleared")?;
    agent.stop()
}

fn invalid_event(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let text = "{\"event\":\"ready\"}\u{1b}[2J\n";
    world.windows().set_relay_says(Some(text))?;
    let agent = world.start_agent(TUNNEL)?;
    let found = agent.ill("relay-failed")?;
    ensure!(
        found.detail.contains("not an event") && !found.detail.chars().any(char::is_control),
        "{found:?}"
    );
    until("its end", LIMIT, || {
        Ok(world.windows().relay()?.is_none().then_some(()))
    })?;
    world.windows().set_relay_says(None)?;
    agent.process().signal(HUP)?;
    agent.wait("the relay", serves)?;
    agent.healthy()?;
    agent.stop()
}

/// A relay that never becomes ready delays nothing else.
fn never_ready(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    world.windows().set_relay_says(Some(""))?;
    let config = format!("{SSH}backend = \"portproxy\"\n{TUNNEL}");
    let agent = world.start_agent(&config)?;
    for address in ten().take(2) {
        world.change_address(&format!("{address}/20"))?;
        agent.has_written(&address)?;
        world.forwards(&[(2222, &address, 22)])?;
    }
    let status = agent.status()?.context("no status")?;
    ensure!(!serves(&status), "{status:?}");
    agent.stop_within(Duration::from_secs(5))?;
    until("the caller's end", LIMIT, || {
        let ended = world.windows().relays()?;
        Ok(ended.iter().all(|run| run.outcome.is_some()).then_some(()))
    })
}

/// A start with an elevated token is refused and not retried soon; the finding has
/// the fix.
fn elevated(world: &World) -> Result<()> {
    let agent = world.start_agent(&both("relay"))?;
    let found = agent.raised("relay-elevated")?;
    ensure!(
        found.remediation.contains("wsl --shutdown")
            && found.remediation.contains("ordinary terminal"),
        "{found:?}"
    );
    // Longer than the first delay after another failure.
    std::thread::sleep(Duration::from_millis(1500));
    let starts = world.windows().relays()?;
    ensure!(
        starts.len() == 1 && starts.iter().all(|run| run.commands.is_empty()),
        "{starts:?}"
    );
    ensure!(world.listens(Place::Windows, "u", 51820)?.is_empty());
    world.windows().set_elevated(false)?;
    agent.process().signal(HUP)?;
    agent.wait("the relay", serves)?;
    agent.cleared("relay-elevated")?;
    agent.stop()
}

/// Another program has the port; the other forward is served nevertheless.
fn port_in_use(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let owner = world.station(Place::Windows, LISTEN)?;
    let agent = world.start_agent(&both("relay"))?;
    let found = agent.ill("forward-taken")?;
    ensure!(
        found.subject == "wg"
            && found.detail.contains("0.0.0.0:51820")
            && found.remediation.contains("listen-port"),
        "{found:?}"
    );
    agent.wait("the other one", |status| status.serves("relay", &["ssh"]))?;
    let heard = world.listener(Place::Windows, "u", 51820)?;
    ensure!(heard.program != "wslmesh-relay", "{heard:?}");
    drop(owner);
    agent.process().signal(HUP)?;
    agent.wait("the relay", serves)?;
    agent.healthy()?;
    let starts = world.windows().relays()?.len();
    ensure!(starts == 1, "{starts} starts of the relay");
    agent.stop()
}

fn unavailable_address(world: &World) -> Result<()> {
    let mut policy = policy();
    for grant in &mut policy.grants {
        grant.listen_address = "192.168.50.99".parse()?;
    }
    world.windows().install(&policy)?;
    let agent = world.start_agent(&format!("{TUNNEL}listen-address = \"192.168.50.99\"\n"))?;
    let found = agent.ill("forward-no-address")?;
    ensure!(
        found.subject == "wg" && found.detail.contains("192.168.50.99"),
        "{found:?}"
    );
    // As when a network is joined.
    world
        .host(&["ip", "addr", "add", "192.168.50.99/24", "dev", "Ethernet"])?
        .ok()?;
    agent.process().signal(HUP)?;
    agent.wait("the relay", serves)?;
    agent.healthy()?;
    agent.stop()
}

/// A flood of datagrams, each from another sender: sessions that the guest has
/// answered stay, and a new peer of any forward is served.
fn made_up_senders(world: &World) -> Result<()> {
    const OTHER: &str = "[[forward]]\nname = \"other\"\nprotocol = \"udp\"\nlisten-port = 51830\nconnect-port = 51831\nfirewall = \"local\"\n";
    world.windows().install(&policy())?;
    let agent = world.start_agent(&format!("{TUNNEL}{OTHER}"))?;
    agent.wait("the relay", |status| {
        status.serves("relay", &["wg", "other"])
    })?;
    let tunnel = Tunnel {
        agent,
        client: world.station(Place::Lan, "0.0.0.0:40000")?,
        service: world.station(Place::Guest, INSIDE)?,
    };
    let source = tunnel.greet()?;
    let answering = world.answer(Place::Guest, "0.0.0.0:51831")?;
    let new_peer = || -> Result<()> {
        let begun = Instant::now();
        world.talk(Place::Lan, UDP, "192.168.50.10:51830")?;
        let took = begun.elapsed();
        println!("a new peer of another forward: {took:?}");
        ensure!(took < Duration::from_secs(1), "answered after {took:?}");
        Ok(())
    };
    let flood = ["/init", crate::ROLE, CROWD, LISTEN, "20000"];
    let flooding = world.spawn(Place::Lan, &flood, &[])?;
    new_peer()?;
    // Of the flooded forward too, and who is known stays so.
    let begun = Instant::now();
    let newcomer = world.station(Place::Lan, "0.0.0.0:40001")?;
    newcomer.reaches(listen()?, &tunnel.service, "a new peer")?;
    ensure!(tunnel.inward("in the flood")? == source);
    tunnel.outward(source, "as well")?;
    let took = begun.elapsed();
    println!("both peers of the flooded forward: {took:?}");
    ensure!(took < Duration::from_secs(2), "answered after {took:?}");
    flooding.finish(LIMIT)?.ok()?;
    new_peer()?;
    let found = tunnel.agent.ill("relay-limit")?;
    ensure!(
        found.subject == "wg" && found.detail.contains("limit of 4096"),
        "{found:?}"
    );
    ensure!(tunnel.inward("still here")? == source);
    tunnel.outward(source, "so are we")?;
    // The agent hears of answered sessions alone.
    let status = tunnel.agent.status()?.context("no status")?;
    let sessions = status.relay.map_or(0, |relay| relay.sessions);
    ensure!(sessions <= 3, "{sessions} sessions");
    drop(answering);
    tunnel.agent.stop()
}

/// A relay that sends events without end is ended, and takes neither memory nor disk.
fn floods(world: &World) -> Result<()> {
    let ready = serde_json::to_string(&Event::Ready {
        version: VERSION,
        program: "0.1.0".to_owned(),
        attached: None,
    })?;
    let counters = "{\"event\":\"counters\",\"forwards\":[]}\n";
    let opened = "{\"event\":\"sessions\",\"complete\":false,\"opened\":[{\"listen-address\":\"0.0.0.0\",\"listen-port\":51820,\"client\":\"192.0.2.1:#\",\"port\":#}],\"closed\":[]}\n";
    world.windows().install(&policy())?;
    for (line, text) in [
        (counters, "floods the agent"),
        (opened, "too many sessions"),
    ] {
        world
            .windows()
            .set_relay_says(Some(&format!("{ready}\n")))?;
        world.windows().set_relay_repeats(Some(line))?;
        let before = world.windows().relays()?.len();
        let agent = world.start_agent(TUNNEL)?;
        let found = agent.ill("relay-failed")?;
        ensure!(found.detail.contains(text), "{found:?}");
        // It is started again, but not at once, and nothing else waits.
        let starts = until("three starts", LIMIT, || {
            let starts = world.windows().relays()?.split_off(before);
            Ok((starts.len() >= 3).then_some(starts))
        })?;
        let times: Vec<u64> = starts.iter().map(|run| run.at / 1_000_000).collect();
        ensure!(
            times
                .iter()
                .zip(times.iter().skip(1))
                .all(|(one, next)| next - one >= 1000),
            "started at {times:?} ms"
        );
        for address in ten().take(2) {
            world.change_address(&format!("{address}/20"))?;
            agent.has_written(&address)?;
        }
        let peak = agent.peak()?;
        let table = world.path("/run/wslmesh/relay-sessions.json");
        let table = std::fs::metadata(table).map_or(0, |file| file.len());
        println!("{text}: peak {peak} kB, table {table} bytes");
        ensure!(peak < 64 << 10, "{peak} kB");
        ensure!(table < 2 << 20, "{table} bytes");
        world.windows().set_relay_says(None)?;
        world.windows().set_relay_repeats(None)?;
        agent.process().signal(HUP)?;
        agent.wait("the relay", serves)?;
        agent.healthy()?;
        agent.stop()?;
    }
    Ok(())
}

/// The relay stops to speak without an end that WSL's init would notice.
fn vanishes(world: &World) -> Result<()> {
    let tunnel = Tunnel::start(world)?;
    let source = tunnel.greet()?;
    tunnel.agent.wait("one client", one_client)?;
    let first = world.windows().relay()?.context("no relay")?;
    let pid = first.pid.to_string();
    world.guest(&["kill", "-STOP", &pid])?.ok()?;
    tunnel.agent.process().signal(HUP)?;
    // It has 15 s to answer.
    until("another relay", 2 * LIMIT, || {
        let relay = world.windows().relay()?;
        Ok(relay.filter(|relay| relay.pid != first.pid).map(drop))
    })?;
    let found = tunnel.agent.raised("relay-restarted")?;
    ensure!(found.detail.contains("did not answer"), "{found:?}");
    tunnel.outward(source, "are you there")?;
    ensure!(tunnel.inward("yes")? == source);
    tunnel.agent.healthy()?;
    tunnel.agent.stop()
}

/// Another distribution uninstalls the Windows side: health says that it is not installed,
/// and nothing else of the relay.
fn uninstalled_by_another(world: &World) -> Result<()> {
    let tunnel = Tunnel::start(world)?;
    tunnel.greet()?;
    let relay = world.windows().relay()?.context("no relay")?;
    world.windows().alter(|machine| {
        machine.installed = None;
        machine.users.clear();
        machine.tasks.clear();
    })?;
    std::fs::remove_file(world.path(&relay.exe))?;
    // A call that was in flight may have seen it already, and the agent ended the relay.
    world.guest(&["kill", "-9", &relay.pid.to_string()])?;
    let found = tunnel.agent.ill("relay-loopback")?;
    ensure!(
        found.remediation.contains("wslmesh host install"),
        "{found:?}"
    );
    tunnel.agent.wait("the relay on loopback", |status| {
        status.serves("relay", &["wg"])
    })?;
    let codes = tunnel.agent.status()?.context("no status")?.health;
    let other = codes.iter().filter(|one| one.code.starts_with("relay-"));
    let other: Vec<_> = other.filter(|one| one.code != "relay-loopback").collect();
    ensure!(
        other.iter().all(|one| one.code == "relay-restarted"),
        "{other:?}"
    );
    tunnel.agent.stop()
}

/// Without an installation the user's own copy of the relay runs, and reaches no
/// further than Windows itself.
fn not_installed(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    let folder = format!("{}/wslmesh", local_app_data(ME));
    let old = format!("{folder}/wslmesh-relay-0123456789abcdef.exe");
    let theirs = format!("{folder}/notes.txt");
    world.write(&old, "an older relay")?;
    world.write(&theirs, "not ours")?;
    let agent = world.start_agent(&both("auto"))?;
    let found = agent.ill("relay-loopback")?;
    ensure!(
        found.detail.contains("127.0.0.1") && found.remediation.contains("wslmesh host install"),
        "{found:?}"
    );
    agent.wait("the relay", |status| status.serves("relay", &["wg", "ssh"]))?;
    for (kind, port) in [("u", 51820), ("t", 2222)] {
        let heard = world.listener(Place::Windows, kind, port)?;
        ensure!(
            heard.at == format!("127.0.0.1:{port}") && heard.program == "wslmesh-relay",
            "{heard:?}"
        );
    }
    let run = world.windows().relay()?.context("no relay")?;
    ensure!(
        std::fs::read(world.path(&run.exe))? == STAND_IN && run.exe.starts_with(&folder),
        "{run:?}"
    );
    let names = world.names(&folder)?;
    ensure!(
        !world.path(&old).exists() && names.len() == 2 && world.path(&theirs).exists(),
        "{names:?}"
    );
    let service = world.station(Place::Guest, INSIDE)?;
    let near = world.station(Place::Windows, "127.0.0.1:0")?;
    near.reaches("127.0.0.1:51820".parse()?, &service, "from Windows")?;
    let far = world.station(Place::Lan, "0.0.0.0:0")?;
    far.say(listen()?, "from afar")?;
    near.reaches("127.0.0.1:51820".parse()?, &service, "afterwards")?;
    let heard = service.heard()?;
    ensure!(heard.iter().all(|one| one.text != "from afar"), "{heard:?}");
    agent.stop()
}
