//! One line: what a call of `tracing` said, taken apart.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use super::limit::Note;
use crate::report::event::{CLEARED, EVENTS, HEALTH, LIBRARY, Limit, PROBLEMS, message_id};

/// A line on its way out.
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

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let named = self.fields.iter().find(|(field, _)| *field == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The event that it is about.
    pub(super) fn event(&self) -> &str {
        self.field("event").unwrap_or(LIBRARY)
    }

    pub(super) fn message_id(&self) -> String {
        message_id(self.event(), self.field("health"))
    }

    /// What counts as the same thing said again, how often that may be, and whether
    /// this line says that it is over; `None` for what is said each time.
    pub(super) fn kind(&self) -> Option<(u64, Limit, bool)> {
        if self.level > Level::INFO {
            return None;
        }
        let name = self.event();
        let mut limit = EVENTS.iter().find(|event| event.name == name)?.limit?;
        let mut kind = DefaultHasher::new();
        match (name, self.field("health")) {
            // A finding and its end are one thing that comes and goes.
            (HEALTH | CLEARED, code) => (HEALTH, code, self.field("subject")).hash(&mut kind),
            // Other words are another mistake, or another library's trouble.
            (LIBRARY, _) | (_, Some(_)) => {
                limit = PROBLEMS;
                (name, &self.message).hash(&mut kind);
            }
            (_, None) => name.hash(&mut kind),
        }
        Some((kind.finish(), limit, name == CLEARED))
    }

    /// Adds how often it was said.
    pub(super) fn note(&mut self, note: Note) {
        match note {
            Note::Plain => {}
            Note::Last(left) => {
                let left = span(left);
                self.message.push_str(&format!(
                    " (repeating: further lines are counted for {left})"
                ));
            }
            Note::Times(times, within) => {
                let within = span(within);
                self.message
                    .push_str(&format!(" ({times} more times in {within})"));
                self.fields.push(("times", times.to_string()));
            }
        }
    }

    fn take(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

/// A time as people say it, rounded up.
fn span(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000).max(1);
    if seconds <= 120 {
        format!("{seconds} s")
    } else {
        format!("{} min", seconds.div_ceil(60))
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }
}
