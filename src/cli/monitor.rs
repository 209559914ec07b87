//! `wslmesh monitor`

mod event;

use std::{
    io::{self, Write},
    os::fd::AsFd,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use jiff::{Timestamp, tz::TimeZone};
use rustix::fs::FileType;
use serde::Serialize;
use tokio::{
    io::Interest,
    net::unix::pipe::Sender,
    select,
    time::{sleep, timeout},
};

use self::event::Event;
use super::{
    output::{Exit, json_text},
    style,
};
use crate::{
    control::{Client, Signal, Subscription, Update, agent_pid},
    paths::Paths,
};

/// An agent that starts has its name on the bus within that.
const START: Duration = Duration::from_secs(1);
/// Between two tries to reach a bus that was lost.
const RECONNECT: Duration = Duration::from_secs(1);

/// Follows what the agent does until Ctrl-C or until the output's reader closes it.
pub(super) async fn monitor(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let mut printer = Printer {
        json,
        ..Printer::default()
    };
    select! {
        done = follow(paths, &mut printer) => done?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot catch Ctrl-C")?,
        () = without_reader() => {}
    }
    Ok(Exit::Fine)
}

/// Ends when the output has no reader any more.
async fn follow(paths: &Paths, printer: &mut Printer) -> anyhow::Result<()> {
    let (mut client, mut updates) = subscribe(paths).await?;
    let mut event = state(&client, updates.running).await;
    while printer.print(&event)? {
        event = match updates.next().await {
            Some(Update::Signal(signal)) => Event::Signal(signal),
            Some(Update::Running(running)) => state(&client, running).await,
            None => {
                let reason = "lost the system bus; reconnecting".to_owned();
                if !printer.print(&Event::Unknown { reason })? {
                    break;
                }
                (client, updates) = reconnect(paths).await;
                state(&client, updates.running).await
            }
        };
    }
    Ok(())
}

/// Waits for the bus, and for an agent that runs: it takes its time to join again.
async fn reconnect(paths: &Paths) -> (Client, Subscription) {
    let (client, mut updates) = loop {
        sleep(RECONNECT).await;
        if let Ok(client) = Client::connect().await
            && let Ok(updates) = client.subscribe().await
        {
            break (client, updates);
        }
    };
    while !updates.running && agent_pid(paths).is_some() {
        match updates.next().await {
            Some(Update::Running(running)) => updates.running = running,
            Some(Update::Signal(_)) => {}
            None => break,
        }
    }
    (client, updates)
}

/// The agent on the bus, which need not be running yet.
async fn subscribe(paths: &Paths) -> anyhow::Result<(Client, Subscription)> {
    let client = Client::connect().await.map_err(|error| {
        anyhow!(
            "{error}, on which monitor follows the agent; install dbus, then: systemctl start dbus.socket; systemctl reload wslmesh"
        )
    })?;
    let mut updates = client.subscribe().await?;
    if !updates.running
        && let Some(pid) = agent_pid(paths)
    {
        match timeout(START, updates.next()).await {
            Ok(Some(_)) => updates.running = true,
            _ => bail!(
                "the agent (process {pid}) is not on the system bus, on which monitor follows it; `journalctl -u wslmesh` has the reason; to retry: systemctl reload wslmesh"
            ),
        }
    }
    Ok((client, updates))
}

/// How things are.
async fn state(client: &Client, running: bool) -> Event {
    if !running {
        return Event::NoAgent;
    }
    match client.status().await {
        Ok(document) => Event::state(&document),
        Err(error) if error.is_absent() => Event::NoAgent,
        Err(error) => Event::Unknown {
            reason: error.to_string(),
        },
    }
}

/// Prints events, each with its time.
#[derive(Default)]
struct Printer {
    json: bool,
    /// The line of a new address, which the changes of its pass repeat.
    printed: Option<String>,
}

/// One line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    /// Milliseconds since 1970 (UTC).
    time_unix_ms: i64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Printer {
    /// Says whether the output still has a reader.
    fn print(&mut self, event: &Event) -> anyhow::Result<bool> {
        let now = Timestamp::now();
        let time_unix_ms = now.as_millisecond();
        let line = if self.json {
            json_text(&serde_json::to_string(&Line {
                time_unix_ms,
                event,
            })?)
        } else if let Some(words) = self.words(event) {
            format!("{}  {words}", style::dim(&time(TimeZone::system(), now)))
        } else {
            return Ok(true);
        };
        let mut output = io::stdout().lock();
        // Each line at once, also into a pipe.
        match writeln!(output, "{}", style::finish(&line)).and_then(|()| output.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A new address has a signal of its own and is among the changes of its pass too:
    /// `None` where there is no other change.
    fn words(&mut self, event: &Event) -> Option<String> {
        let words = event.words();
        Some(match event {
            Event::Signal(Signal::Changed {
                changes,
                duration_us,
            }) => {
                // Of this pass alone: what is repeated later has happened again.
                let (printed, mut changes) = (self.printed.take(), changes.clone());
                changes.retain(|one| Some(one) != printed.as_ref());
                if changes.is_empty() {
                    return None;
                }
                event::changed(&changes, *duration_us)
            }
            Event::Signal(Signal::AddressChanged { .. }) => {
                self.printed = Some(words.clone());
                words
            }
            Event::Signal(Signal::HealthRaised(entry)) => {
                style::with_severity(&words, entry.severity)
            }
            Event::Signal(Signal::HealthCleared { .. }) => style::good(&words),
            Event::NoAgent | Event::Unknown { .. } => style::warn(&words),
            Event::State(_) | Event::Signal(Signal::MeshChanged(_)) => words,
        })
    }
}

/// Local time, as `date '+%F %T'` prints it.
fn time(zone: TimeZone, at: Timestamp) -> String {
    at.to_zoned(zone).strftime("%F %T").to_string()
}

/// Waits until standard output is a pipe without a reader. That has an error (pipe(7)),
/// which wakes us while there is nothing to write.
async fn without_reader() {
    let is_pipe = rustix::fs::fstat(io::stdout())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    let output = io::stdout().as_fd().try_clone_to_owned().ok();
    let pipe = output
        .filter(|_| is_pipe)
        .map(Sender::from_owned_fd_unchecked);
    match pipe.and_then(Result::ok) {
        Some(pipe) => drop(pipe.ready(Interest::ERROR).await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
