//! `wslmesh doctor`

mod fix;

use anyhow::bail;
use clap::{Args, builder::PossibleValuesParser};
use serde::Serialize;

use self::fix::Fixed;
use super::{
    output::{Exit, print, print_json},
    style::{dim, good, heading, severity},
    table::{WIDTH, hanging, wrap},
};
use crate::{
    config::Source,
    doctor::{Check, Fix, GROUPS, Verdict, describe, examine, gather},
    model::{HealthEntry, Severity, counted},
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

type Results = [(&'static Check, Verdict)];

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
        print_json(&report(&results, &fixed))?;
    } else {
        let mut lines = fixed_lines(command.fix, &fixed);
        lines.extend(page(&results, command.all));
        print(&lines.join("\n"))?;
    }
    let bad = results.iter().any(|(_, verdict)| verdict.is_bad());
    Ok(if bad { Exit::Degraded } else { Exit::Fine })
}

fn report<'a>(results: &Results, fixed: &'a Fixed) -> Report<'a> {
    let checks = results.iter().map(|(check, verdict)| {
        let mut findings = verdict.findings().to_vec();
        for finding in &mut findings {
            if finding.code.is_empty() {
                check.id.clone_into(&mut finding.code);
            }
            if finding.remediation.is_empty() {
                check.remediation.clone_into(&mut finding.remediation);
            }
        }
        let first = findings.first();
        let remediation = first.map_or(check.remediation, |first| &first.remediation);
        Entry {
            id: check.id,
            group: check.group,
            title: check.title,
            verdict: verdict.name(),
            detail: verdict.detail(),
            why: check.why,
            remediation: remediation.to_owned(),
            fixable: check.fix != Fix::None,
            findings,
        }
    });
    Report {
        version: VERSION,
        checks: checks.collect(),
        fixed,
    }
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
    let done = fixed.done.iter().map(|text| format!("fixed: {text}"));
    let asked = fixed.asked.iter().map(|text| format!("asked: {text}"));
    let failed = fixed.failed.iter().map(|text| format!("not fixed: {text}"));
    let texts = done.chain(asked).chain(failed);
    let below = format!("\n{:MARGIN$}", "");
    let mut lines: Vec<String> = texts
        .map(|text| wrap(&text, WIDTH - MARGIN).join(&below))
        .collect();
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
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        for (check, verdict) in results {
            lines.extend(block(check, verdict, severity, all));
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

/// The findings of one check and severity: those with the same fix together, with it.
/// Why the check matters is said once.
fn block(check: &Check, verdict: &Verdict, severity: Severity, all: bool) -> Vec<String> {
    let mut kinds: Vec<(&str, Vec<String>)> = Vec::new();
    let findings = verdict.findings().iter();
    for finding in findings.filter(|finding| finding.severity == severity) {
        let remediation = match finding.remediation.as_str() {
            "" => check.remediation,
            own => own,
        };
        match kinds.iter_mut().find(|(fix, _)| *fix == remediation) {
            Some((_, details)) => details.push(describe(finding)),
            None => kinds.push((remediation, vec![describe(finding)])),
        }
    }
    let split = |length: usize, most: usize| if all { length } else { length.min(most) };
    let (shown, hidden) = kinds.split_at(split(kinds.len(), MOST_FIXES));
    let mut lines = Vec::new();
    for (index, (remediation, details)) in shown.iter().enumerate() {
        let (shown, hidden) = details.split_at(split(details.len(), MOST_DETAILS));
        let mut detail = shown.join("; ");
        if !hidden.is_empty() {
            let (all, more) = (details.len(), hidden.len());
            detail = format!("{detail}; and {more} more ({all} in all)");
        }
        let id = if index == 0 { check.id } else { "" };
        lines.extend(row(&severity.to_string(), id, &detail));
        if index == 0 && verdict.severity() == Some(severity) {
            lines.extend(below("why", check.why));
        }
        lines.extend(below("fix", remediation));
    }
    let hidden: usize = hidden.iter().map(|(_, details)| details.len()).sum();
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
        let detail = match verdict {
            Verdict::Found(_) => continue,
            Verdict::Ok(detail) => cut(detail, WIDTH - INDENT),
            Verdict::Skipped(reason) => reason.clone(),
        };
        if group.replace(check.group) != Some(check.group) {
            lines.push(heading(check.group));
        }
        lines.extend(row(&verdict.name(), check.id, &detail));
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
    let head = format!("{:MARGIN$}{verdict:<SEVERITY$}{id:<ID$}", "");
    let mut lines = hanging(&head, wrap(text, WIDTH - INDENT));
    if let Some(first) = lines.first_mut() {
        // The colour has no width, so it comes after the breaking of lines.
        *first = first.replacen(verdict, &coloured, 1);
    }
    lines
}

/// A line below a finding.
fn below(word: &str, text: &str) -> Vec<String> {
    let margin = " ".repeat(MARGIN + SEVERITY);
    let lines = wrap(&format!("{word}: {text}"), WIDTH - margin.len());
    hanging(&margin, lines.iter().map(|line| dim(line)))
}

fn summary(results: &Results, all: bool) -> String {
    let of = |wanted: fn(&Verdict) -> bool| {
        let verdicts = results.iter().map(|(_, verdict)| verdict);
        verdicts.filter(|verdict| wanted(verdict)).count()
    };
    let passed = of(|verdict| matches!(verdict, Verdict::Ok(_)));
    let skipped = of(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let shown = if all { "" } else { " (--all shows them)" };
    let passed = counted(passed, "check");
    format!("{passed} passed, {skipped} skipped{shown}")
}

#[cfg(test)]
mod tests;
