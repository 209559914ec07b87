//! `wslmesh host check`

use std::{
    io,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    time::Duration,
};

use clap::Args;
use serde::{Serialize, Serializer};
use tokio::{
    select,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
};

use super::{
    super::{
        ask::go_on,
        members::Members,
        output::{Exit, print, print_error, print_json, prose, write_error},
        table::{WIDTH, hanging, wrap},
    },
    facts::{Facts, known_names},
    redaction::Redaction,
    shown,
};
use crate::{
    agent,
    apply::saved::Saved,
    config::{Settings, Source},
    control::reload,
    fs::file::{self, FileError},
    host::{
        setup::{
            self, Agreed, Answer, CheckResult, Order, Policy, Setup, SetupError, State,
            scratch::{self, Skipped, Trial},
        },
        sync,
    },
    model::{HostFacts, HostPrivilege, RuleSet},
    paths::Paths,
    plan::settings_of_all,
};

#[derive(Debug, Args)]
pub(in super::super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also listen on a port of loopback, have netsh read a file, have the task make a forward and remove it
    #[arg(long)]
    probe: bool,
    /// Also make that many forwards within the policy and remove them, to see how long it takes
    #[arg(long, value_name = "NUMBER", requires = "probe",
          value_parser = clap::value_parser!(u16).range(1..=2000))]
    forwards: Option<u16>,
    /// Do not ask before a probe
    #[arg(long)]
    yes: bool,
    /// Write everything into a JSON file to attach to an issue, without addresses and names
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Leave addresses and names in the report
    #[arg(long, requires = "report")]
    full: bool,
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
    #[serde(serialize_with = "with_facts")]
    checks: Vec<setup::Check>,
}

/// Checks with their titles, and facts that are no longer JSON within a text.
fn with_facts<S: Serializer>(checks: &[setup::Check], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(checks.iter().map(|check| {
        let facts = serde_json::from_str::<serde_json::Map<_, _>>(&check.detail);
        let detail =
            facts.map_or_else(|_| check.detail.to_string().into(), serde_json::Value::from);
        serde_json::json!({
            "id": check.id, "title": setup::place(&check.id).1, "result": check.result, "detail": detail,
        })
    }))
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
        let question = "A probe listens for a moment on a port of Windows' loopback, has netsh read two lines that change nothing, and starts the task: once to repeat the last selection, and, where it is installed and WSL is behind NAT, twice more to make one forward on a TCP port that the policy allows and nothing uses, with the firewall rules of its grant, and to remove it again; the same follows with as many as --forwards says. Go on?";
        if let Some(end) = go_on(question, arguments.yes, "add --yes to allow the probe")? {
            return Ok(end);
        }
    }
    let probe = arguments.probe;
    let mut interrupted = pin!(interrupted());
    let mut asked = select! {
        asked = call(Order::Check { probe }, paths) => Some(asked),
        _ = &mut interrupted => None,
    };
    let mut stopped = asked.is_none();
    // What a probe made may have been left: a sync removes it.
    let mut left = probe && matches!(asked, Some((_, Err(_))));
    if let Some((_, Ok(answer))) = &mut asked
        && answer.state == State::Checked
    {
        let trials = Trials {
            answer,
            source,
            paths,
        };
        let checks;
        (checks, stopped, left) = trials.make(arguments, interrupted).await;
        answer.checks.extend(checks);
        answer.checks.sort_by_key(|check| setup::place(&check.id).0);
    }
    if left || stopped && probe {
        // Standard output may be JSON.
        let reload = reload(paths).await;
        write_error(&(prose(&reload.to_string()) + "\n"));
    }
    let Some((way, asked)) = asked.filter(|_| !stopped) else {
        let more = match left {
            true => "; Windows may have a scratch forward: sudo systemctl restart wslmesh",
            false => "",
        };
        anyhow::bail!("interrupted: not all checks were made{more}");
    };
    let facts = Facts::gather(source, paths, way).await;
    let findings = findings(facts, asked);
    if let Some(report) = &arguments.report {
        let mut document = serde_json::to_value(&findings)?;
        if !arguments.full {
            Redaction::new(&known_names()).redact(&mut document);
        }
        let text = format!("{:#}\n", document);
        write(report, arguments.force, &text)?;
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

/// Ctrl-C, SIGTERM, or a terminal that was closed.
async fn interrupted() -> io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    select! {
        interrupted = ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
        _ = hung_up.recv() => Ok(()),
    }
}

/// What the two checks with scratch forwards need to know.
struct Trials<'a> {
    answer: &'a Answer,
    source: &'a Source,
    paths: &'a Paths,
}

impl Trials<'_> {
    /// Makes both. One that is begun is ended, also where it is interrupted: it puts the
    /// present forwards back. Gives back whether it was, and whether a sync should follow.
    async fn make(
        &self,
        arguments: &Check,
        mut interrupted: Pin<&mut impl Future<Output = io::Result<()>>>,
    ) -> (Vec<setup::Check>, bool, bool) {
        let forwards = arguments.forwards.map_or(0, usize::from);
        let state = self.paths.state.as_path();
        let (mut checks, mut stopped, mut left) = (Vec::<setup::Check>::new(), false, false);
        let needless = scratch::policy(self.answer) == Err(Skipped::NoPortproxy);
        for (id, most, patience, unasked) in [
            (
                "T18",
                usize::from(arguments.probe),
                Duration::ZERO,
                Skipped::NoProbe,
            ),
            ("T23", forwards, scratch::MINUTE, Skipped::NoNumber),
        ] {
            let before = checks.last().map(|check| check.result);
            let prepared = match before {
                _ if needless => Err(Skipped::NoPortproxy),
                _ if most == 0 => Err(unasked),
                None | Some(CheckResult::Ok) => self.prepare().await,
                Some(_) => Err(Skipped::NotTheFirst),
            };
            let trial: Trial = match prepared {
                Err(why) => why.into(),
                Ok((policy, wanted, present)) => {
                    // PowerShell itself takes its time over many of them.
                    let limit = sync::LIMIT + patience;
                    let forbidden = self.answer.relay_forbidden();
                    let ask = async |wanted| sync::ask(state, &wanted, limit).await;
                    let mut trial = pin!(scratch::trial(
                        &present, policy, forbidden, most, patience, ask
                    ));
                    let mut trial = select! {
                        ended = &mut trial => ended,
                        _ = &mut interrupted => {
                            stopped = true;
                            print_error(&anyhow::anyhow!("interrupted: the forwards are put back first"));
                            trial.await
                        }
                    };
                    // What the agent asked for meanwhile is lost.
                    trial.left |= self.wanted(policy).await.as_ref() != Ok(&wanted);
                    trial
                }
            };
            left |= trial.left;
            checks.push(setup::Check {
                id: id.into(),
                result: trial.result,
                detail: trial.facts.to_string().into(),
            });
            if stopped {
                break;
            }
        }
        (checks, stopped, left)
    }

    /// What allows forwards, those that the agent should ask for, and the present ones.
    async fn prepare(&self) -> Result<(&Policy, RuleSet, RuleSet), Skipped> {
        let policy = scratch::policy(self.answer)?;
        let wanted = self.wanted(policy).await?;
        let remain = Saved::new(&self.paths.state).rules_may_remain();
        let selection = self.answer.selection.as_ref();
        let present = scratch::present(selection, wanted.clone(), remain)?;
        Ok((policy, wanted, present))
    }

    /// What Windows should have of ours by the configuration as it is now.
    async fn wanted(&self, policy: &Policy) -> Result<RuleSet, Skipped> {
        let own = Settings::load(self.source).map_err(|_| Skipped::Configuration)?;
        let members = Members::of_the_agent(self.paths, "sudo wslmesh host check");
        let mut settings = settings_of_all(&own, &members.group);
        let installed = self.answer.installed.as_ref();
        let relay_forbidden = self.answer.relay_forbidden();
        let backends = settings.clone();
        (settings.forwards).retain(|forward| {
            let backend = backends.backend_of(forward);
            policy.gap(forward, backend, relay_forbidden).is_none()
        });
        let facts = HostFacts {
            privilege: HostPrivilege::Installed,
            installed_relay: installed.and_then(|installed| installed.relay.clone()),
            relay_forbidden,
            ..HostFacts::default()
        };
        let rules = agent::installed_rules(&settings, self.paths, facts).await;
        rules.ok().flatten().ok_or(Skipped::NoForwards)
    }
}

/// The way to Windows as text, and what the checks gave.
async fn call(order: Order<'_>, paths: &Paths) -> (String, Result<Answer, SetupError>) {
    match Setup::find(&paths.state) {
        Ok(setup) => (setup.way(), setup.call(order).await),
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
                Agreed::Policy(policy) => shown::policy(policy, &[]),
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
        let texts =
            [setup::place(&check.id).1, &found(&check.detail)].map(|text| wrap(text, width));
        lines.extend(hanging(&head, texts.concat()));
    }
    lines
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
