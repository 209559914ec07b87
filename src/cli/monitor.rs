//! `wslmesh monitor`

mod event;
mod file;
mod signals;

use std::{
    io::{self, Write},
    os::fd::AsFd,
    time::SystemTime,
};

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};
use rustix::fs::FileType;
use serde::Serialize;
use tokio::{io::Interest, net::unix::pipe::Sender, select};

use self::{event::Event, file::Followed, signals::Signals};
use super::{
    bus::{Bus, BusError},
    output::Exit,
    style,
};
use crate::{
    paths::Paths,
    report::{Document, read_status},
};

/// Follows what the agent does until somebody interrupts it or closes the pipe.
pub(super) async fn monitor(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let mut printer = Printer::new(json);
    let reader = Reader::of_output();
    select! {
        done = follow(paths, &mut printer) => done?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot catch Ctrl-C")?,
        () = reader.gone() => {}
    }
    Ok(Exit::Fine)
}

/// Ends where nobody reads any more.
async fn follow(paths: &Paths, printer: &mut Printer) -> anyhow::Result<()> {
    let (mut source, note) = source(paths, Bus::system().await).await?;
    if let Some(note) = note
        && !printer.print(&note)?
    {
        return Ok(());
    }
    loop {
        for event in source.next(paths).await? {
            if !printer.print(&event)? {
                return Ok(());
            }
        }
    }
}

/// Where the events are from.
enum Source {
    Bus(Box<Signals>),
    File(Box<Followed>),
    /// The document for as long as the bus does not help.
    Meanwhile(Box<Followed>, Retry),
}

/// Whether the bus is asked again before the next wait.
#[derive(Debug, PartialEq, Eq)]
enum Retry {
    Now,
    AfterNext,
}

/// The bus tells more than the document. An agent that has a document and is not
/// the one on the bus is followed by its document, and so is one that does not
/// answer there, with a word about it.
async fn source(paths: &Paths, bus: Option<Bus>) -> anyhow::Result<(Source, Option<Event>)> {
    let Some(bus) = bus else {
        return Ok((Source::File(by_file(paths)?), None));
    };
    let (described, trouble) = match bus.describe().await {
        Ok(document) => (Some(document.pid), None),
        Err(BusError::Absent) => (None, None),
        Err(error) => (None, Some(error)),
    };
    let written = written(paths);
    let other = written.is_some_and(|document| Some(document.pid) != described);
    if !other && let Ok(signals) = Signals::of(bus).await {
        return Ok((Source::Bus(Box::new(signals)), None));
    }
    let followed = by_file(paths)?;
    Ok(match trouble {
        None => (Source::File(followed), None),
        Some(error) => {
            let reason = format!("{error}; following the status document");
            let source = Source::Meanwhile(followed, Retry::AfterNext);
            (source, Some(Event::Unknown { reason }))
        }
    })
}

/// The document of an agent that lives.
fn written(paths: &Paths) -> Option<Document> {
    let written = read_status(&paths.runtime).ok().flatten();
    written.filter(Document::is_alive)
}

fn by_file(paths: &Paths) -> anyhow::Result<Box<Followed>> {
    let followed = Followed::new(paths.runtime.clone());
    followed.map(Box::new).context("cannot watch files")
}

/// The bus, where the agent of the document is on it again.
async fn back(paths: &Paths) -> Option<Source> {
    let document = written(paths)?;
    let bus = Bus::system().await?;
    if bus.describe().await.ok()?.pid != document.pid {
        return None;
    }
    let signals = Signals::of(bus).await.ok()?;
    Some(Source::Bus(Box::new(signals)))
}

impl Source {
    /// The next events. Where the bus is gone it goes on with the document, and
    /// tries the bus after each change of it.
    async fn next(&mut self, paths: &Paths) -> anyhow::Result<Vec<Event>> {
        if let Self::Meanwhile(_, Retry::Now) = self
            && let Some(bus) = back(paths).await
        {
            *self = bus;
        }
        let followed = match self {
            Self::Bus(signals) => match signals.next().await {
                Some(event) => return Ok(vec![event]),
                None => {
                    *self = Self::Meanwhile(by_file(paths)?, Retry::AfterNext);
                    let reason = "the bus is gone; following the status document".to_owned();
                    return Ok(vec![Event::Unknown { reason }]);
                }
            },
            Self::File(followed) => followed,
            Self::Meanwhile(followed, retry) => {
                *retry = Retry::Now;
                followed
            }
        };
        followed.next().await.with_context(|| {
            format!(
                "cannot follow the status document in {}",
                paths.runtime.display()
            )
        })
    }
}

/// Prints events, each with its time.
struct Printer {
    json: bool,
    zone: TimeZone,
    /// The line of a new address, which the changes of its pass repeat.
    said: Option<String>,
}

/// One line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    /// Milliseconds since 1970 (UTC).
    time_unix_ms: u64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self {
            json,
            zone: TimeZone::system(),
            said: None,
        }
    }

    /// Says whether somebody still reads.
    fn print(&mut self, event: &Event) -> anyhow::Result<bool> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let ms = now.map_or(0, |since| since.as_millis());
        let time_unix_ms = u64::try_from(ms).unwrap_or(u64::MAX);
        let line = if self.json {
            serde_json::to_string(&Line {
                time_unix_ms,
                event,
            })?
        } else {
            let Some(words) = self.words(event) else {
                return Ok(true);
            };
            let time = time(&self.zone, time_unix_ms);
            format!("{}  {words}", style::dim(&time))
        };
        let mut output = io::stdout().lock();
        // Whoever follows wants each line at once.
        match writeln!(output, "{line}").and_then(|()| output.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The agent tells a new address by itself and among the changes of its pass.
    fn words(&mut self, event: &Event) -> Option<String> {
        let words = match event {
            Event::Changed {
                changes,
                duration_us,
            } => {
                // Of this pass alone: what comes again later has happened again.
                let said = self.said.take();
                let new = changes
                    .iter()
                    .filter(|change| Some(*change) != said.as_ref());
                let event = Event::Changed {
                    changes: new.cloned().collect(),
                    duration_us: *duration_us,
                };
                match &event {
                    Event::Changed { changes, .. } if changes.is_empty() => return None,
                    event => event.words(),
                }
            }
            Event::AddressChanged { .. } => {
                let words = event.words();
                self.said = Some(words.clone());
                words
            }
            event => event.words(),
        };
        Some(match event {
            Event::HealthRaised(finding) => {
                let severity = &finding.severity;
                words.replacen(severity, &style::severity(severity), 1)
            }
            Event::NoAgent | Event::Unknown { .. } => style::warn(&words),
            Event::HealthCleared { .. } => style::good(&words),
            Event::State { .. } | Event::AddressChanged { .. } | Event::Changed { .. } => words,
        })
    }
}

/// Local time, as `date '+%F %T'` prints it.
fn time(zone: &TimeZone, unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|unix_ms| Timestamp::from_millisecond(unix_ms).ok())
        .unwrap_or_default()
        .to_zoned(zone.clone())
        .strftime("%F %T")
        .to_string()
}

/// Whoever reads a pipe that we write into.
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
    async fn gone(&self) {
        match &self.0 {
            Some(pipe) => drop(pipe.ready(Interest::ERROR).await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bus::tests::to_agent;

    #[test]
    fn what_was_said_is_not_said_again() {
        let mut printer = Printer::new(false);
        let address = |new: &str| Event::AddressChanged {
            interface: "eth0".to_owned(),
            old: "10.0.0.1".to_owned(),
            new: new.to_owned(),
        };
        let changed = |changes: &[&str]| Event::Changed {
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            duration_us: 1000,
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

    /// The bus may be late where the agent is well.
    #[tokio::test]
    async fn an_agent_that_is_silent_on_the_bus_is_followed_by_its_document() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            runtime: folder.path().to_owned(),
            ..Paths::from_environment()
        };
        let pid = std::process::id();
        let text = format!(
            r#"{{"version":1,"pid":{pid},"role":"active","mode":"nat","interface":"eth0","address":"10.0.0.1","gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[]}}"#
        );
        std::fs::write(folder.path().join("status.json"), text).unwrap();
        let (bus, _server, _) = to_agent("").await;
        let (mut source, note) = source(&paths, Some(bus)).await.unwrap();
        assert_eq!(
            note.unwrap().words(),
            "the agent did not answer on the bus within 1 s; following the status document"
        );
        assert!(matches!(source, Source::Meanwhile(_, Retry::AfterNext)));
        let events = source.next(&paths).await.unwrap();
        assert_eq!(
            events.first().unwrap().words(),
            format!("agent {pid}: eth0 10.0.0.1 (nat), healthy")
        );
    }

    #[test]
    fn a_fight_over_a_value_is_told_blow_by_blow() {
        let mut printer = Printer::new(false);
        for round in 0..3 {
            for change in ["wg0 mtu 1420 -> 1280", "wg0 mtu 1280 -> 1420"] {
                let event = Event::Changed {
                    changes: vec![change.to_owned()],
                    duration_us: 1000,
                };
                let told = printer.words(&event);
                assert_eq!(told, Some(format!("{change} (1.0 ms)")), "{round}");
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
            assert_eq!(time(&zone, unix_ms), text);
        }
        assert_eq!(time(&TimeZone::UTC, 0), "1970-01-01 00:00:00");
    }
}
