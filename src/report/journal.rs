//! Where log lines go: fields to the journal when systemd runs the agent,
//! readable lines to standard error otherwise.

mod limit;
mod line;
mod native;

use std::{
    env,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
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

/// How long a line may wait for journald, once.
const PATIENCE: Duration = Duration::from_millis(50);

/// Starts logging for the process. `$WSLMESH_LOG` sets the level: error, warn,
/// info (the default), debug or trace.
///
/// In the journal each field carries the prefix WSLMESH_, such as
/// WSLMESH_EVENT or WSLMESH_ADDRESS_NEW, and each line the MESSAGE_ID of its
/// event or health code.
pub fn start() {
    let level = env::var("WSLMESH_LOG")
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(Level::INFO);
    // The decoder complains about attributes of kernels newer than itself.
    let filter = Targets::new()
        .with_target("wslmesh", level)
        .with_default(Level::ERROR);
    let journal = under_journal().then(|| Native::open(Path::new(SOCKET), PATIENCE));
    let log = Arc::new(Log::new(journal.and_then(Result::ok)));
    // Only a second start in one process fails, and then the first one serves.
    tracing_subscriber::registry()
        .with(filter)
        .with(Saying(Arc::clone(&log)))
        .try_init()
        .unwrap_or_default();
    LOG.set(log).unwrap_or_default();
}

/// Says what was held back and is due, for a time when nothing else is said.
pub(super) fn say_due() {
    if let Some(log) = LOG.get() {
        log.say_due(Instant::now());
    }
}

/// `$JOURNAL_STREAM` names device and inode of the journal's stream; it counts
/// only when standard error really is that stream (systemd.exec(5)).
fn under_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned().map(File::from) else {
        return false;
    };
    rustix::fs::fstat(&stderr)
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The process's log.
static LOG: OnceLock<Arc<Log>> = OnceLock::new();

/// Every line's way out: the journal, or else standard error.
#[derive(Debug)]
struct Log {
    journal: Option<Native>,
    limiter: Mutex<Limiter<Line>>,
}

/// The log as `tracing` knows it.
struct Saying(Arc<Log>);

impl<S: Subscriber> Layer<S> for Saying {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.take(Line::of(event), Instant::now());
    }
}

impl Log {
    fn new(journal: Option<Native>) -> Self {
        Self {
            journal,
            limiter: Mutex::default(),
        }
    }

    fn take(&self, line: Line, now: Instant) {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        // Written under the lock: what was held back comes first.
        match line.kind() {
            Some((kind, limit, over)) => self.say_all(limiter.take(kind, limit, over, line, now)),
            None => {
                if line.event() == "stop" {
                    self.say_all(limiter.rest());
                }
                self.say(&line);
            }
        }
    }

    fn say_due(&self, now: Instant) {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        self.say_all(limiter.due(now));
    }

    fn say_all(&self, lines: Vec<(Line, Note)>) {
        for (mut line, note) in lines {
            line.note(note);
            self.say(&line);
        }
    }

    fn say(&self, line: &Line) {
        // A line that nobody takes is lost: there is nowhere to say so.
        match &self.journal {
            Some(native) => native.send(line),
            None => io::stderr().write_all(readable(line).as_bytes()),
        }
        .unwrap_or_default();
    }
}

/// The message alone, with its weight.
fn readable(line: &Line) -> String {
    let level = match line.level {
        Level::ERROR => "error: ",
        Level::WARN => "warning: ",
        Level::INFO => "",
        Level::DEBUG => "debug: ",
        Level::TRACE => "trace: ",
    };
    format!("wslmesh: {level}{}\n", line.message)
}

#[cfg(test)]
pub(super) use self::native::name_of;
#[cfg(test)]
mod tests;
