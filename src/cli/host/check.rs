//! `wslmesh host check`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{
    super::{
        ask::go_on,
        output::{Exit, print, print_json},
        table::{WIDTH, hanging, wrap},
    },
    facts::Facts,
    shown,
};
use crate::{
    config::Source,
    fs::file::{self, FileError},
    host::setup::{self, Agreed, Answer, CheckResult, Order, Setup, SetupError, State},
    model::visible,
    paths::Paths,
};

#[derive(Debug, Args)]
pub(in super::super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also listen on a port of loopback, have netsh read a file, have the task make a forward and remove it
    #[arg(long)]
    probe: bool,
    /// Do not ask before a probe
    #[arg(long)]
    yes: bool,
    /// Write everything into a file to attach to an issue
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Overwrite the report's file
    #[arg(long, requires = "report")]
    force: bool,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Findings {
    version: u32,
    facts: Facts,
    /// What Windows has, or why it could not be asked.
    windows: Windows,
    checks: Vec<setup::Check>,
}

/// The Windows side, as text.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Windows {
    installed: Option<String>,
    policy: Vec<String>,
    other_users: usize,
    elevated: Option<bool>,
    error: Option<String>,
}

pub(super) async fn check(
    arguments: &Check,
    source: &Source,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    if let Some(report) = &arguments.report
        && !arguments.force
        && report.symlink_metadata().is_ok()
    {
        let report = report.display();
        anyhow::bail!("{report} exists already: name another file, or add --force to overwrite it");
    }
    if arguments.probe {
        let question = "A probe listens for a moment on a port of Windows' loopback, has netsh read two lines that change nothing, and starts the task: once to repeat the last selection, and, where it is installed and WSL is behind NAT, twice more to make one forward on a TCP port that the policy allows and nothing uses, with the firewall rules of its grant, and to remove it again. Go on?";
        if let Some(end) = go_on(question, arguments.yes, "add --yes to allow the probe")? {
            return Ok(end);
        }
    }
    let (way, asked) = call(arguments.probe, paths).await;
    let facts = Facts::gather(source, paths, way).await;
    let findings = findings(facts, asked);
    if let Some(report) = &arguments.report {
        write(report, arguments.force, &visible(&markdown(&findings)))?;
        let report = report.display();
        print(&format!(
            "written: {report}; look through it before you attach it to an issue"
        ))?;
    }
    if arguments.json {
        print_json(&findings)?;
    } else if arguments.report.is_none() {
        for line in table(&findings) {
            print(&line)?;
        }
    }
    Ok(exit(&findings))
}

/// The way to Windows as text, and what the checks gave.
async fn call(probe: bool, paths: &Paths) -> (String, Result<Answer, SetupError>) {
    match Setup::find(&paths.state) {
        Ok(setup) => (setup.way(), setup.call(Order::Check { probe }).await),
        Err(error) => ("none".to_owned(), Err(error)),
    }
}

fn findings(facts: Facts, asked: Result<Answer, SetupError>) -> Findings {
    let (mut windows, mut checks) = (Windows::default(), Vec::new());
    match asked {
        Err(error) => windows.error = Some(error.to_string()),
        Ok(answer) if answer.state != State::Checked => {
            windows.error = Some(setup::ending(&answer).1);
            checks = answer.checks;
        }
        Ok(answer) => {
            windows.installed = answer.installed.map(|found| found.version.to_string());
            windows.policy = match &answer.policy {
                Agreed::Nothing => Vec::new(),
                Agreed::Unreadable => vec!["it cannot be read".to_owned()],
                Agreed::Policy(policy) => shown::policy(policy),
            };
            windows.other_users = answer.other_users.len();
            windows.elevated = Some(answer.elevated);
            checks = answer.checks;
        }
    }
    Findings {
        version: 1,
        facts,
        windows,
        checks,
    }
}

fn exit(findings: &Findings) -> Exit {
    if findings.windows.error.is_some() {
        return Exit::Failed;
    }
    let mut checks = findings.checks.iter();
    Exit::unless(checks.any(|check| check.result == CheckResult::Differs))
}

/// What a check found: a list of facts as a JSON object, or a sentence.
fn found(detail: &str) -> String {
    let Ok(facts) = serde_json::from_str::<serde_json::Map<_, _>>(detail) else {
        return detail.to_owned();
    };
    let fact = |(name, value): (&String, &serde_json::Value)| match value.as_str() {
        Some(text) => format!("{name}: {text}"),
        None => format!("{name}: {value}"),
    };
    facts.iter().map(fact).collect::<Vec<_>>().join("; ")
}

fn word(result: CheckResult) -> &'static str {
    match result {
        CheckResult::Ok => "ok",
        CheckResult::Differs => "DIFFERS",
        CheckResult::NotRun => "not run",
    }
}

/// Name and value of what is shown beside the checks.
fn rows(findings: &Findings) -> Vec<(&'static str, String)> {
    let (mut rows, windows) = (findings.facts.rows(), &findings.windows);
    if let Some(error) = &windows.error {
        rows.push(("windows", format!("not asked: {error}")));
        return rows;
    }
    let installed = windows.installed.as_deref();
    let installed = installed.unwrap_or("no; wslmesh host install does");
    rows.push(("installed", installed.to_owned()));
    let elevated = windows.elevated == Some(true);
    rows.push(("elevated", if elevated { "yes" } else { "no" }.to_owned()));
    if windows.other_users > 0 {
        let users = format!("{} others have it installed", windows.other_users);
        rows.push(("users", users));
    }
    if windows.policy.is_empty() {
        rows.push(("policy", "none".to_owned()));
    }
    rows.extend(windows.policy.iter().map(|line| ("policy", line.clone())));
    rows
}

/// Everything in lines of at most 80 columns, but for longer words.
fn table(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in rows(findings) {
        let head = format!("{name:>9}  ");
        lines.extend(hanging(&head, wrap(&value, WIDTH - head.len())));
    }
    let ids = findings.checks.iter().map(|check| check.id.chars().count());
    let Some(id) = ids.max() else {
        return lines;
    };
    lines.push(String::new());
    for check in &findings.checks {
        let head = format!("{:<id$}  {:<7}  ", check.id, word(check.result));
        let width = WIDTH.saturating_sub(head.chars().count());
        let texts = [&*check.title, &found(&check.detail)].map(|text| wrap(text, width));
        lines.extend(hanging(&head, texts.concat()));
    }
    lines
}

/// The report: what a person can attach to an issue.
fn markdown(findings: &Findings) -> String {
    // A bar would end a table's cell, and an angle bracket begin markup.
    let cell = |text: &str| {
        let text = text.replace('|', "\\|").replace('<', "&lt;");
        text.lines().collect::<Vec<_>>().join(" ")
    };
    let row = |cells: &[&str]| {
        format!(
            "| {} |\n",
            Vec::from_iter(cells.iter().map(|text| cell(text))).join(" | ")
        )
    };
    let mut text = String::from("# wslmesh report\n\n| | |\n|---|---|\n");
    for (name, value) in rows(findings) {
        text.push_str(&row(&[name, &value]));
    }
    text.push_str("\n## Checks\n\n");
    if findings.checks.is_empty() {
        let why = findings.windows.error.as_deref();
        let why = cell(why.unwrap_or("Windows named none"));
        return format!("{text}Not run: {why}\n");
    }
    text.push_str("| | result | what | found |\n|---|---|---|---|\n");
    for check in &findings.checks {
        let (result, found) = (word(check.result), found(&check.detail));
        text.push_str(&row(&[&check.id, result, &check.title, &found]));
    }
    text
}

/// Whole or not at all: an earlier report stays where the disk is full.
fn write(path: &Path, force: bool, text: &str) -> Result<(), FileError> {
    if force {
        file::write(path, text.as_bytes(), 0o644)
    } else {
        file::replace(path, None, text.as_bytes())
    }
}

#[cfg(test)]
mod tests;
