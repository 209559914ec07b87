//! What a check found.

use std::{cmp::Reverse, fmt};

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

/// One of the things that a check has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How grave it is.
    pub grade: Grade,
    /// The facts of this case, without a final dot.
    pub detail: String,
    /// Its fix, where it is more exact than the check's own.
    pub remediation: Option<String>,
}

/// One check's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended: as its worst part.
    pub grade: Grade,
    /// The facts of this case, without a final dot: those of all parts.
    pub detail: String,
    /// The fix of its worst part, where it is more exact than the check's own.
    pub remediation: Option<String>,
    /// Where there are several things to tell: each, the worst first.
    parts: Vec<Part>,
}

impl Verdict {
    fn new(grade: Grade, detail: impl Into<String>) -> Self {
        Self {
            grade,
            detail: detail.into(),
            remediation: None,
            parts: Vec::new(),
        }
    }

    /// Each thing that there is to tell, the worst first: none where all is well or
    /// where the check could not be made.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match (self.grade, self.parts.as_slice()) {
            (Grade::Skipped | Grade::Ok, _) => Vec::new(),
            (_, []) => vec![Part {
                grade: self.grade,
                detail: self.detail.clone(),
                remediation: self.remediation.clone(),
            }],
            (_, parts) => parts.to_vec(),
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

    /// The same with a fix of its own.
    pub(super) fn remediation(mut self, remediation: impl Into<String>) -> Self {
        self.remediation = Some(remediation.into());
        self
    }

    /// The same with a remark on what it does not cover.
    pub(super) fn remark(mut self, remark: &str) -> Self {
        self.detail = format!("{} ({remark})", self.detail);
        self
    }

    /// Several parts in one that is as grave as the worst of them: all that are
    /// more than well are told, each with its own fix. `ok` says what to call it
    /// when nothing is to be told.
    pub(super) fn worst(parts: Vec<Self>, ok: impl FnOnce() -> String) -> Self {
        let told: Vec<Part> = parts.iter().flat_map(Self::parts).collect();
        if told.is_empty() {
            Self::ok(ok())
        } else {
            Self::of(told)
        }
    }

    /// The verdict of these parts, which are in no order.
    pub(crate) fn of(mut parts: Vec<Part>) -> Self {
        parts.sort_by_key(|part| Reverse(part.grade));
        let details: Vec<&str> = parts.iter().map(|part| part.detail.as_str()).collect();
        let worst = parts.first();
        Self {
            grade: worst.map_or(Grade::Ok, |part| part.grade),
            detail: details.join("; "),
            remediation: worst.and_then(|part| part.remediation.clone()),
            parts,
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
    fn every_part_speaks_the_worst_first() {
        let part = |grade, detail: &str, remediation: Option<&str>| Part {
            grade,
            detail: detail.into(),
            remediation: remediation.map(Into::into),
        };
        let parts = vec![
            Verdict::note("a"),
            Verdict::warning("b").remediation("fix b"),
            Verdict::ok("c"),
            Verdict::warning("d").remediation("fix d"),
            Verdict::failed("e"),
        ];
        let verdict = Verdict::worst(parts, || panic!("one part is above ok"));
        assert_eq!(
            (verdict.grade, verdict.remediation.as_deref()),
            (Grade::Failed, None)
        );
        assert_eq!(verdict.detail, "e; b; d; a");
        let expected = [
            part(Grade::Failed, "e", None),
            part(Grade::Warning, "b", Some("fix b")),
            part(Grade::Warning, "d", Some("fix d")),
            part(Grade::Note, "a", None),
        ];
        assert_eq!(verdict.parts(), expected);
        let nested = Verdict::worst(vec![Verdict::note("f"), verdict], || {
            panic!("one part is above ok")
        });
        assert_eq!(nested.parts().len(), 5);
        assert_eq!(nested.parts().first(), expected.first());
    }

    #[test]
    fn what_is_well_has_no_parts() {
        for parts in [vec![], vec![Verdict::ok("x")]] {
            let verdict = Verdict::worst(parts, || "fine".into());
            assert_eq!(verdict, Verdict::ok("fine"));
            assert_eq!(verdict.parts(), []);
        }
        assert_eq!(Verdict::from(Skip::NotWsl).parts(), []);
        let alone = Verdict::note("a").remediation("b");
        assert_eq!(alone.parts().len(), 1);
        assert_eq!(
            Verdict::worst(vec![alone.clone()], String::new).parts(),
            alone.parts()
        );
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
