//! What a pass noticed.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Code, DISCOVERED, Severity};

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

    /// One finding for each code and subject, in the order of the first, with the first
    /// reasons and the number of the others: a range of ports may have many.
    #[must_use]
    pub fn merged(all: impl IntoIterator<Item = Self>) -> Vec<Self> {
        const SHOWN: usize = 5;
        let (mut merged, mut places) = (Vec::new(), BTreeMap::new());
        for finding in all {
            let key = (finding.code, finding.subject.clone());
            let place = *places.entry(key).or_insert(merged.len());
            match merged.get_mut(place) {
                None => merged.push((finding, Vec::new(), 0)),
                Some((first, others, more)) => {
                    if first.detail == finding.detail || others.contains(&finding.detail) {
                        continue;
                    }
                    match others.len() < SHOWN - 1 {
                        true => others.push(finding.detail),
                        false => *more += 1,
                    }
                }
            }
        }
        let with_others = |(mut first, mut others, more): (Self, Vec<String>, u32)| {
            if more > 0 {
                others.push(format!("and {more} more"));
            }
            for other in others {
                first.detail = format!("{}; {other}", first.detail);
            }
            first
        };
        merged.into_iter().map(with_others).collect()
    }

    /// Code and subject, for a person.
    #[must_use]
    pub fn title(&self) -> String {
        title(self.code.as_str(), &self.subject)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, detail, fix) = (self.title(), &self.detail, self.code.remediation());
        let stop = if detail.ends_with(['.', '?', '!']) {
            ""
        } else {
            "."
        };
        write!(f, "{title}: {detail}{stop} {fix}")
    }
}

/// A finding with everything that the registry says of its code, as JSON and D-Bus
/// have it. A reader may be older than the writer, so the code is any text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HealthEntry {
    /// Its code.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// On what.
    pub subject: Subject,
    /// The facts.
    pub detail: String,
    /// What to do.
    pub remediation: String,
}

impl HealthEntry {
    /// Code and subject, for a person.
    #[must_use]
    pub fn title(&self) -> String {
        title(&self.code, &self.subject)
    }

    /// Whether it is a warning or an error about the forward of this name, or about all
    /// that were discovered where this is one of them.
    #[must_use]
    pub fn disturbs(&self, forward: &str, discovered: bool) -> bool {
        let of_all = discovered && self.subject == DISCOVERED;
        self.severity > Severity::Info
            && (of_all || self.subject.split(", ").any(|name| name == forward))
    }
}

impl From<&Finding> for HealthEntry {
    fn from(finding: &Finding) -> Self {
        let code = finding.code;
        Self {
            code: code.to_string(),
            severity: code.severity(),
            subject: finding.subject.clone(),
            detail: finding.detail.clone(),
            remediation: code.remediation().to_owned(),
        }
    }
}

fn title(code: &str, subject: &str) -> String {
    if subject.is_empty() {
        code.to_owned()
    } else {
        format!("{code} ({subject})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_a_forward() {
        let entry = |severity, subject: &str| HealthEntry {
            code: "x".into(),
            severity,
            subject: subject.into(),
            detail: String::new(),
            remediation: String::new(),
        };
        let both = entry(Severity::Warning, "ssh, web");
        assert!(both.disturbs("web", false) && !both.disturbs("we", false));
        assert!(!entry(Severity::Info, "web").disturbs("web", false));
        let all = entry(Severity::Error, DISCOVERED);
        assert!(all.disturbs("auto-tcp-80", true) && !all.disturbs("web", false));
    }
}
