//! What a pass noticed.

use std::fmt;

use crate::model::Code;

/// One thing that is not as it should be, or that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which thing; severity, text and fix come from the registry.
    pub code: Code,
    /// On what: an interface, a file, a forward's name; empty for the whole agent.
    pub subject: Subject,
    /// The facts of this case, one sentence without a final dot.
    pub detail: String,
}

/// What a finding is about.
pub type Subject = String;

impl Finding {
    /// A finding about something.
    #[must_use]
    pub fn new(code: Code, subject: impl Into<Subject>, detail: impl Into<String>) -> Self {
        Self {
            code,
            subject: subject.into(),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.subject.is_empty() {
            write!(f, " ({})", self.subject)?;
        }
        let stop = if self.detail.ends_with(['.', '?', '!']) {
            ""
        } else {
            "."
        };
        write!(f, ": {}{stop} {}", self.detail, self.code.remediation())
    }
}
