//! Logging: structured fields to journald when systemd runs the agent, plain lines to
//! standard error otherwise.

#![expect(
    clippy::disallowed_methods,
    reason = "standard error is the journal where systemd does not run the agent"
)]

mod limit;
mod line;
mod native;

use std::{
    env,
    io::{self, Write},
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use self::{
    limit::{Limiter, Note},
    line::Line,
    native::{Native, SOCKET},
};

/// How long one line may wait for journald; while journald stays busy the next ones do
/// not wait at all.
const SEND_TIMEOUT: Duration = Duration::from_millis(50);

/// The process's log.
static LOG: OnceLock<Log> = OnceLock::new();

/// Starts logging for the process. `$WSLMESH_LOG` sets the level: error, warn,
/// info (the default), debug or trace.
///
/// In the journal each field carries the prefix WSLMESH_, such as
/// WSLMESH_EVENT or WSLMESH_ADDRESS_NEW, and each line the MESSAGE_ID of its
/// event or health code.
pub fn start() {
    let level = env::var("WSLMESH_LOG").ok();
    let level = level.and_then(|level| level.parse().ok());
    // The netlink decoder warns about attributes of kernels newer than itself.
    let filter = Targets::new()
        .with_target("wslmesh", level.unwrap_or(Level::INFO))
        .with_default(Level::ERROR);
    let journal = under_journal().then(|| Native::open(Path::new(SOCKET), SEND_TIMEOUT));
    // Only a second start in one process fails; the first log stays.
    let log = LOG.get_or_init(|| Log::new(journal.and_then(Result::ok)));
    let registry = tracing_subscriber::registry().with(filter).with(log);
    registry.try_init().unwrap_or_default();
}

/// Writes the summaries of rate limits that expired without a further line.
pub(super) fn flush_expired() {
    if let Some(log) = LOG.get() {
        log.flush_expired(Instant::now());
    }
}

/// `$JOURNAL_STREAM` names device and inode of the journal's stream; it counts
/// only when standard error really is that stream (systemd.exec(5)).
fn under_journal() -> bool {
    let stream = env::var("JOURNAL_STREAM");
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| stream == Ok(format!("{}:{}", stat.st_dev, stat.st_ino)))
}

/// Writes lines to the journal, or else to standard error.
#[derive(Debug)]
struct Log {
    journal: Option<Native>,
    limiter: Mutex<Limiter<Line>>,
}

impl<S: Subscriber> Layer<S> for &'static Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.record(Line::of(event), Instant::now());
    }
}

impl Log {
    fn new(journal: Option<Native>) -> Self {
        Self {
            journal,
            limiter: Mutex::default(),
        }
    }

    fn record(&self, line: Line, now: Instant) {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        // Written under the lock, so that summaries precede the line.
        let lines = match line.rate() {
            Some(rate) => limiter.admit(rate, line, now),
            None if line.event() == "stop" => {
                let mut lines = limiter.flush();
                lines.push((line, Note::None));
                lines
            }
            None => vec![(line, Note::None)],
        };
        self.write(lines);
    }

    fn flush_expired(&self, now: Instant) {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(limiter.expired(now));
    }

    fn write(&self, lines: Vec<(Line, Note)>) {
        for (mut line, note) in lines {
            line.add_note(note);
            // A line that cannot be written is lost: there is no other place for it.
            match &self.journal {
                Some(native) => native.send(&line),
                None => io::stderr().write_all(line.plain().as_bytes()),
            }
            .unwrap_or_default();
        }
    }
}

#[cfg(test)]
pub(super) use self::native::field_name;
#[cfg(test)]
mod tests;
