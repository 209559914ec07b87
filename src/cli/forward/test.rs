//! `wslmesh forward test`

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use tokio::{
    join,
    time::{Instant, sleep},
};

use super::super::{
    doctor::row,
    output::{Exit, print, print_json, write_error},
    port::ask_windows,
    table::{WIDTH, hanging, wrap},
};
use crate::{
    config::Source,
    control::status,
    doctor::{ForwardError, Hop, Hops, PortFacts, judge_hops, read_forward, test_here},
    model::{self, Counters, ForwardBackend, HealthEntry, Listen, Protocol, Reach},
    paths::Paths,
};

pub(super) const EXIT_STATUS: &str = "Exit status: 0 no hop fails; 1 one does, or the command; 2 usage error, or no forward has the name; 3 no hop fails, and Windows did not say what it has.";

/// Arguments of `wslmesh forward test`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// Its name, as `forward list` and `status` show it
    name: String,
    /// Of a range, the port on Windows to test [default: the first that a service listens on]
    #[arg(long, value_parser = model::port)]
    port: Option<NonZeroU16>,
    /// Longest wait for Windows, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn test(arguments: Test, source: &Source, paths: &Paths) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let read = read_forward(source, paths, &arguments.name, arguments.port).await;
    let mut facts = match read {
        Err(error @ (ForwardError::Unknown { .. } | ForwardError::Outside { .. })) => {
            write_error(&format!("wslmesh: {error}\n"));
            return Ok(Exit::Usage);
        }
        read => read?,
    };
    let before = counters(&facts, paths).await;
    let limit = Duration::from_secs(arguments.timeout);
    let left = limit.saturating_sub(begun.elapsed());
    let asked = facts.clone();
    let ask = ask_windows(&asked, paths, true, left.max(Duration::from_secs(1)));
    let (windows, ()) = join!(ask, test_here(&mut facts));
    facts.windows = windows;
    if let Some(before) = before {
        facts.tested.counted = passed_on(&facts, paths, &before).await;
    }
    let hops = judge_hops(&facts);
    if arguments.json {
        print_json(&document(&facts, &hops))?;
    } else {
        print(&page(&facts, &hops).join("\n"))?;
    }
    let is_unasked = facts.on_windows() && facts.windows.is_err();
    Ok(match hops.failed() {
        None => Exit::unless(is_unasked),
        Some(_) => Exit::Failed,
    })
}

/// What the relay counts now for the forward; `None` where it does not serve it, or does not
/// say so.
async fn counters(facts: &PortFacts, paths: &Paths) -> Option<Counters> {
    let listen = Listen {
        listen_port: facts.listen_port,
        ..facts.status.as_ref()?.listen
    };
    let status = status(paths).await.ok().flatten()?;
    if status.note.is_some() {
        return None;
    }
    let counted = status.document.counted()?;
    let mut counters = counted.forwards.iter().map(|one| one.counters);
    counters.find(|one| one.listen == listen)
}

/// The relay notices within a second that a client is gone whose service does not answer; a
/// busy machine takes longer. Where all is well the first look shows it.
const SETTLED: Duration = Duration::from_secs(6);

/// Whether the relay passed on what Windows sent it since it counted this; `None` where that
/// does not show.
async fn passed_on(facts: &PortFacts, paths: &Paths, before: &Counters) -> Option<bool> {
    let is_udp = facts.protocol == Protocol::Udp;
    let is_taken = |reach| reach == Reach::Answers || is_udp && reach == Reach::TimedOut;
    let ends = facts.windows_through().into_iter();
    let sent: u64 = ends.filter(|end| is_taken(end.reach())).map(|_| 1).sum();
    if sent == 0 {
        return None;
    }
    let end = Instant::now() + SETTLED;
    loop {
        // One that is not had in time is asked for again.
        let Some(after) = counters(facts, paths).await else {
            if Instant::now() >= end {
                return None;
            }
            sleep(Duration::from_millis(250)).await;
            continue;
        };
        match change(before, &after)? {
            // One for the datagram by each family.
            Change { opened, .. } if is_udp => return Some(opened >= sent),
            Change { failed: true, .. } => return Some(false),
            Change {
                opened: 1..,
                ended: true,
                ..
            } => return Some(true),
            _ if Instant::now() >= end => return None,
            _ => sleep(Duration::from_millis(250)).await,
        }
    }
}

/// What counters show of what Windows sent.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// Connections or sessions that began.
    opened: u64,
    /// One did not come to the service.
    failed: bool,
    /// None is open that was not before.
    ended: bool,
}

/// `None` of a relay that was started anew, which counts from 0.
fn change(before: &Counters, after: &Counters) -> Option<Change> {
    Some(Change {
        opened: after.opened.checked_sub(before.opened)?,
        failed: after.failed.checked_sub(before.failed)? > 0,
        ended: after.active <= before.active,
    })
}

/// Version of the JSON document.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document<'a> {
    version: u32,
    forward: &'a str,
    protocol: Protocol,
    listen_address: IpAddr,
    listen_port: NonZeroU16,
    connect_port: NonZeroU16,
    /// The loopback address at which the service listens alone.
    connect_address: Option<Ipv4Addr>,
    mode: String,
    address: Option<IpAddr>,
    hops: &'a [Hop],
    /// The place of the first hop that fails, from 1.
    failed: Option<usize>,
    /// What was found besides.
    findings: &'a [HealthEntry],
    advice: &'a str,
}

fn document<'a>(facts: &'a PortFacts, hops: &'a Hops) -> Document<'a> {
    Document {
        version: VERSION,
        forward: name(facts),
        protocol: facts.protocol,
        listen_address: facts.listen_address(),
        listen_port: facts.listen_port,
        connect_port: facts.connect_port,
        connect_address: facts.loopback(),
        mode: facts.mode.to_string(),
        address: facts.node.as_ref().ok().copied(),
        hops: &hops.hops,
        failed: hops.failed(),
        findings: &hops.more,
        advice: &hops.advice,
    }
}

fn name(facts: &PortFacts) -> &str {
    facts.forward.as_ref().map_or("", |one| one.name.as_str())
}

fn page(facts: &PortFacts, hops: &Hops) -> Vec<String> {
    let listen = SocketAddr::new(facts.listen_address(), facts.listen_port.get());
    let of = facts
        .tested
        .of
        .map(|all| format!(" (one of {all}; --port tests another)"));
    let to = match facts.loopback() {
        Some(address) => format!("{address}:{}", facts.connect_port),
        None => format!("port {}", facts.connect_port),
    };
    let by = match facts.served_by {
        ForwardBackend::Tunnel => ", by the tunnel",
        _ => "",
    };
    let title = format!(
        "forward {:?}: {} {listen} on Windows to {to} here{by}{}",
        name(facts),
        facts.protocol,
        of.unwrap_or_default()
    );
    let mut lines = wrap(&title, WIDTH);
    for (hop, place) in hops.hops.iter().zip(1..) {
        let head = format!("  {place} {:<9}  ", hop.result.in_words());
        let took = match hop.milliseconds {
            None => String::new(),
            Some(0) => " (under 1 ms)".to_owned(),
            Some(milliseconds) => format!(" ({milliseconds} ms)"),
        };
        let text = format!("{}: {}{took}", hop.hop.title(), hop.detail);
        lines.extend(hanging(&head, wrap(&text, WIDTH - head.len())));
    }
    lines.push(String::new());
    for one in &hops.more {
        lines.extend(row(&one.severity.to_string(), &one.code, &one.detail));
    }
    if !hops.more.is_empty() {
        lines.push(String::new());
    }
    lines.extend(wrap(&hops.advice, WIDTH));
    lines
}

#[cfg(test)]
mod tests;
