//! One line: what a call of `tracing` said, taken apart.

use std::fmt;

use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use crate::report::event;

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
        self.field("event").unwrap_or(event::LIBRARY)
    }

    pub(super) fn message_id(&self) -> String {
        event::message_id(self.event(), self.field("health"))
    }

    fn take(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
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
