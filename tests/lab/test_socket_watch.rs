//! Whether the sockets of a network namespace can have changed, by the kernel itself: in one
//! of its own, so that no other program's sockets are seen.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use wslmesh::config::Discovery;
use wslmesh::observe::{Question, SocketWatch};

use crate::options::Options;
use crate::runner::trial_with;
use crate::setup::said;
use crate::test_discovery::allow_files;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("socket_watch::tcp", |world| role_in(world, "tcp")),
        quick("socket_watch::udp", |world| role_in(world, "udp")),
        quick("socket_watch::connections", |world| {
            role_in(world, "connections")
        }),
        quick("socket_watch::overrun", |world| role_in(world, "overrun")),
    ]
}

/// `@watch CASE`: checks what the case is about, in the network namespace that it is in.
pub(crate) const WATCH: &str = "@watch";

fn role_in(world: &World, case: &str) -> Result<()> {
    let role = format!(
        "ip link set lo up && exec /init {} {WATCH} {case}",
        crate::ROLE
    );
    let output = world.guest(&["unshare", "--net", "sh", "-c", &role])?;
    said(&output, 0, &["checked"])
}

/// Runs the role [`WATCH`].
pub(crate) fn watch_role(case: &str) -> ExitCode {
    let checked = allow_files().and_then(|()| match case {
        "tcp" => comes_and_goes("tcp"),
        "udp" => comes_and_goes("udp"),
        "connections" => connections(),
        _ => overrun(),
    });
    match checked {
        Ok(()) => {
            println!("checked");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

const LIMIT: Duration = Duration::from_secs(30);

/// A watch whose lists are never due by the time: it is asked at one moment.
struct Watch {
    question: Question,
    watch: SocketWatch,
    at: Instant,
}

impl Watch {
    /// Of the ports 8000 to 8009.
    fn start(protocol: &str) -> Result<Self> {
        let mut discovery = Discovery::default();
        let ports = serde_json::from_str("[\"8000-8009\"]")?;
        match protocol {
            "tcp" => discovery.tcp = ports,
            _ => discovery.udp = ports,
        }
        let question = Question::new(&discovery);
        let mut watch = Self {
            watch: SocketWatch::new(&question),
            question,
            at: Instant::now(),
        };
        ensure!(watch.changed(), "the first one makes a list");
        watch.quiet()?;
        Ok(watch)
    }

    fn changed(&mut self) -> bool {
        self.watch.may_have_changed(self.at)
    }

    /// The ports of a list. It is another one's, so that this one takes lists for cheap: at one
    /// moment, dear ones are spared.
    fn ports(&self) -> Result<Vec<u16>> {
        let found = SocketWatch::default().list(&self.question)?;
        Ok(found.keys().map(|one| one.port.get()).collect())
    }

    /// Waits until nothing has changed. Of TCP another namespace may change one count.
    fn quiet(&mut self) -> Result<()> {
        until("no change", LIMIT, || Ok((!self.changed()).then_some(())))
    }

    /// Waits until something has: the end of a socket is announced a moment after it.
    fn stirred(&mut self) -> Result<()> {
        until("a change", LIMIT, || Ok(self.changed().then_some(())))
    }
}

/// A socket of TCP that listens, or one of UDP.
#[expect(dead_code, reason = "they are kept open")]
enum Open {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

fn open(protocol: &str, port: u16) -> Result<Open> {
    let at = ("0.0.0.0", port);
    Ok(match protocol {
        "tcp" => Open::Tcp(TcpListener::bind(at)?),
        _ => Open::Udp(UdpSocket::bind(at)?),
    })
}

/// One that begins is noticed at once, and so is its end, also where another one takes its
/// place between two looks; and so it is with thousands.
fn comes_and_goes(protocol: &str) -> Result<()> {
    let mut watch = Watch::start(protocol)?;
    for _ in 0..20 {
        let first = open(protocol, 8_000)?;
        ensure!(watch.changed(), "a new one is not noticed");
        ensure!(watch.ports()? == [8_000]);
        watch.quiet()?;
        drop(first);
        ensure!(watch.changed(), "its end is not noticed");
        ensure!(watch.ports()?.is_empty());
        watch.quiet()?;
    }
    if protocol == "udp" {
        // Nothing else counts these: no list without a reason.
        for look in 0..1_000 {
            ensure!(!watch.changed(), "look {look} makes a list");
        }
    }
    let mut kept = open(protocol, 7_000)?;
    watch.stirred()?;
    watch.quiet()?;
    for round in 0..20 {
        let before = std::mem::replace(&mut kept, open(protocol, 8_000 + round % 10)?);
        drop(before);
        // Both counts are as they were.
        watch.stirred()?;
        ensure!(watch.ports()? == [8_000 + round % 10], "round {round}");
        watch.quiet()?;
    }
    drop(kept);
    watch.stirred()?;
    watch.quiet()?;
    let ports = (8_000..8_005).chain(20_000..25_000);
    let many = ports.map(|port| open(protocol, port));
    let many = many.collect::<Result<Vec<_>>>()?;
    ensure!(watch.changed(), "thousands are not noticed");
    ensure!(watch.ports()? == [8_000, 8_001, 8_002, 8_003, 8_004]);
    watch.quiet()?;
    let late = open(protocol, 8_009)?;
    ensure!(watch.changed(), "one more is not noticed");
    ensure!(watch.ports()?.len() == 6);
    drop((many, late));
    ensure!(watch.changed(), "their end is not noticed");
    ensure!(watch.ports()?.is_empty());
    Ok(())
}

/// Connections come and go without a list, a listener among them is noticed.
fn connections() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 7_000))?;
    let connect = || -> Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(("127.0.0.1", 7_000))?;
        Ok((client, listener.accept()?.0))
    };
    let mut watch = Watch::start("tcp")?;
    // Other namespaces may cause a list, so not each of them is without one.
    let mut lists = [0, 0];
    let rounds = 40;
    for _ in 0..rounds {
        let both = connect()?;
        lists[0] += u32::from(watch.changed());
        watch.quiet()?;
        drop(both);
        // Its end is announced by then.
        std::thread::sleep(Duration::from_millis(20));
        lists[1] += u32::from(watch.changed());
        watch.quiet()?;
    }
    ensure!(
        lists.iter().all(|count| *count < rounds),
        "each connection makes a list: {lists:?} of {rounds}"
    );
    println!("lists at their begin and end: {lists:?} of {rounds}");
    let both = connect()?;
    let found = TcpListener::bind(("0.0.0.0", 8_000))?;
    drop(both);
    ensure!(watch.changed(), "a listener among them is not noticed");
    ensure!(watch.ports()? == [8_000]);
    drop(found);
    Ok(())
}

/// Whether a line of the kernel's table of netlink sockets is about one of sock_diag that has
/// lost messages: protocol, and how many, are its second and ninth word.
fn has_lost(line: &str) -> bool {
    let words = Vec::from_iter(line.split_whitespace());
    matches!(words.as_slice(), [_, "4", _, _, _, _, _, _, lost, ..] if *lost != "0")
}

/// More sockets end than the kernel keeps announcements for: from then on each look makes a
/// list, and later announcements are tried again.
fn overrun() -> Result<()> {
    let mut watch = Watch::start("udp")?;
    for _ in 0..10_000 {
        drop(UdpSocket::bind(("0.0.0.0", 8_001))?);
    }
    until("lost announcements", LIMIT, || {
        let sockets = std::fs::read_to_string("/proc/self/net/netlink")?;
        Ok(sockets.lines().any(has_lost).then_some(()))
    })?;
    // They are as many as before, and which have ended is not known.
    for look in 0..10 {
        ensure!(watch.changed(), "look {look} relies on lost announcements");
    }
    // Once the kernel has made the last of them, a later attempt gets no more than it can take.
    until("announcements again", LIMIT, || {
        watch.at += Duration::from_secs(61);
        ensure!(watch.changed(), "what ended before is in no announcement");
        Ok((!watch.changed()).then_some(()))
    })?;
    let first = UdpSocket::bind(("0.0.0.0", 8_000))?;
    watch.stirred()?;
    watch.quiet()?;
    drop(first);
    let second = UdpSocket::bind(("0.0.0.0", 8_002))?;
    watch.stirred().context("after the overrun")?;
    ensure!(watch.ports()? == [8_002]);
    drop(second);
    Ok(())
}
