//! What a check found.

use std::cmp::Reverse;

use crate::model::{HealthEntry, Severity};

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The check could not be made here, for this reason.
    Skipped(String),
    /// As it should be, with the facts.
    Ok(String),
    /// What was found, the most severe first; never empty. The agent's findings are
    /// as it reported them. A check's own have no code, and no remediation where the
    /// check's applies.
    Found(Vec<HealthEntry>),
}

/// What a check returns. A guard ends it early with a verdict, usually "skipped".
pub(super) type Judged = Result<Verdict, Verdict>;

/// The reason of a check that makes no sense outside of WSL.
pub(super) const NOT_WSL: &str = "this is not WSL";

impl Verdict {
    /// Everything that was found, the most severe first.
    #[must_use]
    pub fn findings(&self) -> &[HealthEntry] {
        match self {
            Self::Skipped(_) | Self::Ok(_) => &[],
            Self::Found(findings) => findings,
        }
    }

    /// The highest severity of its findings; `None` for a check that passed or was
    /// skipped.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.findings().first().map(|finding| finding.severity)
    }

    /// Whether something does not work or soon will not: exit status 3.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.severity() >= Some(Severity::Warning)
    }

    /// "skipped", "ok" or the severity: its name in the output and in the JSON
    /// document.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Skipped(_) => "skipped".to_owned(),
            Self::Ok(_) => "ok".to_owned(),
            Self::Found(_) => self.severity().map_or_else(String::new, |s| s.to_string()),
        }
    }

    /// The facts of this case without a final dot: those of all findings.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Skipped(detail) | Self::Ok(detail) => detail.clone(),
            Self::Found(findings) => Vec::from_iter(findings.iter().map(describe)).join("; "),
        }
    }

    /// The same with this fix on a machine without Windows.
    pub(super) fn fix_elsewhere(self, wsl: bool, remediation: &str) -> Self {
        if wsl { self } else { self.fix(remediation) }
    }

    /// The same with this fix for each of its findings.
    pub(super) fn fix(mut self, remediation: impl Into<String>) -> Self {
        if let Self::Found(findings) = &mut self {
            let remediation = remediation.into();
            for finding in findings {
                finding.remediation.clone_from(&remediation);
            }
        }
        self
    }
}

/// The facts of a finding, without a final dot; of the agent's with code and subject.
#[must_use]
pub fn describe(finding: &HealthEntry) -> String {
    match finding.code.as_str() {
        "" => finding.detail.clone(),
        _ => format!("{}: {}", finding.title(), finding.detail),
    }
}

fn found(severity: Severity, detail: impl Into<String>) -> Verdict {
    Verdict::Found(vec![HealthEntry {
        code: String::new(),
        severity,
        subject: String::new(),
        detail: detail.into(),
        remediation: String::new(),
    }])
}

/// The check cannot be made here.
pub(super) fn skipped(reason: impl Into<String>) -> Verdict {
    Verdict::Skipped(reason.into())
}

/// As it should be.
pub(super) fn ok(detail: impl Into<String>) -> Verdict {
    Verdict::Ok(detail.into())
}

/// Good to know; nothing is wrong with the node.
pub(super) fn info(detail: impl Into<String>) -> Verdict {
    found(Severity::Info, detail)
}

/// Something will not work as wanted, now or after the next start.
pub(super) fn warning(detail: impl Into<String>) -> Verdict {
    found(Severity::Warning, detail)
}

/// Something does not work.
pub(super) fn error(detail: impl Into<String>) -> Verdict {
    found(Severity::Error, detail)
}

/// All findings of several verdicts in one; `ok` describes the case of none.
pub(super) fn all(parts: impl IntoIterator<Item = Verdict>, ok: impl Into<String>) -> Verdict {
    let findings = parts.into_iter().flat_map(|part| match part {
        Verdict::Found(findings) => findings,
        Verdict::Skipped(_) | Verdict::Ok(_) => Vec::new(),
    });
    let mut findings: Vec<HealthEntry> = findings.collect();
    if findings.is_empty() {
        return Verdict::Ok(ok.into());
    }
    findings.sort_by_key(|finding| Reverse(finding.severity));
    Verdict::Found(findings)
}

/// What was seen, with a remark on what only root can see. Where nothing was seen
/// and something is hidden, there is no verdict.
pub(super) fn beside_hidden(mut verdict: Verdict, seen: bool, hidden: &[String]) -> Verdict {
    if hidden.is_empty() {
        return verdict;
    }
    let remark = format!("needs root: {}", list(hidden));
    if !seen {
        return skipped(remark);
    }
    let detail = match &mut verdict {
        Verdict::Skipped(detail) | Verdict::Ok(detail) => Some(detail),
        Verdict::Found(findings) => findings.last_mut().map(|finding| &mut finding.detail),
    };
    if let Some(detail) = detail {
        *detail = format!("{detail} ({remark})");
    }
    verdict
}

/// Items with commas between.
pub(super) fn list(items: impl IntoIterator<Item: ToString>) -> String {
    let items = items.into_iter().map(|item| item.to_string());
    Vec::from_iter(items).join(", ")
}

#[cfg(test)]
mod tests;
