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
use super::{output::Exit, style};
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
    let mut printer = Printer::new(json);
    let reader = Reader::of_output();
    select! {
        done = follow(paths, &mut printer) => done?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot catch Ctrl-C")?,
        () = reader.closed() => {}
    }
    Ok(Exit::Fine)
}

/// Ends when the output has no reader any more.
async fn follow(paths: &Paths, printer: &mut Printer) -> anyhow::Result<()> {
    let (mut client, mut updates) = subscribe(paths).await?;
    loop {
        let mut event = state(&client, updates.running).await;
        while printer.print(&event)? {
            event = match updates.next().await {
                Some(Update::Signal(signal)) => Event::Signal(signal),
                Some(Update::Running(running)) => state(&client, running).await,
                None => break,
            };
        }
        let reason = "lost the system bus; reconnecting".to_owned();
        if !printer.print(&Event::Unknown { reason })? {
            return Ok(());
        }
        (client, updates) = loop {
            sleep(RECONNECT).await;
            if let Ok(client) = Client::connect().await
                && let Ok(updates) = client.subscribe().await
            {
                break (client, updates);
            }
        };
        // The agent takes its time to join the bus again.
        while !updates.running && agent_pid(paths).is_some() {
            match updates.next().await {
                Some(Update::Running(running)) => updates.running = running,
                Some(Update::Signal(_)) => {}
                None => break,
            }
        }
    }
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
struct Printer {
    json: bool,
    zone: TimeZone,
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
    fn new(json: bool) -> Self {
        Self {
            json,
            zone: TimeZone::system(),
            printed: None,
        }
    }

    /// Says whether the output still has a reader.
    fn print(&mut self, event: &Event) -> anyhow::Result<bool> {
        let now = Timestamp::now();
        let time_unix_ms = now.as_millisecond();
        let line = if self.json {
            serde_json::to_string(&Line {
                time_unix_ms,
                event,
            })?
        } else {
            let Some(words) = self.words(event) else {
                return Ok(true);
            };
            let time = time(&self.zone, now);
            format!("{}  {words}", style::dim(&time))
        };
        let mut output = io::stdout().lock();
        // Each line at once, also into a pipe.
        match writeln!(output, "{line}").and_then(|()| output.flush()) {
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
                let printed = self.printed.take();
                let new = changes.iter().filter(|one| Some(*one) != printed.as_ref());
                let changes: Vec<String> = new.cloned().collect();
                if changes.is_empty() {
                    return None;
                }
                let duration_us = *duration_us;
                Event::Signal(Signal::Changed {
                    changes,
                    duration_us,
                })
                .words()
            }
            Event::Signal(Signal::AddressChanged { .. }) => {
                self.printed = Some(words.clone());
                words
            }
            Event::Signal(Signal::HealthRaised(entry)) => {
                let severity = entry.severity.to_string();
                words.replacen(&severity, &style::severity(&severity), 1)
            }
            Event::Signal(Signal::HealthCleared { .. }) => style::good(&words),
            Event::NoAgent | Event::Unknown { .. } => style::warn(&words),
            Event::State { .. } => words,
        })
    }
}

/// Local time, as `date '+%F %T'` prints it.
fn time(zone: &TimeZone, at: Timestamp) -> String {
    at.to_zoned(zone.clone()).strftime("%F %T").to_string()
}

/// The reader of a pipe that we write into.
struct Reader(Option<Sender>);

impl Reader {
    fn of_output() -> Self {
        let output = io::stdout().as_fd().try_clone_to_owned().ok();
        let pipe = output.filter(|output| {
            rustix::fs::fstat(output)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        });
        Self(pipe.and_then(|pipe| Sender::from_owned_fd_unchecked(pipe).ok()))
    }

    /// A pipe without a reader has an error (pipe(7)), which wakes us while there is
    /// nothing to write.
    async fn closed(&self) {
        match &self.0 {
            Some(pipe) => drop(pipe.ready(Interest::ERROR).await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_change_is_printed_once() {
        let mut printer = Printer::new(false);
        let address = |new: &str| {
            Event::Signal(Signal::AddressChanged {
                interface: "eth0".to_owned(),
                old: "10.0.0.1".to_owned(),
                new: new.to_owned(),
            })
        };
        let changed = |changes: &[&str]| {
            Event::Signal(Signal::Changed {
                changes: changes.iter().map(|change| (*change).to_owned()).collect(),
                duration_us: 1000,
            })
        };
        let moved = "eth0 address 10.0.0.1 -> 10.0.0.2";
        assert_eq!(printer.words(&address("10.0.0.2")).as_deref(), Some(moved));
        assert_eq!(
            printer.words(&changed(&[moved, "written"])).as_deref(),
            Some("written (1.0 ms)")
        );
        assert!(
            printer.words(&address("10.0.0.2")).is_some(),
            "a second time"
        );
        assert_eq!(printer.words(&changed(&[moved])), None);
        assert!(printer.words(&changed(&[moved])).is_some(), "another pass");
    }

    #[test]
    fn a_lost_address_is_printed_once() {
        let mut printer = Printer::new(false);
        let lost = Event::Signal(Signal::AddressChanged {
            interface: "eth0".to_owned(),
            old: "10.0.0.1".to_owned(),
            new: String::new(),
        });
        let line = "eth0 address 10.0.0.1 is lost";
        assert_eq!(printer.words(&lost).as_deref(), Some(line));
        // As the agent lists it among the changes of the pass.
        let changed = Event::Signal(Signal::Changed {
            changes: vec![line.to_owned()],
            duration_us: 1000,
        });
        assert_eq!(printer.words(&changed), None);
    }

    #[test]
    fn each_change_of_a_contested_value_is_printed() {
        let mut printer = Printer::new(false);
        for round in 0..3 {
            for change in ["wg0 mtu 1420 -> 1280", "wg0 mtu 1280 -> 1420"] {
                let event = Event::Signal(Signal::Changed {
                    changes: vec![change.to_owned()],
                    duration_us: 1000,
                });
                assert_eq!(
                    printer.words(&event),
                    Some(format!("{change} (1.0 ms)")),
                    "{round}"
                );
            }
        }
    }

    #[test]
    fn times_are_local() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let table = [
            (1_790_000_000_999, "2026-09-21 16:13:20"),
            (1_800_000_000_000, "2027-01-15 09:00:00"),
        ];
        for (unix_ms, text) in table {
            let at = Timestamp::from_millisecond(unix_ms).unwrap();
            assert_eq!(time(&zone, at), text);
        }
        assert_eq!(
            time(&TimeZone::UTC, Timestamp::UNIX_EPOCH),
            "1970-01-01 00:00:00"
        );
    }
}
