//! `wslmesh doctor`

mod fix;

use anyhow::bail;
use clap::{Args, builder::PossibleValuesParser};
use serde::Serialize;

use self::fix::Fixed;
use super::{
    output::{Exit, print},
    style::{dim, good, heading, severity},
    table::{WIDTH, wrap},
};
use crate::{
    config::Source,
    doctor::{Check, Fix, GROUPS, Verdict, describe, examine, gather},
    model::{HealthEntry, Severity},
    paths::Paths,
};

/// Arguments of `wslmesh doctor`.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Repair what is safe, as root: one pass of the agent, owners and modes of wslmesh's own files
    #[arg(long)]
    fix: bool,
    /// List the checks that passed and those that were skipped, too
    #[arg(long)]
    all: bool,
    /// Print all verdicts as JSON
    #[arg(long)]
    json: bool,
    /// Query the name server (for the root's name servers) even if it is in no private network
    #[arg(long)]
    network: bool,
    /// Make the checks of these groups only [default: all]
    #[arg(value_name = "GROUP", value_parser = PossibleValuesParser::new(GROUPS))]
    groups: Vec<String>,
}

/// Version of the JSON document.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    checks: Vec<Entry>,
    #[serde(flatten)]
    fixed: &'a Fixed,
}

/// One check; `detail` and `remediation` are the details of all findings and the fix
/// of the most severe one. A finding of the check has its id as the code.
#[derive(Serialize)]
struct Entry {
    id: &'static str,
    group: &'static str,
    title: &'static str,
    verdict: String,
    detail: String,
    why: &'static str,
    remediation: String,
    fixable: bool,
    findings: Vec<HealthEntry>,
}

type Results = [(Check, Verdict)];

pub(super) async fn doctor(command: Command, source: Source, paths: Paths) -> anyhow::Result<Exit> {
    if command.fix && !rustix::process::geteuid().is_root() {
        bail!("--fix changes the machine and needs root: sudo wslmesh doctor --fix");
    }
    let mut facts = gather(&source, &paths, command.network).await;
    let mut fixed = Fixed::default();
    if command.fix {
        let results = examine(&facts, &command.groups);
        fixed = fix::fix(&results, &facts, &source, &paths).await;
        facts = gather(&source, &paths, command.network).await;
    }
    let results = examine(&facts, &command.groups);
    if command.json {
        print(&json(&results, &fixed)?)?;
    } else {
        let mut lines = fixed_lines(command.fix, &fixed);
        lines.extend(page(&results, command.all));
        for line in lines {
            print(&line)?;
        }
    }
    let bad = results.iter().any(|(_, verdict)| verdict.is_bad());
    Ok(if bad { Exit::Degraded } else { Exit::Fine })
}

fn json(results: &Results, fixed: &Fixed) -> serde_json::Result<String> {
    let checks = results.iter().map(|(check, verdict)| {
        let info = check.info();
        let complete = |finding: &HealthEntry| {
            let mut finding = finding.clone();
            if finding.code.is_empty() {
                info.id.clone_into(&mut finding.code);
            }
            if finding.remediation.is_empty() {
                info.remediation.clone_into(&mut finding.remediation);
            }
            finding
        };
        Entry {
            id: info.id,
            group: info.group,
            title: info.title,
            verdict: verdict.name(),
            detail: verdict.detail(),
            why: info.why,
            remediation: verdict.remediation().unwrap_or(info.remediation).to_owned(),
            fixable: info.fix != Fix::None,
            findings: verdict.findings().iter().map(complete).collect(),
        }
    });
    serde_json::to_string_pretty(&Report {
        version: VERSION,
        checks: checks.collect(),
        fixed,
    })
}

/// Columns before the text: a margin, the severity, the check's id.
const MARGIN: usize = 2;
const SEVERITY: usize = 8;
const ID: usize = 20;
const INDENT: usize = MARGIN + SEVERITY + ID;

/// Details with the same fix, and fixes of one check, that are printed; the rest is
/// counted, unless `--all` is given.
const MOST_DETAILS: usize = 3;
const MOST_FIXES: usize = 5;

/// What `--fix` did.
fn fixed_lines(wanted: bool, fixed: &Fixed) -> Vec<String> {
    let Fixed {
        done,
        asked,
        failed,
    } = fixed;
    let mut lines = Vec::new();
    for (word, texts) in [("fixed", done), ("asked", asked), ("not fixed", failed)] {
        for text in texts {
            let wrapped = wrap(&format!("{word}: {text}"), WIDTH - MARGIN);
            lines.extend(wrapped.iter().enumerate().map(|(index, line)| {
                let margin = if index == 0 { 0 } else { MARGIN };
                format!("{:margin$}{line}", "")
            }));
        }
    }
    if wanted && lines.is_empty() {
        lines.push("nothing to fix that is safe".to_owned());
    }
    if wanted {
        lines.push(String::new());
    }
    lines
}

/// Findings, the most severe first, and one line that counts the other checks; with
/// `all` a line for each of them.
fn page(results: &Results, all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut explained = Vec::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        for (check, verdict) in results {
            let kinds = kinds(*check, verdict.findings(), severity);
            if kinds.is_empty() {
                continue;
            }
            let why = !explained.contains(check);
            explained.push(*check);
            lines.extend(block(*check, severity, &kinds, why, all));
        }
    }
    if all {
        lines.extend(others(results));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(summary(results, all));
    lines
}

/// Details of one severity that have the same fix.
struct Kind {
    remediation: String,
    details: Vec<String>,
}

fn kinds(check: Check, findings: &[HealthEntry], severity: Severity) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for finding in findings
        .iter()
        .filter(|finding| finding.severity == severity)
    {
        let remediation = match finding.remediation.as_str() {
            "" => check.info().remediation,
            own => own,
        };
        match kinds
            .iter_mut()
            .find(|kind| kind.remediation == remediation)
        {
            Some(kind) => kind.details.push(describe(finding)),
            None => kinds.push(Kind {
                remediation: remediation.to_owned(),
                details: vec![describe(finding)],
            }),
        }
    }
    kinds
}

/// The findings of one check and severity: each with its fix, the first with `why`.
fn block(check: Check, severity: Severity, kinds: &[Kind], why: bool, all: bool) -> Vec<String> {
    let most = |most| if all { usize::MAX } else { most };
    let mut lines = Vec::new();
    for (index, kind) in kinds.iter().take(most(MOST_FIXES)).enumerate() {
        let details = &kind.details;
        let shown: Vec<&str> = details
            .iter()
            .take(most(MOST_DETAILS))
            .map(String::as_str)
            .collect();
        let mut detail = shown.join("; ");
        if shown.len() < details.len() {
            let (all, more) = (details.len(), details.len() - shown.len());
            detail = format!("{detail}; and {more} more ({all} in all)");
        }
        let id = if index == 0 { check.info().id } else { "" };
        lines.extend(row(&severity.to_string(), id, &detail));
        if index == 0 && why {
            lines.extend(below("why", check.info().why));
        }
        lines.extend(below("fix", &kind.remediation));
    }
    let hidden = kinds.iter().skip(most(MOST_FIXES));
    let hidden: usize = hidden.map(|kind| kind.details.len()).sum();
    if hidden > 0 {
        lines.extend(below("and", &format!("{hidden} more (--all shows them)")));
    }
    lines
}

/// The checks that passed or were skipped, by group, one line each where they passed.
fn others(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    let mut group = None;
    for (check, verdict) in results {
        let info = check.info();
        let detail = match verdict {
            Verdict::Found(_) => continue,
            Verdict::Ok(detail) => cut(detail, WIDTH - INDENT),
            Verdict::Skipped(reason) => reason.clone(),
        };
        if group.replace(info.group) != Some(info.group) {
            lines.push(heading(info.group));
        }
        lines.extend(row(&verdict.name(), info.id, &detail));
    }
    lines
}

/// What one line holds of a text.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(4)).collect();
    format!("{} ...", start.trim_end())
}

/// A verdict, a check's id and a text in columns.
fn row(verdict: &str, id: &str, text: &str) -> Vec<String> {
    let coloured = match verdict {
        "ok" => good(verdict),
        "skipped" => dim(verdict),
        verdict => severity(verdict),
    };
    let pad = SEVERITY.saturating_sub(verdict.len());
    let head = format!("{:MARGIN$}{coloured}{:pad$}{id:<ID$}", "", "");
    let lines = wrap(text, WIDTH - INDENT).into_iter().enumerate();
    let lines = lines.map(|(index, line)| match index {
        0 => format!("{head}{line}"),
        _ => format!("{:INDENT$}{line}", ""),
    });
    lines.collect()
}

/// A line below a finding.
fn below(word: &str, text: &str) -> Vec<String> {
    let margin = MARGIN + SEVERITY;
    let lines = wrap(&format!("{word}: {text}"), WIDTH - margin).into_iter();
    lines
        .map(|line| format!("{:margin$}{}", "", dim(&line)))
        .collect()
}

fn summary(results: &Results, all: bool) -> String {
    let verdicts = || results.iter().map(|(_, verdict)| verdict);
    let passed = verdicts().filter(|verdict| matches!(verdict, Verdict::Ok(_)));
    let skipped = verdicts().filter(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let passed = passed.count();
    let text = format!(
        "{passed} {} passed, {} skipped",
        if passed == 1 { "check" } else { "checks" },
        skipped.count()
    );
    if all {
        text
    } else {
        format!("{text} (--all shows them)")
    }
}

#[cfg(test)]
mod tests;
