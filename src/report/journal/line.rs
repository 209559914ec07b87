//! One log line: the fields of a call to `tracing`.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use super::limit::{Note, Rate};
use crate::model::visible;
use crate::report::event::{CLEARED, EVENTS, HEALTH, LIBRARY, PROBLEMS, message_id};

/// A line to write.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) level: Level,
    /// A whole sentence; the fields only repeat its parts for machines.
    pub(super) message: String,
    /// As in the sources, without `message`.
    pub(super) fields: Vec<(&'static str, String)>,
    /// The file and line of the sources.
    pub(super) code: Option<(&'static str, u32)>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            level: *metadata.level(),
            message: String::new(),
            fields: Vec::new(),
            code: metadata.file().zip(metadata.line()),
        };
        event.record(&mut line);
        line
    }

    fn field(&self, name: &str) -> Option<&str> {
        let named = self.fields.iter().find(|(field, _)| *field == name);
        named.map(|(_, value)| value.as_str())
    }

    pub(super) fn event(&self) -> &str {
        self.field("event").unwrap_or(LIBRARY)
    }

    pub(super) fn message_id(&self) -> String {
        message_id(self.event(), self.field("health"))
    }

    /// The line's rate limit and what counts against it; `None` for a line that is
    /// always written.
    pub(super) fn rate(&self) -> Option<Rate> {
        if self.level > Level::INFO {
            return None;
        }
        let name = self.event();
        let mut limit = EVENTS.iter().find(|event| event.name == name)?.limit?;
        let mut key = DefaultHasher::new();
        match (name, self.field("health")) {
            // A finding raised and cleared shares one limit.
            (HEALTH | CLEARED, code) => (HEALTH, code, self.field("subject")).hash(&mut key),
            // A different message is a different error.
            (LIBRARY, _) | (_, Some(_)) => {
                limit = PROBLEMS;
                (name, &self.message).hash(&mut key);
            }
            (_, None) => name.hash(&mut key),
        }
        Some(Rate {
            key: key.finish(),
            limit,
            cleared: name == CLEARED,
        })
    }

    pub(super) fn add_note(&mut self, note: Note) {
        let text = match note {
            Note::None => return,
            Note::Repeating(left) => {
                let left = rounded(left);
                format!("repeating: further lines are counted for {left}")
            }
            Note::Times(times, within) => {
                self.fields.push(("times", times.to_string()));
                format!("{times} more times in {}", rounded(within))
            }
        };
        self.message = format!("{} ({text})", self.message);
    }

    /// The priority of syslog(3), and the level as standard error gets it.
    pub(super) fn priority(&self) -> (&'static str, &'static str) {
        match self.level {
            Level::ERROR => ("3", "error: "),
            Level::WARN => ("4", "warning: "),
            Level::INFO => ("6", ""),
            Level::DEBUG => ("7", "debug: "),
            Level::TRACE => ("7", "trace: "),
        }
    }

    /// The line as standard error gets it.
    pub(super) fn plain(&self) -> String {
        let message = visible(&self.message);
        format!("wslmesh: {}{message}\n", self.priority().1)
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Whole seconds or minutes, rounded up.
fn rounded(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000).max(1);
    if seconds <= 120 {
        format!("{seconds} s")
    } else {
        format!("{} min", seconds.div_ceil(60))
    }
}
