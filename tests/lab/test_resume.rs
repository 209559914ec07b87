//! Windows slept, or the network was away: the agent finds what is broken, repairs it,
//! and tells it in one line.
//!
//! A namespace has no clock of its own, so that only a machine of the test's own can
//! sleep: `tests/vm/guest/90-resume.sh`.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, SSH, Setup, config};
use crate::options::Options;
use crate::process::Process;
use crate::runner::trial_with;
use crate::status::Resumed;
use crate::talker::UDP;
use crate::test_doctor::usual;
use crate::test_endpoints::a_peer_has_moved;
use crate::test_kernel::{WIREGUARD, install};
use crate::topology::{FIRST, GUEST_ADDRESS, Place};
use crate::tunnel::GUEST;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("resume::network_was_away", network_was_away),
        quick("resume::dns_stays_dead", dns_stays_dead),
        quick("resume::flaps_are_no_sleep", flaps),
        quick("resume::a_peer_has_moved", a_peer_has_moved),
        quick("resume::handshakes_go_stale", handshakes_go_stale),
    ]
}

/// Where the machine's clock may be set; how often it sleeps.
const SLEEPS: &str = "WSLMESH_LAB_SLEEPS";

/// Those that set the clock. Only where the machine is the test's own, which it says by
/// [`SLEEPS`].
pub(crate) fn kernel_trials() -> Vec<Trial> {
    if std::env::var_os(SLEEPS).is_none() {
        return Vec::new();
    }
    vec![
        crate::kernel::trial_with("resume::kernel_sleeps", Options::quick(), sleeps),
        crate::kernel::trial_with(
            "resume::kernel_clock_is_set",
            Options::quick(),
            clock_is_set,
        ),
    ]
}

/// What every story begins with.
const BACK: &str = "back after ";

fn stories(agent: &Agent) -> Result<Vec<String>> {
    let log = agent.log()?;
    let lines = log.lines().filter(|line| line.contains(BACK));
    Ok(lines.map(str::to_owned).collect())
}

/// Waits for story number `count`, and returns it with what the status says.
fn story(agent: &Agent, count: usize, limit: Duration) -> Result<(String, Resumed)> {
    let found = until("a story", limit, || {
        Ok(stories(agent)?.into_iter().nth(count - 1))
    });
    let found = found.with_context(|| agent.log().unwrap_or_default())?;
    let status = agent.wait("the story in the status", |status| {
        let resumed = status.resumed.as_ref();
        resumed.is_some_and(|resumed| found.contains(&resumed.summary))
    })?;
    Ok((found, status.resumed.context("no recovery")?))
}

/// The name server of DNS tunnelling.
fn name_server(world: &World) -> Result<Process<'_>> {
    world.name_server("10.255.255.254", "noerror")
}

/// Longer than an agent takes for a flap of mirrored mode.
const AWAY: Duration = Duration::from_secs(6);

/// The link goes, then comes back; meanwhile the relay was killed and the name server
/// restarted.
fn network_was_away(world: &World) -> Result<()> {
    usual(world)?;
    let server = name_server(world)?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    world.link_down()?;
    agent.wait("the loss", |status| status.address.is_none())?;
    drop(server);
    // How long it is away is what this is about.
    std::thread::sleep(AWAY);
    world.link_up(GUEST_ADDRESS)?;
    let _server = name_server(world)?;
    let (line, resumed) = story(&agent, 1, LIMIT * 2)?;
    ensure!(line.contains(" s without a network in "), "{line}");
    ensure!(
        line.contains("eth0 has its address 172.28.16.5 again"),
        "{line}"
    );
    ensure!(
        resumed.sign == "link" && resumed.failed.is_empty(),
        "{resumed:?}"
    );
    ensure!(resumed.away_s >= AWAY.as_secs(), "{resumed:?}");
    agent.settled(FIRST)?;
    // Once: it is the last link that flaps within a minute.
    world.link_down()?;
    agent.wait("the loss", |status| status.address.is_none())?;
    std::thread::sleep(AWAY);
    world.link_up(GUEST_ADDRESS)?;
    agent.settled(FIRST)?;
    ensure!(stories(&agent)?.len() == 1, "{}", agent.log()?);
    let shown = world.wslmesh(&["status"])?.stdout;
    ensure!(shown.contains("resumed: "), "{shown}");
    agent.stop()
}

/// What cannot be repaired is said, with what helps, until it is well.
fn dns_stays_dead(world: &World) -> Result<()> {
    usual(world)?;
    let server = name_server(world)?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    world.link_down()?;
    agent.wait("the loss", |status| status.address.is_none())?;
    drop(server);
    std::thread::sleep(AWAY);
    world.link_up(GUEST_ADDRESS)?;
    let (line, resumed) = story(&agent, 1, LIMIT * 2)?;
    ensure!(line.contains("DNS failed (10.255.255.254 "), "{line}");
    ensure!(resumed.failed == ["dns"], "{resumed:?}");
    // One finding is enough for one name server.
    agent.ill("dns-tunnel-dead")?;
    let _server = name_server(world)?;
    agent.healthy()?;
    ensure!(stories(&agent)?.len() == 1, "{}", agent.log()?);
    agent.stop()
}

/// Mirrored mode removes and adds addresses at each change of Windows' network.
fn flaps(world: &World) -> Result<()> {
    usual(world)?;
    let _server = name_server(world)?;
    let agent = world.start_agent(&config(SSH))?;
    let mut passes = agent.settled(FIRST)?.passes;
    for _ in 0..20 {
        world.flap(GUEST_ADDRESS)?;
        passes = agent.pass_after(passes)?.passes;
    }
    for _ in 0..5 {
        world.link_down()?;
        agent.wait("the loss", |status| status.address.is_none())?;
        world.link_up(GUEST_ADDRESS)?;
        agent.settled(FIRST)?;
    }
    ensure!(stories(&agent)?.is_empty(), "{}", agent.log()?);
    ensure!(
        agent
            .status()?
            .is_some_and(|status| status.resumed.is_none())
    );
    agent.stop()
}

/// A daemon whose two peers have handshakes until they have none any more. After the
/// agent has sent packets, one of them answers.
fn handshakes_go_stale(world: &World) -> Result<()> {
    usual(world)?;
    let _server = name_server(world)?;
    let made = world.guest(&["ip", "tuntap", "add", "wg0", "mode", "tun"])?;
    if !made.success() {
        let why = "/dev/net/tun is not accessible for this user".to_owned();
        return Err(crate::launch::Unavailable(why).into());
    }
    world.shell("ip addr add 10.88.0.1/24 dev wg0; ip link set wg0 up; mkdir -p /run/wireguard")?;
    let listener = UnixListener::bind(world.path("/run/wireguard/wg0.sock"))?;
    listener.set_nonblocking(true)?;
    let daemon = Daemon::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !daemon.over.load(Ordering::Relaxed) {
                if let Ok((client, _)) = listener.accept() {
                    drop(daemon.answer(client));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = stale(world, &daemon);
        daemon.over.store(true, Ordering::Relaxed);
        result
    })
}

/// A daemon of WireGuard whose handshakes are made up.
#[derive(Default)]
struct Daemon {
    asked: AtomicU64,
    /// The last handshake of both peers, in seconds since 1970; 0 while they go on.
    last: AtomicU64,
    /// Whether one of them answers again.
    answers: AtomicBool,
    over: AtomicBool,
}

/// How old a handshake is while they go on, in seconds: what is 180 s old is stale. The rest
/// is what the agent has time for, and what the trial waits for.
const AGE: u64 = 165;

fn now() -> Result<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(now.as_secs())
}

impl Daemon {
    fn answer(&self, mut client: UnixStream) -> Result<()> {
        client.set_nonblocking(false)?;
        let mut request = [0; 4096];
        let read = client.read(&mut request)?;
        ensure!(read > 0, "no request");
        let now = now()?;
        let last = match self.last.load(Ordering::Relaxed) {
            0 => now - AGE,
            last => last,
        };
        let first = match self.answers.load(Ordering::Relaxed) {
            true => now,
            false => last,
        };
        let mut text = "listen_port=51820\n".to_owned();
        for (number, handshake) in [(1, first), (2, last)] {
            text += &format!(
                "public_key={}\nendpoint=172.28.16.1:51820\npersistent_keepalive_interval=25\n\
                 last_handshake_time_sec={handshake}\nallowed_ip=10.88.0.{number}/32\n",
                format!("0{number}").repeat(32)
            );
        }
        client.write_all((text + "errno=0\n\n").as_bytes())?;
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn stale(world: &World, daemon: &Daemon) -> Result<()> {
    // Without a watchdog nothing wakes the agent.
    let setup = Setup {
        env: &[("WATCHDOG_USEC", "400000"), ("WSLMESH_LOG", "debug")],
        ..Setup::default()
    };
    let agent = world.start_agent_with(&config(SSH), &setup)?;
    let passes = agent.settled(FIRST)?.passes;
    until("a question to the daemon", LIMIT, || {
        Ok((daemon.asked.load(Ordering::Relaxed) > 0).then_some(()))
    })?;
    ensure!(stories(&agent)?.is_empty(), "{}", agent.log()?);
    daemon.last.store(now()? - AGE, Ordering::Relaxed);
    // From there on the agent sends packets.
    until("silent peers", LIMIT * 4, || {
        let log = agent.log()?;
        Ok(log.contains("step wireguard is broken").then_some(()))
    })
    .with_context(|| agent.log().unwrap_or_default())?;
    daemon.answers.store(true, Ordering::Relaxed);
    let (line, resumed) = story(&agent, 1, LIMIT * 4)?;
    ensure!(line.contains(" min without a handshake in "), "{line}");
    ensure!(line.contains("1 of 2 peers has a new handshake"), "{line}");
    ensure!(
        resumed.sign == "handshakes" && resumed.failed.is_empty(),
        "{resumed:?}"
    );
    let now = agent.healthy()?.passes;
    ensure!(now < passes + 40, "{passes} passes before, {now} after");
    agent.stop()
}

/// Sets the machine's clock by so many seconds.
fn set_clock(seconds: i64) -> Result<()> {
    ensure!(std::env::var_os(SLEEPS).is_some(), "not this machine's");
    let then = i64::try_from(now()?)? + seconds;
    let set = Command::new("date")
        .args(["-s", &format!("@{then}")])
        .output()?;
    ensure!(set.status.success(), "{set:?}");
    Ok(())
}

/// A minute more: setting the clock takes its time on a slow machine.
const NIGHT: i64 = 8 * 3_600 + 60;

/// A node as it is before a sleep: a tunnel with a peer on the home network, a forward
/// for it and one for SSH, and a name server.
fn node(world: &World) -> Result<Agent<'_>> {
    install(world)?;
    usual(world)?;
    let tunnel = world.tunnel()?;
    let _service = world.answer(Place::Guest, "0.0.0.0:7777")?;
    let setup = Setup {
        env: &[("WSLMESH_LOG", "debug")],
        ..Setup::default()
    };
    let agent = world.start_agent_with(&config(&format!("{WIREGUARD}{SSH}")), &setup)?;
    agent.wait("both forwards", |status| {
        status.serves("relay", &["wireguard", "ssh"])
    })?;
    // A peer whose sessions are forgotten begins a new one.
    let key = world.guest(&["wg", "show", "wg0", "public-key"])?.ok()?;
    let keepalive = [
        "wg",
        "set",
        "wg0",
        "peer",
        key.trim(),
        "persistent-keepalive",
        "25",
    ];
    world.lan(&keepalive)?.ok()?;
    // The guest learns where its peer is.
    world.talk(Place::Lan, UDP, &format!("{GUEST}:7777"))?;
    until("the keepalive", LIMIT, || {
        Ok((tunnel.keepalive()? == "25").then_some(()))
    })?;
    Ok(agent)
}

/// The steps of a night with their times.
fn steps(agent: &Agent, night: usize) -> Result<String> {
    let log = agent.log()?;
    let night = log.split(BACK).nth(night - 1).unwrap_or_default();
    let steps = night.lines().filter_map(|line| line.split_once("step "));
    Ok(Vec::from_iter(steps.map(|(_, step)| step)).join("; "))
}

/// How often the name server was missed.
fn missed(agent: &Agent) -> Result<usize> {
    Ok(agent.log()?.matches("step dns is broken").count())
}

/// Each night everything breaks that a sleep of Windows breaks, and the agent is left
/// alone with it.
fn sleeps(world: &World) -> Result<()> {
    let agent = node(world)?;
    let mut server = name_server(world)?;
    let count = std::env::var(SLEEPS)?.parse::<usize>()?;
    for night in 1..=count {
        let relay = world.windows().relay()?.context("no relay runs")?;
        let before = missed(&agent)?;
        world.link_down()?;
        agent.wait("the loss", |status| status.address.is_none())?;
        world.lan(&["ip", "link", "set", "wg0", "down"])?.ok()?;
        drop(server);
        world.shell(&format!("kill -9 {}", relay.pid))?;
        let begun = Instant::now();
        set_clock(NIGHT)?;
        world.link_up(GUEST_ADDRESS)?;
        // The name server of WSL comes back by itself, once it is missed.
        until("a broken DNS", LIMIT * 2, || {
            Ok((missed(&agent)? > before).then_some(()))
        })?;
        server = name_server(world)?;
        world.lan(&["ip", "link", "set", "wg0", "up"])?.ok()?;
        let (line, resumed) = story(&agent, night, Duration::from_secs(60))?;
        for part in [
            "back after 8 h asleep in ",
            "the clock was 8 h behind and is right",
            "DNS answered after ",
            // Or it answers: the handshake may have come before the first look.
            "1 of 1 peer ",
            "forwards wireguard and ssh lead here again",
        ] {
            ensure!(
                line.contains(part),
                "night {night}: {part:?} is not in {line}: {}",
                steps(&agent, night)?
            );
        }
        ensure!(
            resumed.sign == "clock" && resumed.failed.is_empty(),
            "{resumed:?}"
        );
        let steps = steps(&agent, night)?;
        println!(
            "\n# night {night}: {} ms of {} ms: {line}\n#   {steps}",
            resumed.duration_ms,
            begun.elapsed().as_millis()
        );
        agent.wait("health", |status| {
            status.problems().is_empty() && status.serves("relay", &["wireguard", "ssh"])
        })?;
    }
    ensure!(stories(&agent)?.len() == count);
    drop(server);
    agent.stop()
}

/// A clock that was wrong is no sleep, and the agent lives with any.
fn clock_is_set(world: &World) -> Result<()> {
    const YEARS: i64 = 10 * 365 * 86_400;
    let agent = node(world)?;
    let server = name_server(world)?;
    for (seconds, says) in [
        (-1, "the wall clock was set back by 1 s"),
        (3, "the wall clock was set forward by "),
        (-3_600, "the wall clock was set back by 60 min"),
        (3_600, "the wall clock was set forward by "),
        (-YEARS, "the wall clock was set back by "),
        (YEARS, "the wall clock was set forward by "),
        (YEARS, "the wall clock was set forward by "),
        (-YEARS, "the wall clock was set back by "),
    ] {
        // Those of a millisecond are the kernel's rounding, and come when they like.
        let count = |log: &str| {
            let said = log.lines().filter(|line| !line.contains("debug"));
            said.filter(|line| line.contains(says)).count()
        };
        let before = count(&agent.log()?);
        set_clock(seconds)?;
        until(says, LIMIT, || {
            Ok((count(&agent.log()?) > before).then_some(()))
        })
        .with_context(|| format!("{seconds} s: {}", agent.log().unwrap_or_default()))?;
    }
    ensure!(stories(&agent)?.is_empty(), "{}", agent.log()?);
    // A storm would be in there.
    let passes = agent.healthy()?.passes;
    ensure!(passes < 60, "{passes} passes: {}", agent.log()?);
    set_clock(NIGHT)?;
    let (line, _) = story(&agent, 1, Duration::from_secs(60))?;
    ensure!(line.contains("8 h asleep"), "{line}");
    // A second sleep, in the middle of a recovery: it waits for its name server.
    drop(server);
    set_clock(NIGHT)?;
    std::thread::sleep(Duration::from_secs(1));
    set_clock(NIGHT)?;
    let _server = name_server(world)?;
    let (line, _) = story(&agent, 2, Duration::from_secs(60))?;
    ensure!(line.contains("16 h asleep, 2 times in a row"), "{line}");
    agent.stop()
}
