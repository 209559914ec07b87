//! `wslmesh doctor`

mod clock;
mod fix;
mod mtu;

use std::ffi::OsStr;

use anyhow::bail;
use clap::{
    Args, CommandFactory as _,
    builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser},
};
use serde::Serialize;

use self::fix::Fixed;
use super::{
    Arguments,
    output::{Exit, print, print_json, write_error},
    print_usage,
    style::{dim, good, heading, severity},
    table::{WIDTH, hanging, wrap},
};
use crate::{
    config::Source,
    doctor::{Check, Fix, GROUPS, Verdict, describe, examine, gather},
    model::{HealthEntry, Severity, counted},
    observe,
    paths::Paths,
};

/// Arguments of `wslmesh doctor`.
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "wslmesh doctor [OPTIONS] [GROUP]...\n       wslmesh doctor mtu PEER [--json]"
)]
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
    ///
    /// After mtu the second may be a peer, to which the path is measured: an address in a
    /// tunnel, a WireGuard peer's public key or the beginning of it, or its endpoint.
    #[arg(value_name = "GROUP", value_parser = Groups)]
    groups: Vec<String>,
}

/// Names of groups, of which the second may be a peer: that is seen when all are known.
#[derive(Debug, Clone)]
struct Groups;

impl TypedValueParser for Groups {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(GROUPS.iter().copied().map(PossibleValue::new)))
    }
}

/// What the words after `doctor` mean.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    Groups,
    Path(&'a str),
    /// This one is no group.
    Wrong(&'a str),
}

fn asked(groups: &[String]) -> Asked<'_> {
    let is_group = |group: &String| GROUPS.contains(&group.as_str());
    match groups {
        [mtu, peer] if mtu == "mtu" && !is_group(peer) => Asked::Path(peer),
        groups => (groups.iter().find(|group| !is_group(group)))
            .map_or(Asked::Groups, |wrong| Asked::Wrong(wrong)),
    }
}

/// clap's own error about a value that is no group.
fn no_group(value: &str) -> anyhow::Result<Exit> {
    let mut root = Arguments::command();
    root.build();
    let command = root.find_subcommand("doctor").unwrap_or(&root);
    let argument = command.get_positionals().next();
    let groups = PossibleValuesParser::new(GROUPS);
    match groups.parse_ref(command, argument, OsStr::new(value)) {
        Err(error) => print_usage(&error),
        Ok(_) => Ok(Exit::Usage),
    }
}

/// Version of the JSON document.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    checks: Vec<Entry>,
    /// Where that group was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<clock::Entry<'a>>,
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
    match asked(&command.groups) {
        Asked::Groups => {}
        Asked::Path(_) if command.fix || command.network || command.all => {
            write_error("wslmesh: --fix, --all and --network are for checks, not for `mtu PEER`\n");
            return Ok(Exit::Usage);
        }
        Asked::Path(peer) => return mtu::measure(peer, command.json, &source, &paths).await,
        Asked::Wrong(value) => return no_group(value),
    }
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
    let with_clock = command.groups.iter().any(|group| group == "clock");
    if command.json {
        let clock = with_clock.then(|| clock::entry(&facts));
        print_json(&report(&results, clock, &fixed))?;
    } else {
        let mut lines = fixed_lines(command.fix, &fixed);
        lines.extend(page(&results, command.all));
        if with_clock {
            let (history, now) = (facts.clock_history(), observe::clocks().boot_ms);
            lines.push(String::new());
            lines.extend(clock::table(history, now, command.all));
        }
        print(&lines.join("\n"))?;
    }
    let bad = results.iter().any(|(_, verdict)| verdict.is_bad());
    Ok(if bad { Exit::Degraded } else { Exit::Fine })
}

fn report<'a>(results: &Results, clock: Option<clock::Entry<'a>>, fixed: &'a Fixed) -> Report<'a> {
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
        clock,
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
pub(super) fn row(verdict: &str, id: &str, text: &str) -> Vec<String> {
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
