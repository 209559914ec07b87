//! From exec to READY=1 while Windows is out of reach.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::figures::{Report, Times};
use super::node::{self, CONFIG, SSH};
use crate::fault::Fault;
use crate::launch::environment;
use crate::options::{AGENT, Options};
use crate::probe::now;
use crate::topology::Place;
use crate::world::World;

/// Starts the agent repeatedly inside the guest: `@ready COUNT`.
pub(crate) const READY: &str = "@ready";

const RUNS: &str = "30";
const SOCKET: &str = "/run/lab/ready";

/// Measures it for a missing interop socket and for one that never
/// answers.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    report.head("From exec to READY=1, Windows unreachable");
    for (name, fault) in [
        ("no interop socket", Fault::InteropGone),
        ("interop never answers", Fault::InteropSilent),
    ] {
        let world = World::start(&Options::default())?;
        node::prepare(&world, SSH)?;
        world.windows().set_fault(fault)?;
        let role = ["/init", crate::ROLE, READY, RUNS];
        let text = world.run(Place::Guest, &role, b"")?.ok()?;
        let times: Vec<Duration> = text
            .lines()
            .map(|line| Ok(Duration::from_nanos(line.parse()?)))
            .collect::<Result<_>>()?;
        let times = Times::new(times);
        report.figure(
            name,
            times.text(),
            "worst under 50 ms",
            times.worst() < Duration::from_millis(50),
        );
    }
    Ok(())
}

/// Runs the role [`READY`]: one line of ns for each start.
pub(crate) fn role(count: &str) -> ExitCode {
    let runs = || -> Result<()> {
        let notify = UnixDatagram::bind(SOCKET)?;
        notify.set_read_timeout(Some(Duration::from_secs(10)))?;
        for _ in 0..count.parse::<u32>()? {
            println!("{}", one_start(&notify)?);
        }
        Ok(())
    };
    match runs() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn one_start(notify: &UnixDatagram) -> Result<u64> {
    let begun = now();
    let mut agent = Command::new(AGENT)
        .args(["run", "--config", CONFIG])
        .env_clear()
        .envs(environment())
        .env("NOTIFY_SOCKET", SOCKET)
        .stderr(Stdio::null())
        .spawn()?;
    let mut buffer = [0; 4096];
    let time = loop {
        let length = notify.recv(&mut buffer).context("waiting for READY=1")?;
        let text = buffer.get(..length).unwrap_or_default();
        if text.split(|b| *b == b'\n').any(|line| line == b"READY=1") {
            break now() - begun;
        }
    };
    let pid = i32::try_from(agent.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.context("no process id")?, Signal::TERM)?;
    let status = agent.wait()?;
    ensure!(status.success(), "the agent ended with {status}");
    // What it said at its end is not the next one's.
    notify.set_nonblocking(true)?;
    while notify.recv(&mut buffer).is_ok() {}
    notify.set_nonblocking(false)?;
    Ok(time)
}
