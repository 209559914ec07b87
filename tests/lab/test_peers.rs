//! Peers that move while the agent runs, names that lead to many places or to none, and a
//! node that is elsewhere: with a tunnel to the home network whose other end never speaks
//! first, but where it is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{Agent, LIMIT, SSH, Setup, config};
use crate::options::Options;
use crate::probe::now;
use crate::process::{Process, TERM};
use crate::runner::trial_with;
use crate::test_doctor::usual;
use crate::test_endpoints::{ANSWERS, NAME, WAS, answer, by_name, shown};
use crate::test_path::{LAN, tunnel};
use crate::topology::{FIRST, GUEST_ADDRESS, Place, SECOND, THIRD, WINDOWS_ADDRESS};
use crate::wireguard::peer_key;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("peers::a_name_follows", a_name_follows),
        quick("peers::a_peer_moves_away", a_peer_moves_away),
        quick(
            "peers::each_address_has_its_turn",
            each_address_has_its_turn,
        ),
        quick("peers::many_addresses_or_none", many_addresses_or_none),
        quick("peers::a_thousand_are_silent", a_thousand_are_silent),
        quick("peers::the_node_moves", the_node_moves),
        quick(
            "peers::a_handshake_begins_at_once",
            a_handshake_begins_at_once,
        ),
    ]
}

/// Those for a kernel with WireGuard.
pub(crate) fn kernel_trials() -> Vec<Trial> {
    let quick = |name: &str, body| crate::kernel::trial_with(name, Options::quick(), body);
    vec![
        quick("peers::kernel_follows", a_name_follows),
        quick("peers::kernel_learns", kernel_learns),
    ]
}

/// The guest's address in the tunnel, and the peer's.
const GUEST: &str = "10.88.0.1";
const PEER: &str = "10.88.0.2";

/// Later look-ups are up to 35 s after the first one, and a quarter of that.
const LOOK_UPS: Duration = Duration::from_secs(60);

const DEBUG: Setup<'_> = Setup {
    env: &[("WSLMESH_LOG", "debug")],
    runtime: "",
    early: false,
};

/// A query: when, and how it was answered.
struct Query {
    at: u64,
    label: String,
    how: String,
}

/// Those for IPv4 addresses.
fn queries(world: &World) -> Result<Vec<Query>> {
    let text = world.read(format!("{ANSWERS}.log")).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [at, "1", label, how] = words[..] else {
            continue;
        };
        found.push(Query {
            at: at.parse()?,
            label: label.to_owned(),
            how: how.to_owned(),
        });
    }
    Ok(found)
}

/// Waits for the endpoint, and gives back when it was there (CLOCK_MONOTONIC in ns).
fn endpoint(world: &World, agent: &Agent, expected: &str, limit: Duration) -> Result<u64> {
    let found = until(expected, limit, || {
        Ok((shown(world, "endpoints")? == expected).then(now))
    });
    found.with_context(|| agent.log().unwrap_or_default())
}

fn has_handshake(world: &World, agent: &Agent) -> Result<()> {
    let found = until("a handshake", LIMIT * 2, || {
        Ok((shown(world, "latest-handshakes")? != "0").then_some(()))
    });
    found.with_context(|| agent.log().unwrap_or_default())
}

/// The state of the only peer in the status document.
fn state(world: &World) -> Result<String> {
    let text = world.wslmesh(&["status", "--json"])?.stdout;
    let json: Value = serde_json::from_str(&text)?;
    let state = json.pointer("/wireguard/0/peers/0/state");
    let state = state.and_then(Value::as_str).context(text)?;
    Ok(state.to_owned())
}

/// A peer that never answered gets the address of its name within a second of the look-up
/// that shows it, and traffic flows.
fn a_name_follows(world: &World) -> Result<()> {
    usual(world)?;
    let tunnel = tunnel(world, WAS)?;
    let _server = by_name(world, &tunnel.key, "a=192.168.50.99")?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    until("a look-up", LIMIT, || {
        Ok((!queries(world)?.is_empty()).then_some(()))
    })?;
    ensure!(shown(world, "endpoints")? == WAS && state(world)? == "never");
    let page = world.wslmesh(&["status"])?.stdout;
    ensure!(page.contains("never answered"), "{page}");
    let answers = format!("a={LAN}");
    answer(world, &answers)?;
    let there = endpoint(world, &agent, &format!("{LAN}:51821"), LOOK_UPS)?;
    let queries = queries(world)?;
    let first = queries.iter().find(|query| query.how == answers);
    let first = first.context("it was not looked up")?.at;
    let took = Duration::from_nanos(there.saturating_sub(first));
    println!(
        "\n# from the look-up to the endpoint: {} ms",
        took.as_millis()
    );
    ensure!(took < Duration::from_secs(1), "{took:?}");
    agent.says(&format!("endpoint {WAS} -> {LAN}:51821 ({NAME})"))?;
    has_handshake(world, &agent)?;
    world
        .guest(&["ping", "-c", "1", "-W", "5", PEER])?
        .ok()
        .context("no traffic")?;
    ensure!(state(world)? == "answers");
    let looked = queries.len();
    // One more may be under way.
    std::thread::sleep(Duration::from_secs(8));
    let after = self::queries(world)?.len();
    ensure!(after <= looked + 1, "{looked} look-ups, then {after}");
    agent.stop()
}

/// A session is in use, then the peer is elsewhere, and its name leads there: with all the
/// time that it takes until a handshake is stale.
fn a_peer_moves_away(world: &World) -> Result<()> {
    const ELSEWHERE: &str = "192.168.50.21";
    usual(world)?;
    let tunnel = tunnel(world, &format!("{LAN}:51821"))?;
    let _server = by_name(world, &tunnel.key, &format!("a={LAN}"))?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    has_handshake(world, &agent)?;
    let stamp: u64 = shown(world, "latest-handshakes")?.parse()?;
    // It knows no way to the node any more, and waits to be found.
    let key = world.guest(&["wg", "show", "wg0", "public-key"])?.ok()?;
    let script = format!(
        "ip addr del {LAN}/24 dev eth0; ip addr add {ELSEWHERE}/24 dev eth0
         ip route replace 172.28.16.0/20 via 192.168.50.10
         wg set far0 peer {key} remove
         wg set far0 peer {key} allowed-ips {GUEST}/32",
        key = key.trim()
    );
    world.lan(&["sh", "-ec", &script])?.ok()?;
    answer(world, &format!("a={ELSEWHERE}"))?;
    let before = queries(world)?.len();
    let limit = Duration::from_secs(240);
    endpoint(world, &agent, &format!("{ELSEWHERE}:51821"), limit)?;
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let age = time.as_secs() - stamp;
    let looked = queries(world)?.len() - before;
    println!("\n# a moved peer is found {age} s after its last handshake, by {looked} look-up(s)");
    ensure!(
        (180..200).contains(&age) && looked <= 2,
        "{age} s, {looked}"
    );
    until("traffic", LIMIT, || {
        let ping = world.guest(&["ping", "-c", "1", "-W", "1", PEER])?;
        Ok(ping.success().then_some(()))
    })?;
    agent.stop()
}

/// The first of two addresses is nobody's.
fn each_address_has_its_turn(world: &World) -> Result<()> {
    usual(world)?;
    let tunnel = tunnel(world, WAS)?;
    let both = format!("a=192.168.50.99,{LAN}");
    let _server = by_name(world, &tunnel.key, &both)?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    endpoint(world, &agent, &format!("{LAN}:51821"), LOOK_UPS)?;
    has_handshake(world, &agent)?;
    // There it stays.
    std::thread::sleep(Duration::from_secs(8));
    ensure!(shown(world, "endpoints")? == format!("{LAN}:51821"));
    agent.stop()
}

fn many_addresses_or_none(world: &World) -> Result<()> {
    usual(world)?;
    let tunnel = tunnel(world, WAS)?;
    let many: Vec<String> = (1..=200).map(|n| format!("192.168.77.{n}")).collect();
    let _server = by_name(world, &tunnel.key, &format!("a={}", many.join(",")))?;
    let agent = world.start_agent(&config(SSH))?;
    until("one of many", LIMIT, || {
        let at = shown(world, "endpoints")?;
        Ok(at.starts_with("192.168.77.").then_some(()))
    })
    .with_context(|| agent.log().unwrap_or_default())?;
    answer(world, "a=")?;
    let limit = LOOK_UPS;
    let code = "endpoint-unresolved";
    let status = agent.wait_for(code, limit, |status| status.finding(code).is_some())?;
    let found = status.finding(code).context("no finding")?;
    ensure!(found.subject == NAME, "{found:?}");
    answer(world, "a=fd50::20")?;
    endpoint(world, &agent, "[fd50::20]:51821", LOOK_UPS * 2)?;
    has_handshake(world, &agent)?;
    agent.cleared(code)?;
    let raised = agent.log()?.matches(code).count();
    ensure!(raised <= 2, "raised and cleared once: {}", agent.log()?);
    agent.stop()
}

/// Names for so many peers of wg0, each tenth that of the one before, and their name server.
pub(crate) fn named(world: &World, count: usize) -> Result<Process<'_>> {
    world.shell("rm -f /etc/nsswitch.conf; echo 'hosts: dns' >/etc/nsswitch.conf")?;
    let mut conf = String::new();
    for index in 0..count {
        let key = peer_key(index);
        let name = index - usize::from(index % 10 == 9);
        writeln!(
            conf,
            "[Peer]\nPublicKey = {key}\nEndpoint = peer{name}.example.test:51821"
        )?;
    }
    world.write("/etc/wireguard/wg0.conf", conf)?;
    answer(world, &format!("a={LAN}"))?;
    world.name_server("10.255.255.254", &format!("file={ANSWERS}"))
}

/// They are looked up one after the other, each once, and the agent has time for the rest.
fn a_thousand_are_silent(world: &World) -> Result<()> {
    const COUNT: usize = 1_000;
    usual(world)?;
    let _wireguard = world.wireguard("wg0", COUNT)?;
    let _server = named(world, COUNT)?;
    let agent = world.start_agent(&config(SSH))?;
    let passes = agent.settled(FIRST)?.passes;
    until("all endpoints", LIMIT * 8, || {
        let shown = world.guest(&["wg", "show", "wg0", "endpoints"])?.ok()?;
        let there = shown.matches(&format!("{LAN}:51821")).count();
        Ok((there == COUNT).then_some(()))
    })
    .with_context(|| agent.log().unwrap_or_default())?;
    let asked = queries(world)?;
    let names: BTreeSet<&str> = asked.iter().map(|query| query.label.as_str()).collect();
    ensure!(names.len() == COUNT * 9 / 10, "{} names", names.len());
    let mut times = BTreeMap::<_, usize>::new();
    let begun = asked.first().context("no query")?.at;
    for query in &asked {
        *times.entry((query.at - begun) / 1_000_000_000).or_default() += 1;
    }
    let most = times.values().max().copied().unwrap_or_default();
    let seconds = times.len();
    println!(
        "\n# 900 names of 1000 silent peers: {} look-ups in {seconds} s, at most {most} in one",
        asked.len()
    );
    // Two sets may fall into one second.
    ensure!(most <= 64, "{most} look-ups in a second");
    ensure!(asked.len() < COUNT * 2, "{} look-ups", asked.len());
    let after = agent.healthy()?;
    ensure!(
        after.passes < passes + 10,
        "{} passes",
        after.passes - passes
    );
    agent.stop()
}

/// Writes down when packets arrive: `@arrivals ADDRESS:PORT`, in microseconds since 1970.
pub(crate) const ARRIVALS: &str = "@arrivals";

/// Plays [`ARRIVALS`].
pub(crate) fn arrivals_role(address: &str) -> ExitCode {
    let receive = || -> Result<()> {
        let socket = UdpSocket::bind(address)?;
        let mut buffer = [0; 64];
        loop {
            socket.recv_from(&mut buffer)?;
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            println!("{}", now.as_micros());
        }
    };
    if let Err(error) = receive() {
        eprintln!("{address}: {error:#}");
    }
    ExitCode::FAILURE
}

/// A way that takes its time: `@delay ADDRESS:PORT TO`, which passes packets of one client on
/// to another address, and those from there back.
pub(crate) const DELAY: &str = "@delay";

/// How long it takes, in either direction.
const ONE_WAY: Duration = Duration::from_millis(30);

/// Plays [`DELAY`].
pub(crate) fn delay_role(address: &str, to: &str) -> ExitCode {
    let pass_on = || -> Result<()> {
        let (near, far) = (UdpSocket::bind(address)?, UdpSocket::bind("0.0.0.0:0")?);
        far.connect(to)?;
        let client = Arc::<Mutex<Option<SocketAddr>>>::default();
        let (back, answers, whom) = (near.try_clone()?, far.try_clone()?, Arc::clone(&client));
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(length) = answers.recv(&mut buffer) {
                let to = whom.lock().ok().and_then(|client| *client);
                let packet = buffer.get(..length).unwrap_or_default().to_vec();
                let Some((to, back)) = to.zip(back.try_clone().ok()) else {
                    continue;
                };
                later(move || drop(back.send_to(&packet, to)));
            }
        });
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = near.recv_from(&mut buffer)?;
            if let Ok(mut client) = client.lock() {
                *client = Some(from);
            }
            let packet = buffer.get(..length).unwrap_or_default().to_vec();
            let far = far.try_clone()?;
            later(move || drop(far.send(&packet)));
        }
    };
    if let Err(error) = pass_on() {
        eprintln!("{address}: {error:#}");
    }
    ExitCode::FAILURE
}

fn later(send: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        std::thread::sleep(ONE_WAY);
        send();
    });
}

/// Numbers of microseconds since 1970 at which strace saw packets to the port of discard.
fn sent(world: &World, trace: &str) -> Result<Vec<u64>> {
    let text = world.read(trace)?;
    let lines = text.lines().filter(|line| line.contains("htons(9)"));
    let time = |line: &str| {
        let mut words = line.split_whitespace();
        let stamp = words.find(|word| word.contains('.')).context("no time")?;
        let (seconds, micros) = stamp.split_once('.').context("no fraction")?;
        Ok(seconds.parse::<u64>()? * 1_000_000 + micros.parse::<u64>()?)
    };
    lines.map(time).collect()
}

fn tracer<'w>(world: &'w World, agent: &Agent, trace: &str) -> Result<Process<'w>> {
    let pid = agent.process().pid().to_string();
    let strace = world.spawn_guest(
        &[
            "strace",
            "-f",
            "-ttt",
            "-e",
            "trace=sendto",
            "-o",
            trace,
            "-p",
            &pid,
        ],
        &[],
    )?;
    until("strace", LIMIT, || {
        Ok(strace.stderr()?.contains(" attached").then_some(()))
    })?;
    Ok(strace)
}

/// The round trip through the tunnel, in microseconds: the median of some.
fn round_trip(world: &World) -> Result<u64> {
    let pings = world
        .guest(&["ping", "-c", "11", "-i", "0.05", PEER])?
        .ok()?;
    let times = pings.lines().filter_map(|line| line.split_once("time="));
    let times = times.filter_map(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    let mut times: Vec<Duration> = times.map(|ms| Duration::from_secs_f64(ms / 1e3)).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).context(pings.clone())?;
    Ok(u64::try_from(median.as_micros())?)
}

/// The peer notes when the agent's packets arrive.
fn arrivals(world: &World) -> Result<Process<'_>> {
    let role = ["/init", crate::ROLE, ARRIVALS, &format!("{PEER}:9")];
    let arrivals = world.spawn(Place::Lan, &role, &[])?;
    until("a listener", LIMIT, || {
        let sockets = world.lan(&["ss", "-Huln", "sport = 9"])?.ok()?;
        Ok(sockets.contains(PEER).then_some(()))
    })?;
    Ok(arrivals)
}

/// How long after each of these packets the next one arrived, in microseconds.
fn on_the_way(sent: &[u64], arrivals: &Process) -> Result<Vec<u64>> {
    let text = arrivals.stdout()?;
    let arrived: Vec<u64> = text.lines().map(str::parse).collect::<Result<_, _>>()?;
    let next = |at: &u64| {
        let then = arrived.iter().find(|then| *then >= at)?;
        Some(then - at)
    };
    Ok(sent.iter().filter_map(next).collect())
}

/// The peer has learnt the node's address long before a keepalive.
fn learns(world: &World, agent: &Agent) -> Result<()> {
    for (address, bare) in [
        (format!("{SECOND}/20"), SECOND),
        (format!("{THIRD}/20"), THIRD),
        (GUEST_ADDRESS.to_owned(), FIRST),
    ] {
        let before = now();
        world.change_address(&address)?;
        let expected = format!("{bare}:51820");
        until("the new way", LIMIT, || {
            let at = world.lan(&["wg", "show", "far0", "endpoints"])?.ok()?;
            Ok(at.contains(&expected).then_some(()))
        })
        .with_context(|| agent.log().unwrap_or_default())?;
        let took = Duration::from_nanos(now() - before);
        println!("\n# {bare}: the peer knows after {} ms", took.as_millis());
        // A keepalive would take up to 25 s.
        ensure!(took < Duration::from_secs(5), "{took:?}");
        agent.settled(bare)?;
    }
    Ok(())
}

/// The same where the kernel serves both ends.
fn kernel_learns(world: &World) -> Result<()> {
    usual(world)?;
    let tunnel = tunnel(world, &format!("{LAN}:51821"))?;
    let _server = by_name(world, &tunnel.key, &format!("a={LAN}"))?;
    let agent = world.start_agent_with(&config(SSH), &DEBUG)?;
    agent.settled(FIRST)?;
    has_handshake(world, &agent)?;
    learns(world, &agent)?;
    agent.stop()
}

/// The peer learns the node's new address from one packet.
fn the_node_moves(world: &World) -> Result<()> {
    usual(world)?;
    world.has_strace()?;
    let tunnel = tunnel(world, &format!("{LAN}:51821"))?;
    let _server = by_name(world, &tunnel.key, &format!("a={LAN}"))?;
    let agent = world.start_agent_with(&config(SSH), &DEBUG)?;
    agent.settled(FIRST)?;
    has_handshake(world, &agent)?;
    let arrivals = arrivals(world)?;
    let trip = round_trip(world)?;
    let trace = "/run/lab/nudge";
    let strace = tracer(world, &agent, trace)?;
    learns(world, &agent)?;
    strace.signal(TERM)?;
    strace.wait(LIMIT)?;
    let sent = sent(world, trace)?;
    ensure!(!sent.is_empty() && sent.len() <= 6, "{sent:?}");
    let first = on_the_way(&sent, &arrivals)?;
    println!("\n# a packet is there {first:?} us after it was sent; a round trip is {trip} us");
    let best = first.iter().min().context("nothing arrived")?;
    // A busy machine is slower than its network.
    ensure!(*best < 2 * trip + 20_000, "{best} us, {trip} us");
    agent.stop()
}

/// A peer that had no endpoint, by a way of 60 ms: the packet that the agent sends to it waits for the handshake,
/// which is one round trip, and is there half of one later.
fn a_handshake_begins_at_once(world: &World) -> Result<()> {
    usual(world)?;
    world.has_strace()?;
    let tunnel = tunnel(world, WAS)?;
    let key = &tunnel.key;
    world.shell(&format!(
        "wg set wg0 peer {key} remove; wg set wg0 peer {key} allowed-ips {PEER}/32"
    ))?;
    let _server = by_name(world, key, "a=10.88.0.2")?;
    let agent = world.start_agent(&config(&format!("{SSH}[wireguard]\nkeepalive = 0\n")))?;
    agent.settled(FIRST)?;
    until("a look-up", LIMIT, || {
        Ok((!queries(world)?.is_empty()).then_some(()))
    })?;
    let arrivals = arrivals(world)?;
    let to = format!("{WINDOWS_ADDRESS}:51821");
    let role = ["/init", crate::ROLE, DELAY, &to, &format!("{LAN}:51821")];
    let _way = world.spawn(Place::Windows, &role, &[])?;
    until("the way", LIMIT, || {
        let sockets = world.host(&["ss", "-Huln", "sport = 51821"])?.ok()?;
        Ok(sockets.contains(WINDOWS_ADDRESS).then_some(()))
    })?;
    let trace = "/run/lab/nudge";
    let strace = tracer(world, &agent, trace)?;
    answer(world, &format!("a={WINDOWS_ADDRESS}"))?;
    endpoint(world, &agent, &to, LOOK_UPS)?;
    has_handshake(world, &agent)?;
    let first = until("a packet", LIMIT, || {
        let first = on_the_way(&sent(world, trace)?, &arrivals)?;
        Ok(first.first().copied())
    })?;
    strace.signal(TERM)?;
    strace.wait(LIMIT)?;
    let trip = round_trip(world)?;
    println!("\n# a packet and its handshake take {first} us; a round trip is {trip} us");
    ensure!(first < 2 * trip, "{first} us, {trip} us");
    agent.stop()
}
