//! The relay compared with socat, in one run on this machine's loopback.

mod crowd;
mod repoint;
mod tcp;
mod udp;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use wslmesh_relay::protocol::{self, Admit, Event, Forward, Limits, SetForwards, VERSION};

use super::figures::Report;
use crate::options::relay_binary;

pub(super) use self::{crowd::idle, crowd::measure as crowd, repoint::measure as repoint};
pub(super) use self::{tcp::measure as tcp, tcp::round_trips, udp::measure as udp};

/// Longest wait for something that must happen.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the programs of a figure run. Where the kernel puts them decides by a factor of two
/// when they share few processors, and says nothing of the programs; so it is on one
/// processor that the relay is to be as good as nginx.
const FREE: &str = "as the kernel places them";
const ONE: &str = "on one processor";

/// Measures on one processor: this thread stays on it, and what it starts.
fn on_one_processor<T: Send>(measure: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pinned = || {
        let all = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rfind(|cpu| all.is_set(*cpu));
        let mut one = CpuSet::new();
        one.set(last.context("no processor")?);
        sched_setaffinity(None, &one)?;
        measure()
    };
    std::thread::scope(|scope| {
        let done = scope.spawn(pinned).join();
        done.map_err(|_| anyhow!("measuring on one processor panicked"))?
    })
}

/// What the figures depend on, and the size of the relay for Windows.
pub(super) fn about(report: &mut Report) {
    report.head(&format!("The relay, {}", relay_binary().display()));
    let exe = std::env::var_os("WSLMESH_RELAY_EXE").map(PathBuf::from);
    match exe.and_then(|path| path.metadata().ok()) {
        Some(file) => report.figure(
            "wslmesh-relay.exe",
            format!("{} bytes", file.len()),
            "under 1 MB",
            file.len() < 1_000_000,
        ),
        None => report.beside(
            "wslmesh-relay.exe",
            "not measured: not built (make relay-exe)",
        ),
    }
}

/// A running relay; it exits when this is dropped.
struct Relay {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
    serial: u64,
}

impl Relay {
    fn start(forwards: &[Forward], limits: Limits) -> Result<Self> {
        let mut child = Command::new(relay_binary())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", relay_binary().display()))?;
        let out = child.stdout.take().context("no standard output")?;
        let (sender, events) = channel();
        std::thread::spawn(move || -> Result<()> {
            for line in BufReader::<ChildStdout>::new(out).lines() {
                sender.send(serde_json::from_str(&line?)?)?;
            }
            Ok(())
        });
        let mut relay = Self {
            stdin: child.stdin.take(),
            child,
            events,
            serial: 0,
        };
        relay.set_forwards(forwards, limits)?;
        Ok(relay)
    }

    /// Sends the forwards and waits until all of them listen.
    fn set_forwards(&mut self, forwards: &[Forward], limits: Limits) -> Result<()> {
        self.serial += 1;
        let command = protocol::Command::SetForwards(SetForwards {
            version: VERSION,
            serial: self.serial,
            forwards: forwards.to_vec(),
            sessions: Vec::new(),
            limits,
        });
        let line = format!("{}\n", serde_json::to_string(&command)?);
        let stdin = self.stdin.as_mut().context("no standard input")?;
        stdin.write_all(line.as_bytes())?;
        loop {
            match self.event()? {
                Event::Applied { serial, listeners } if serial == self.serial => {
                    let failed = listeners.iter().find(|one| one.failure.is_some());
                    ensure!(failed.is_none(), "does not listen: {failed:?}");
                    return Ok(());
                }
                Event::Invalid { reason, .. } => bail!("the relay rejected a command: {reason}"),
                _ => {}
            }
        }
    }

    fn event(&self) -> Result<Event> {
        self.events
            .recv_timeout(TIMEOUT)
            .context("no event from the relay")
    }

    /// Resident memory in kB.
    fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let field = line.and_then(|line| line.split_whitespace().next());
        Ok(field.context("no VmRSS")?.parse()?)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.child.wait());
    }
}

/// The usual tool; dropping it kills it and its children.
struct Socat(Child);

impl Socat {
    fn start(from: &str, to: &str) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = Command::new("socat")
            .args(["-T", "5", from, to])
            .process_group(0)
            .stdin(Stdio::null())
            // It logs an error for each connection that is reset.
            .stderr(Stdio::null())
            .spawn()
            .context("starting socat, which is needed to compare with")?;
        Ok(Self(child))
    }
}

impl Drop for Socat {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process_group};
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        drop(self.0.wait());
    }
}

fn forward(
    protocol: wslmesh_relay::protocol::Protocol,
    listen: SocketAddrV4,
    connect: SocketAddrV4,
) -> Result<Forward> {
    Ok(Forward {
        listen: wslmesh_relay::protocol::Listen {
            protocol,
            listen_address: (*listen.ip()).into(),
            listen_port: listen.port().try_into()?,
        },
        connect_address: (*connect.ip()).into(),
        connect_port: connect.port().try_into()?,
        admit: Admit::Any,
        proxy_protocol: None,
    })
}

/// The median of an odd number of values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
