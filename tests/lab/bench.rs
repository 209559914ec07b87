//! `--bench`: the figures of the agent, beside those of the usual ways.
//!
//! Everything that is compared is measured in one run on one machine. A figure
//! that misses its target is printed as such and fails nothing: machines differ.
//! The exit status is about the measuring alone. docs/benchmarks.md explains
//! each figure.

mod burst;
mod crowd;
mod decisions;
mod discovery;
mod figures;
mod idle;
mod node;
mod outage;
mod poller;
mod ready;
mod relay;
mod replace;
mod switch;
mod takeover;
mod windows;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};
use libtest_mimic::Trial;

pub(crate) use self::decisions::{LISTENERS, SOCKETS, listeners_role, sockets_role};
pub(crate) use self::discovery::{CHURN, churn_role};
use self::figures::Report;
pub(crate) use self::ready::{READY, role as ready_role};
pub(crate) use self::replace::{REPLACE, role as replace_role};
use crate::options::Options;

/// This folder's trials: what the figures are computed with.
pub(crate) fn trials() -> Vec<Trial> {
    figures::trials()
}

/// The parts, as `--bench PART...` selects them; all when none is named.
const PARTS: [&str; 12] = [
    "replace",
    "ready",
    "burst",
    "crowd",
    "decisions",
    "takeover",
    "windows",
    "relay",
    "switch",
    "discovery",
    "idle",
    "outage",
];

/// Measures and prints the table.
pub(crate) fn run(parts: &[String]) -> ExitCode {
    if let Some(part) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        eprintln!("bench: {part:?} is no part; there are {}", PARTS.join(", "));
        return ExitCode::FAILURE;
    }
    match measure(|part| parts.is_empty() || parts.iter().any(|p| p == part)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(wanted: impl Fn(&str) -> bool) -> Result<()> {
    let begun = Instant::now();
    println!("{}", machine());
    let stolen_before = stolen();
    let step = |text: &str| eprintln!("bench: {:>3} s  {text}", begun.elapsed().as_secs());
    let mut report = Report::default();
    if wanted("replace") {
        step("an address change, wslmesh and ip monitor in turn");
        replace::measure(&mut report)?;
    }
    if wanted("ready") {
        step("from exec to READY=1");
        ready::measure(&mut report)?;
    }
    if wanted("burst") {
        step("a burst of events, a thousand forwards");
        burst::measure(&mut report)?;
    }
    if wanted("crowd") {
        step("passes with much to serve");
        crowd::measure(&mut report)?;
    }
    if wanted("decisions") {
        step("decisions of mode and node");
        decisions::measure(&mut report)?;
    }
    if wanted("takeover") {
        step("leaders that are killed");
        takeover::measure(&mut report)?;
    }
    if wanted("windows") {
        step("the task and the relay of Windows");
        windows::measure(&mut report)?;
    }
    if wanted("relay") {
        step("the relay and socat in turn");
        relay::about(&mut report);
        relay::udp(&mut report)?;
        relay::tcp(&mut report)?;
        relay::round_trips(&mut report)?;
        relay::crowd(&mut report)?;
        relay::idle(&mut report)?;
        relay::repoint(&mut report)?;
    }
    if wanted("switch") {
        step("the switch, gvproxy, passt and slirp4netns in turn");
        switch::measure(&mut report)?;
    }
    if wanted("discovery") {
        step("what listens is discovered");
        discovery::measure(&mut report)?;
    }
    let mut ours = None;
    if wanted("outage") {
        step("outages with wslmesh");
        ours = Some(outage::wslmesh()?);
    }
    if wanted("idle") || wanted("outage") {
        step("idle for 60 s, and beside it pollers in worlds of their own");
    }
    let polled = std::thread::scope(|scope| {
        let pollers = ours.is_some().then(|| scope.spawn(outage::pollers));
        if wanted("idle") {
            idle::measure(&mut report)?;
        }
        let panicked = |_| Err(anyhow!("measuring the pollers panicked"));
        pollers
            .map(|thread| thread.join().unwrap_or_else(panicked))
            .transpose()
    })?;
    if let (Some(ours), Some(polled)) = (ours, polled) {
        outage::compare(&mut report, &ours, &polled);
    }
    step("done");
    report.print();
    println!(
        "meanwhile load {}; the hypervisor kept {} ms from this machine's CPUs",
        load(),
        stolen() - stolen_before
    );
    Ok(())
}

/// CPU time that the hypervisor gave to others, in ms: the eighth number of
/// proc_stat(5), in hundredths of a second. Stalls of the machine show in it.
fn stolen() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let field = text.split_whitespace().nth(8);
    field.and_then(|ticks| ticks.parse().ok()).unwrap_or(0) * 10
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.unwrap_or("unknown").to_owned()
}

/// What the figures depend on.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kind = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    format!(
        "agent   {}\nlab     a {kind} build\nmachine {cpus} CPUs ({model}), Linux {}, load {}\n",
        Options::default().agent.display(),
        read("/proc/sys/kernel/osrelease").trim(),
        load(),
    )
}
