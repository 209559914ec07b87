//! Ports that become forwards while something listens on them.

use std::net::{TcpListener, UdpSocket};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;

use crate::agent::{Agent, CONFIG, LIMIT, config};
use crate::options::Options;
use crate::probe::{SERVICE, now};
use crate::process::{KILL, Process};
use crate::runner::trial_with;
use crate::setup::said;
use crate::topology::Place;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("discovery::reached_from_lan", reached_from_lan),
        quick("discovery::published_ports", published_ports),
        quick("discovery::outside_the_policy", outside_the_policy),
        quick("discovery::flood", flood),
        quick("discovery::on_standby", on_standby),
        trial_with(
            "discovery::mirrored",
            Options {
                mode: "mirrored".to_owned(),
                ..Options::quick()
            },
            mirrored,
        ),
    ]
}

const ON: &str = "[discovery]\ntcp = [\"8080-8090\"]\nudp = [9000]\ndeny = [8089]\n";

/// Kills it, and waits for its end.
pub(crate) fn end(process: &Process<'_>) -> Result<()> {
    process.signal(KILL)?;
    process.wait(LIMIT)?.context("it lives").map(drop)
}

/// Writes the configuration, has Windows agree to it, and starts the agent.
pub(crate) fn installed_with<'w>(world: &'w World, text: &str) -> Result<Agent<'w>> {
    world.windows().set_elevated(false)?;
    let text = config(text);
    world.write(CONFIG, &text)?;
    said(
        &world.cli(&["host", "install", "--yes"])?,
        0,
        &["installed on Windows"],
    )?;
    world.start_agent(&text)
}

fn installed<'w>(world: &'w World, more: &str) -> Result<Agent<'w>> {
    installed_with(world, &format!("{ON}{more}"))
}

/// The names of the forwards.
fn names(agent: &Agent<'_>) -> Result<Vec<String>> {
    let served = agent.status()?.map(|status| status.served);
    Ok(served.into_iter().flatten().map(|one| one.name).collect())
}

fn reached_from_lan(world: &World) -> Result<()> {
    let agent = installed(world, "")?;
    agent.healthy()?;
    // None of these is a service for others, or in the ranges.
    let quiet = ["127.0.0.1:8081", "0.0.0.0:8091", "0.0.0.0:8089"];
    let quiet: Vec<Process<'_>> = quiet
        .iter()
        .map(|at| world.echo(Place::Guest, at))
        .collect::<Result<_>>()?;
    let begun = now();
    let service = world.echo(Place::Guest, "0.0.0.0:8080")?;
    world.reached(8080)?;
    println!("reached after {} ms", (now() - begun) / 1_000_000);
    agent.wait("the forward", |status| {
        status.serves("relay", &["auto-tcp-8080"]) && status.problems().is_empty()
    })?;

    let inside = world.station(Place::Guest, "0.0.0.0:9000")?;
    let client = world.station(Place::Lan, "0.0.0.0:40000")?;
    client.reaches("192.168.50.10:9000".parse()?, &inside, "hello")?;
    // A packet passes before the status says so.
    agent.wait("both forwards", |status| {
        status.served.len() == 2 && status.serves("relay", &["auto-tcp-8080", "auto-udp-9000"])
    })?;

    // Who listens is said, in text and JSON.
    agent.says("1 port opened: tcp 8080")?;
    let rows: Value = serde_json::from_str(&world.cli(&["forward", "list", "--json"])?.ok()?)?;
    let row = rows.get(0).context("no row")?;
    ensure!(
        row["discovered"] == SERVICE && row["state"] == "up",
        "{row}"
    );
    said(
        &world.cli(&["forward", "list"])?,
        0,
        &["auto-tcp-8080", "discovered: echo-server", "answers"],
    )?;
    said(
        &world.cli(&["status"])?,
        0,
        &["auto-tcp-8080", "discovered: echo-server"],
    )?;
    said(
        &world.cli(&["config", "show"])?,
        0,
        &["tcp = [\"8080-8090\"]", "deny = [8089]"],
    )?;

    let begun = now();
    end(&service)?;
    world.closed(Place::Windows, "t", 8080)?;
    println!("gone after {} ms", (now() - begun) / 1_000_000);
    world.unreachable(8080)?;
    agent.says("1 port closed: tcp 8080")?;
    for port in [8081, 8089, 8091] {
        ensure!(
            world.listens(Place::Windows, "t", port)?.is_empty(),
            "port {port}"
        );
    }
    drop(quiet);

    // The configuration turns it off, and on again for what is there already.
    let again = world.echo(Place::Guest, "0.0.0.0:8082")?;
    world.reached(8082)?;
    agent.reload(&config(""))?;
    world.closed(Place::Windows, "t", 8082)?;
    agent.reload(&config(ON))?;
    world.reached(8082)?;
    drop(again);
    agent.stop()
}

/// An interface with the addresses of Docker's bridge and of a container, which is this machine.
const CONTAINER: &str = "ip link add docker0 type veth peer name box0; ip addr add 172.17.0.1/16 dev docker0; ip addr add 172.17.0.2/32 dev docker0; ip link set docker0 up";

/// Rules as engines make them; none of the last four publishes a port to the LAN.
const RULES: &str = r#"table ip nat {
 map published { type inet_service : ipv4_addr . inet_service; elements = { 8085 : 172.17.0.2 . 80 } }
 chain PREROUTING { type nat hook prerouting priority dstnat
  fib daddr type local counter jump DOCKER
  tcp dport { 8086, 8088 } dnat to 172.17.0.2:80
  dnat ip to tcp dport map @published
  ip daddr 10.96.0.1 tcp dport 8081 dnat to 172.17.0.2:80
  iifname "lo" tcp dport 8082 dnat to 172.17.0.2:80
  tcp dport 8087 dnat to 172.28.16.1
  tcp dport 8099 dnat to 172.17.0.2:80
 }
 chain DOCKER {
  iifname != "docker0" tcp dport 8083-8084 dnat to 172.17.0.2:80
  iifname != "docker0" udp dport 9000 dnat to 172.17.0.2
 }
}"#;

fn nft(world: &World, rules: &str) -> Result<()> {
    world
        .run(Place::Guest, &["nft", "-f", "-"], rules.as_bytes())?
        .ok()
        .map(drop)
}

/// Ports of containers, for which nothing listens: reached from the LAN while the rules are
/// there, also after the engine has made them anew.
fn published_ports(world: &World) -> Result<()> {
    world.shell(CONTAINER)?;
    let service = world.echo(Place::Guest, "172.17.0.2:80")?;
    let inside = world.station(Place::Guest, "172.17.0.2:9000")?;
    let agent = installed(world, "")?;
    agent.healthy()?;
    let begun = now();
    nft(world, RULES)?;
    world.reached(8083)?;
    println!("reached after {} ms", (now() - begun) / 1_000_000);
    for port in [8084, 8085, 8086, 8088] {
        world.reached(port)?;
    }
    let client = world.station(Place::Lan, "0.0.0.0:40000")?;
    client.reaches("192.168.50.10:9000".parse()?, &inside, "hello")?;
    let tcp = [8083, 8084, 8085, 8086, 8088].map(|port| format!("auto-tcp-{port}"));
    let expected = [&tcp[..], &["auto-udp-9000".to_owned()]].concat();
    let served = |status: &crate::status::Status| -> Vec<String> {
        status.served.iter().map(|one| one.name.clone()).collect()
    };
    // A packet passes before the status says so.
    agent.wait("all of them", |status| served(status) == expected)?;
    ensure!(
        world.listens(Place::Guest, "t", 8083)?.is_empty(),
        "a socket listens"
    );
    let rows: Value = serde_json::from_str(&world.cli(&["forward", "list", "--json"])?.ok()?)?;
    let row = rows.get(0).context("no row")?;
    ensure!(row["discovered"] == "docker", "{row}");

    // One container ends.
    let begun = now();
    nft(world, "flush chain ip nat DOCKER")?;
    world.closed(Place::Windows, "t", 8083)?;
    println!("gone after {} ms", (now() - begun) / 1_000_000);
    world.unreachable(8083)?;
    world.reached(8085)?;
    // The engine restarts: all rules are removed and added again, with another port.
    nft(world, "delete table ip nat")?;
    nft(world, &RULES.replace("8083-8084", "8080"))?;
    world.reached(8080)?;
    world.reached(8085)?;
    agent.wait("the other port", |status| {
        let names = served(status);
        names.contains(&"auto-tcp-8080".to_owned()) && !names.contains(&tcp[0])
    })?;
    agent.reload(&config(&format!("{ON}containers = false\n")))?;
    agent.wait("no forward", |status| status.served.is_empty())?;
    world.closed(Place::Windows, "t", 8080)?;
    drop(service);
    agent.stop()
}

/// `@listen KIND COUNT`: so many sockets, the first ten at the ports from 8000 on, the others
/// from 20000 on. KIND is tcp, udp, or `flood`: then each ends at once, all of them three
/// times.
pub(crate) const LISTEN: &str = "@listen";

/// Runs the role [`LISTEN`].
pub(crate) fn listen_role(kind: &str, count: &str) -> ExitCode {
    match sockets(kind, count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Has this process open more than 10,000 files.
pub(crate) fn allow_files() -> Result<()> {
    let most = Some(20_000);
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

fn sockets(kind: &str, count: &str) -> Result<()> {
    allow_files()?;
    let ports = (8_000..8_010).chain(20_000..).take(count.parse()?);
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for _ in 0..if kind == "flood" { 3 } else { 1 } {
        for port in ports.clone() {
            match kind {
                "tcp" => tcp.push(TcpListener::bind(("0.0.0.0", port))?),
                "udp" => udp.push(UdpSocket::bind(("0.0.0.0", port))?),
                _ => drop(TcpListener::bind(("0.0.0.0", port))?),
            }
        }
    }
    println!("done");
    if kind == "flood" {
        return Ok(());
    }
    loop {
        std::thread::park();
    }
}

/// Starts the role [`LISTEN`] and waits until all have been opened.
pub(crate) fn listen<'w>(world: &'w World, kind: &str, count: usize) -> Result<Process<'w>> {
    let role = ["/init", crate::ROLE, LISTEN, kind, &count.to_string()];
    let process = world.spawn_guest(&role, &[])?;
    until("the sockets", LIMIT, || {
        // In this order: it may say so and end between two looks.
        let ended = process.wait(std::time::Duration::ZERO)?;
        let said = process.stdout()?;
        ensure!(
            ended.is_none() || said.contains("done"),
            "{ended:?}: {}",
            process.stderr()?
        );
        Ok(said.contains("done").then_some(()))
    })?;
    Ok(process)
}

/// 30,000 sockets that open and end within a few seconds, and 10,000 that stay.
fn flood(world: &World) -> Result<()> {
    world.windows().install(&crate::installed::policy())?;
    let on =
        "[discovery]\ntcp = [\"8000-8009\", \"20000-29999\"]\ndeny = []\nfirewall = \"none\"\n";
    let agent = world.start_agent(&config(on))?;
    agent.healthy()?;
    let calls = || Ok::<_, anyhow::Error>(world.windows().calls()?.len());
    let before = (calls()?, agent.status()?.context("no status")?.passes);
    let begun = now();
    listen(world, "flood", 10_000)?;
    println!("flood of {} ms", (now() - begun) / 1_000_000);
    // A look after the flood.
    let late = world.echo(Place::Guest, "0.0.0.0:8000")?;
    let status = agent.wait("the one that stays", |status| {
        status.serves("relay", &["auto-tcp-8000"])
    })?;
    let after = (calls()?, status.passes);
    println!("calls, passes: {before:?} {after:?}");
    ensure!(
        after.0 - before.0 <= 15 && after.1 - before.1 <= 60,
        "{before:?} {after:?}"
    );
    let lines = agent
        .log()?
        .lines()
        .filter(|line| line.contains("opened"))
        .count();
    ensure!(lines <= 12, "{lines} lines: {}", agent.log()?);
    end(&late)?;
    agent.wait("none", |status| status.served.is_empty())?;

    let sockets = listen(world, "tcp", 10_000)?;
    // A look may come while they are opened.
    agent.wait("the limit", |status| {
        let found = status.finding("discovery-limit");
        found.is_some_and(|one| one.detail.contains("of 10000 ports"))
    })?;
    let status = agent.wait("as many as there may be", |status| {
        status.served.len() == 100 && status.served.iter().all(|one| one.state == "up")
    })?;
    ensure!(
        status.finding("discovery-busy").is_none(),
        "{:?}",
        status.health
    );
    let peak = agent.peak()?;
    ensure!(peak < 64_000, "{peak} kB");
    end(&sockets)?;
    agent.wait("none", |status| {
        status.served.is_empty() && status.problems().is_empty()
    })?;
    agent.stop()
}

/// Windows agreed to other ports than those that are discovered now: one finding for all,
/// with the fix. That Windows' firewall keeps them closed is not simulated here.
fn outside_the_policy(world: &World) -> Result<()> {
    let agent = installed(world, "")?;
    agent.reload(&config("[discovery]\ntcp = [\"8300-8399\"]\n"))?;
    let services = (8300..8308)
        .map(|port| world.echo(Place::Guest, &format!("0.0.0.0:{port}")))
        .collect::<Result<Vec<_>>>()?;
    let found = agent.raised("forward-outside-policy")?;
    ensure!(found.subject == "discovered", "{found:?}");
    ensure!(
        found.remediation.contains("wslmesh host install"),
        "{found:?}"
    );
    agent.wait("all", |status| {
        status.served.len() == services.len() && status.problems() == ["forward-outside-policy"]
    })?;
    agent.stop()
}

/// An agent on standby has the leader serve what it discovers, and what is configured at the
/// leader keeps its port.
fn on_standby(world: &World) -> Result<()> {
    world.windows().install(&crate::installed::policy())?;
    let forward = crate::agent::forward("web", 8083, 22);
    let leader = crate::test_members::agent(world, "Ubuntu", &forward)?;
    let on = ON.replace("udp", "firewall = \"none\"\nudp");
    let standby = crate::test_members::standby(world, "Debian", &on)?;
    let services = [
        world.echo(Place::Guest, "0.0.0.0:8083")?,
        world.echo(Place::Guest, "0.0.0.0:8084")?,
    ];
    world.reached(8084)?;
    let theirs = "Debian/auto-tcp-8084";
    leader.wait("the forward", |status| {
        status.serves("relay", &["web", theirs]) && status.served.len() == 2
    })?;
    standby.wait("its own", |status| {
        status.serves("relay", &["auto-tcp-8084"])
            && status.served.len() == 1
            && status.problems().is_empty()
    })?;
    drop(services);
    world.closed(Place::Windows, "t", 8084)?;
    standby.wait("none", |status| status.served.is_empty())?;
    standby.stop()?;
    leader.stop()
}

/// In mirrored mode a discovered port needs no backend, Windows' firewall is opened for it,
/// and the relay in the guest is not discovered.
fn mirrored(world: &World) -> Result<()> {
    let agent = installed(world, &crate::agent::forward("web", 8085, 22))?;
    agent.wait("the relay", |status| status.serves("relay", &["web"]))?;
    let service = world.echo(Place::Guest, "0.0.0.0:8080")?;
    agent.wait("the forward", |status| {
        status.serves("guest", &["auto-tcp-8080"])
    })?;
    until("a firewall rule", LIMIT, || {
        let rules = format!("{:?}", world.windows().view()?.machine);
        Ok(rules.contains("8080").then_some(()))
    })?;
    ensure!(
        names(&agent)? == ["web", "auto-tcp-8080"],
        "{:?}",
        names(&agent)?
    );
    end(&service)?;
    agent.wait("its end", |status| status.served.len() == 1)?;
    // Once the forward is removed the relay listens for a moment more, at a port that could
    // be discovered by the next look.
    agent.reload(&config(ON))?;
    agent.wait("no forward", |status| status.served.is_empty())?;
    let later = world.echo(Place::Guest, "0.0.0.0:8081")?;
    agent.wait("a later look", |status| {
        status.serves("guest", &["auto-tcp-8081"]) && status.served.len() == 1
    })?;
    end(&later)?;
    world.closed(Place::Guest, "t", 8085)?;
    ensure!(!agent.log()?.contains("auto-tcp-8085"), "{}", agent.log()?);
    agent.stop()
}
