//! What the agent costs while nothing happens.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::figures::Report;
use super::node::{self, LIMIT, SSH};
use crate::options::Options;
use crate::test_doctor::usual;
use crate::test_endpoints::by_name;
use crate::test_nat_broken::name_server;
use crate::test_path::{LAN, tunnel};
use crate::world::{World, until};

const TIME: Duration = Duration::from_secs(60);
const SOCKET: &str = "/run/lab/notify";
/// As WatchdogSec=30 sets it; the agent answers twice as often.
const WATCHDOG: &str = "30000000";

/// Lets an agent be idle for [`TIME`], and one that has a tunnel and a name server to look
/// after.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let world = World::start(&Options::default())?;
    watch(report, &world, SSH, "one forward", 0)?;
    let world = World::start(&Options::default())?;
    let _server = name_server(&world)?;
    let looks = format!("[tunnel]\nwhen = \"nat-broken\"\n{SSH}");
    let has = "one forward, Windows' NAT looked at";
    watch(report, &world, &looks, has, 0)?;
    let world = World::start(&Options::default())?;
    usual(&world)?;
    let tunnel = tunnel(&world, &format!("{LAN}:51821"))?;
    let _server = by_name(&world, &tunnel.key, &format!("a={LAN}"))?;
    // Handshakes are read once a minute at most, in a thread whose end wakes the agent.
    let has = "a forward, a name server, a peer with a name that answers";
    watch(report, &world, SSH, has, 1)
}

fn watch(report: &mut Report, world: &World, config: &str, has: &str, reads: u64) -> Result<()> {
    node::prepare(world, config)?;
    let notify = UnixDatagram::bind(world.path(SOCKET))?;
    notify.set_nonblocking(true)?;
    let env = [("NOTIFY_SOCKET", SOCKET), ("WATCHDOG_USEC", WATCHDOG)];
    let agent = node::start(world, &env)?;
    until("the forward", LIMIT, || {
        Ok((node::forwards_to(world, "172.28.16.5".parse()?)? == 1).then_some(()))
    })?;
    // Longer than IPv6 needs to settle its addresses on a new link.
    let before_passes = node::calm(world, Duration::from_secs(4))?;
    pings(&notify);
    let tasks = world.path(format!("/proc/{}/task", agent.pid()));
    let before = Tasks::read(&tasks)?;
    let begun = Instant::now();
    let (mut threads, mut children) = (before.switches.len(), 0);
    while begun.elapsed() < TIME {
        let now = Tasks::read(&tasks)?;
        threads = threads.max(now.switches.len());
        children = children.max(now.children);
        std::thread::sleep(Duration::from_millis(50));
    }
    let wakeups = Tasks::read(&tasks)?.total() - before.total();
    let (pings, passes) = (pings(&notify), node::passes(world)? - before_passes);
    let status = fs::read_to_string(world.path(format!("/proc/{}/status", agent.pid())))?;
    let resident = kib(&status, "VmRSS:").context("no VmRSS")?;
    let shared_out = fs::read_to_string(world.path(format!("/proc/{}/smaps_rollup", agent.pid())))
        .ok()
        .and_then(|text| kib(&text, "Pss:"))
        .map_or_else(String::new, |kib| format!(", PSS {}", mib(kib)));
    report.head(&format!("Idle for 60 s, watchdog of 30 s, {has}"));
    report.figure(
        "wakeups (voluntary switches)",
        format!("{wakeups}, watchdog answers {pings}, passes {passes}"),
        match reads {
            0 => "the watchdog's",
            _ => "the watchdog's and a read",
        },
        wakeups <= u64::try_from(pings)? + reads && pings > 0,
    );
    report.figure("child processes", children.to_string(), "0", children == 0);
    report.figure("threads", threads.to_string(), "1", threads == 1);
    report.figure(
        "resident memory",
        format!("{}{shared_out}", mib(resident)),
        "under 8 MB",
        resident * 1024 < 8_000_000,
    );
    Ok(())
}

/// Watchdog answers that have come since the last time.
fn pings(notify: &UnixDatagram) -> usize {
    let mut buffer = [0; 4096];
    let mut count = 0;
    while let Ok(length) = notify.recv(&mut buffer) {
        let text = buffer.get(..length).unwrap_or_default();
        count += usize::from(text.starts_with(b"WATCHDOG=1"));
    }
    count
}

/// The threads of a process.
struct Tasks {
    /// How often each went to sleep by itself.
    switches: BTreeMap<String, u64>,
    children: usize,
}

impl Tasks {
    fn read(folder: &std::path::Path) -> Result<Self> {
        let mut tasks = Self {
            switches: BTreeMap::new(),
            children: 0,
        };
        for entry in fs::read_dir(folder).context("the agent exited")? {
            let path = entry?.path();
            // A thread may end between the two.
            let Ok(status) = fs::read_to_string(path.join("status")) else {
                continue;
            };
            let switches = number(&status, "voluntary_ctxt_switches:").context("no count")?;
            let name = path.to_string_lossy().into_owned();
            tasks.switches.insert(name, switches);
            let children = fs::read_to_string(path.join("children")).unwrap_or_default();
            tasks.children += children.split_whitespace().count();
        }
        Ok(tasks)
    }

    fn total(&self) -> u64 {
        self.switches.values().sum()
    }
}

fn number(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn kib(text: &str, key: &str) -> Option<u64> {
    number(text, key)
}

fn mib(kib: u64) -> String {
    format!(
        "{}.{} MB",
        kib * 1024 / 1_000_000,
        kib * 1024 / 100_000 % 10
    )
}
