//! What it adds to a pass to decide on the mode and the node.
//!
//! One world for each way, all with the same links and sockets. A round has each agent
//! make a pass that changes nothing, in turn; its duration is the one that the agent
//! itself reports.

use std::net::{TcpListener, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::{Report, Times, short};
use super::node::{self, LIMIT};
use crate::options::Options;
use crate::process::Process;
use crate::wireguard::WireGuard;
use crate::world::{World, until};

/// Sockets that listen, so many by TCP and so many by UDP: `@listeners COUNT`.
pub(crate) const LISTENERS: &str = "@listeners";
/// Looks a UDP socket up as a pass does for WireGuard's, so many times: `@read-sockets COUNT`.
pub(crate) const SOCKETS: &str = "@read-sockets";

const ROUNDS: usize = 100;
/// Beside `lo` and eth0, and by TCP and by UDP.
const SIZES: [(usize, usize); 2] = [(2, 10), (100, 1000)];
const FIRST_PORT: u16 = 10_000;

/// A world in which an agent decides in its way.
struct Way<'w> {
    world: &'w World,
    times: Vec<Duration>,
    /// Where the kernel has it.
    wireguard: Option<WireGuard<'w>>,
    _agent: Process<'w>,
    _listeners: Process<'w>,
}

pub(super) fn measure(report: &mut Report) -> Result<()> {
    SIZES
        .into_iter()
        .try_for_each(|size| measured(report, size))
}

fn measured(report: &mut Report, (links, sockets): (usize, usize)) -> Result<()> {
    let start = |mode: &str| {
        World::start(&Options {
            mode: mode.to_owned(),
            ..Options::quick()
        })
    };
    let [plain, nat, mirrored] = [start("nat")?, start("nat")?, start("mirrored")?];
    let size = (links, sockets);
    let mut named = Way::start(&plain, "eth0", size)?;
    let mut nat = Way::start(&nat, "auto", size)?;
    let mut mirrored = Way::start(&mirrored, "auto", size)?;
    for _ in 0..ROUNDS {
        for way in [&mut named, &mut nat, &mut mirrored] {
            way.pass()?;
        }
    }
    let (read, in_kernel) = (mirrored.sockets()?, mirrored.wireguard.is_some());
    let [named, nat, mirrored] = [named, nat, mirrored].map(|way| Times::new(way.times));
    report.head(&format!(
        "Deciding on mode and node: {links} links, {sockets} sockets by TCP and by UDP"
    ));
    report.beside("a pass, interface named", named.text());
    report.beside("a socket looked up", read.text());
    for (name, times, reading) in [
        ("a pass, NAT", nat, None),
        // Where the kernel has WireGuard the pass has looked its socket up itself.
        (
            "a pass, mirrored",
            mirrored,
            Some(&read).filter(|_| !in_kernel),
        ),
    ] {
        let read = reading.map_or(Duration::ZERO, Times::median);
        let adds = (times.median() + read).saturating_sub(named.median());
        report.beside(name, times.text());
        report.figure(
            "  adds",
            short(adds),
            "under 1 ms",
            adds < Duration::from_millis(1),
        );
    }
    Ok(())
}

impl<'w> Way<'w> {
    fn start(world: &'w World, interface: &str, (links, sockets): (usize, usize)) -> Result<Self> {
        world.shell(&format!(
            "for n in $(seq {}); do
                ip link add far$n type veth peer name near$n
                ip link set far$n up; ip link set near$n up
                ip addr add 10.77.$n.2/24 dev near$n
                ip route add default via 10.77.$n.1 dev near$n metric $((1000 + n))
            done",
            links / 2
        ))?;
        let count = sockets.to_string();
        let listeners = world.spawn_guest(&["/init", crate::ROLE, LISTENERS, &count], &[])?;
        until("the listeners", LIMIT, || {
            Ok(listeners.stdout()?.contains("bound").then_some(()))
        })
        .with_context(|| listeners.stderr().unwrap_or_default())?;
        let wireguard = world.wireguard("wg0", 1).ok();
        let wireguard = wireguard.filter(|device| !device.userspace());
        let config = format!("[network]\ninterface = \"{interface}\"\nsettle = \"0ms\"\n");
        node::prepare(world, &config)?;
        let agent = node::start(world, &[])?;
        node::calm(world, Duration::from_secs(2))?;
        let status = node::status(world)?;
        ensure!(status.interface.as_deref() == Some("eth0"), "{status:?}");
        Ok(Self {
            world,
            times: Vec::new(),
            wireguard,
            _agent: agent,
            _listeners: listeners,
        })
    }

    /// An address that decides nothing comes and goes.
    fn pass(&mut self) -> Result<()> {
        for change in ["add", "del"] {
            let before = node::passes(self.world)?;
            let change = ["ip", "addr", change, "10.99.0.1/32", "dev", "lo"];
            self.world.guest(&change)?.ok()?;
            let status = until("a pass", LIMIT, || {
                let status = node::status(self.world)?;
                Ok((status.passes > before).then_some(status))
            })?;
            self.times.push(Duration::from_micros(status.last_pass_us));
        }
        Ok(())
    }

    /// How long it takes to read the UDP sockets.
    fn sockets(&self) -> Result<Times> {
        let count = ROUNDS.to_string();
        let role = ["/init", crate::ROLE, SOCKETS, &count];
        let text = self.world.guest(&role)?.ok()?;
        let times = text.lines().map(|ns| Ok(Duration::from_nanos(ns.parse()?)));
        Ok(Times::new(times.collect::<Result<_>>()?))
    }
}

/// Runs the role [`LISTENERS`] until it is killed.
pub(crate) fn listeners_role(count: &str) -> ExitCode {
    let listen = || -> Result<()> {
        let ports = (0..count.parse()?).map(|number: u16| ("0.0.0.0", FIRST_PORT + number));
        let tcp: Vec<_> = ports
            .clone()
            .map(TcpListener::bind)
            .collect::<Result<_, _>>()?;
        let udp: Vec<_> = ports.map(UdpSocket::bind).collect::<Result<_, _>>()?;
        println!("bound");
        std::thread::park();
        drop((tcp, udp));
        Ok(())
    };
    ended(listen())
}

/// Runs the role [`SOCKETS`]: one line of ns for each reading.
pub(crate) fn sockets_role(count: &str) -> ExitCode {
    let read = || -> Result<()> {
        for _ in 0..count.parse::<u32>()? {
            let begun = Instant::now();
            let found = wslmesh::observe::udp_cookie(FIRST_PORT)?;
            let took = begun.elapsed();
            ensure!(found.is_some(), "no socket");
            println!("{}", took.as_nanos());
        }
        Ok(())
    };
    ended(read())
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
