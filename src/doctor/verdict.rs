//! What a check found.

use std::fmt;

use serde::{Serialize, Serializer};

/// How a check ended, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// It could not be made here; the detail says why.
    Skipped,
    /// As it should be.
    Ok,
    /// Good to know; nothing is wrong with the node.
    Note,
    /// Something will not work as wanted, now or after the next start.
    Warning,
    /// Something does not work.
    Failed,
}

impl Grade {
    /// Whether it makes the examination end with status 3.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            Self::Warning | Self::Failed => true,
            Self::Skipped | Self::Ok | Self::Note => false,
        }
    }

    /// Its name in the output and in the JSON document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Grade {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One check's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub grade: Grade,
    /// The facts of this case, without a final dot.
    pub detail: String,
    /// The cure of this case, where it is more exact than the check's own.
    pub cure: Option<String>,
}

impl Verdict {
    fn new(grade: Grade, detail: impl Into<String>) -> Self {
        Self {
            grade,
            detail: detail.into(),
            cure: None,
        }
    }

    /// As it should be.
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Self::new(Grade::Ok, detail)
    }

    /// Good to know.
    pub(super) fn note(detail: impl Into<String>) -> Self {
        Self::new(Grade::Note, detail)
    }

    /// Will not work as wanted.
    pub(super) fn warning(detail: impl Into<String>) -> Self {
        Self::new(Grade::Warning, detail)
    }

    /// Does not work.
    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self::new(Grade::Failed, detail)
    }

    /// The same with a cure of its own.
    pub(super) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// The worst of several parts, with all details of that grade in one; `ok`
    /// says what to call it when nothing is to be told.
    pub(super) fn worst(parts: Vec<Self>, ok: impl FnOnce() -> String) -> Self {
        let grade = parts.iter().map(|part| part.grade).max();
        let Some(grade) = grade.filter(|grade| *grade > Grade::Ok) else {
            return Self::ok(ok());
        };
        let told: Vec<&Self> = parts.iter().filter(|part| part.grade == grade).collect();
        let details: Vec<&str> = told.iter().map(|part| part.detail.as_str()).collect();
        Self {
            grade,
            detail: details.join("; "),
            cure: told.iter().find_map(|part| part.cure.clone()),
        }
    }
}

/// Why a check could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Skip {
    /// It is about WSL, and this is none.
    NotWsl,
    /// Only root may see this.
    NeedsRoot(String),
    /// There is nothing to look at.
    Nothing(String),
    /// It could not be read.
    Unknown(String),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWsl => f.write_str("this is not WSL"),
            Self::NeedsRoot(what) => write!(f, "needs root: {what}"),
            Self::Nothing(what) | Self::Unknown(what) => f.write_str(what),
        }
    }
}

impl From<Skip> for Verdict {
    fn from(skip: Skip) -> Self {
        Self::new(Grade::Skipped, skip.to_string())
    }
}

/// What a check gives back.
pub(super) type Judged = Result<Verdict, Skip>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_speaks() {
        let parts = vec![
            Verdict::note("a"),
            Verdict::warning("b").cure("cure b"),
            Verdict::ok("c"),
            Verdict::warning("d"),
        ];
        let verdict = Verdict::worst(parts, || unreachable!());
        assert_eq!(verdict, Verdict::warning("b; d").cure("cure b"));
        for parts in [vec![], vec![Verdict::ok("x")]] {
            assert_eq!(Verdict::worst(parts, || "fine".into()), Verdict::ok("fine"));
        }
    }

    #[test]
    fn two_grades_are_trouble() {
        use Grade::{Failed, Note, Ok, Skipped, Warning};
        for (grade, trouble) in [
            (Skipped, false),
            (Ok, false),
            (Note, false),
            (Warning, true),
            (Failed, true),
        ] {
            assert_eq!(grade.is_trouble(), trouble, "{grade}");
        }
        assert!(Failed > Warning && Warning > Note && Note > Ok && Ok > Skipped);
    }
}
