//! `wslmesh run`, `plan`, `apply` and `restore`

use std::fmt::Display;

use anyhow::{anyhow, bail};

use super::{
    members::{self, Members},
    output::{self, Exit, print, print_error, prose},
    style,
};
use crate::{
    agent::{self, AgentError, Election, Leadership},
    config::{Settings, Source},
    model::Finding,
    paths::Paths,
    report, restore as undo,
};

pub(super) async fn run(source: Source, paths: Paths) -> anyhow::Result<Exit> {
    report::start_journal();
    match agent::run(source, paths).await {
        Err(AgentError::Config(error)) if error.is_final() => {
            print_error(&error.into());
            print_error(&anyhow!("correct it, then: systemctl restart wslmesh"));
            Ok(Exit::Invalid)
        }
        ended => Ok(ended.map(|()| Exit::Fine)?),
    }
}

pub(super) async fn plan(source: Source, paths: Paths) -> anyhow::Result<Exit> {
    let settings = Settings::load(&source)?;
    let members = Members::of_the_agent(&paths, "sudo wslmesh plan");
    let plan = agent::dry_run(&settings, &members.group, &paths).await?;
    let exit = print_pass("would do", &plan.actions, &plan.findings)?;
    for line in members::served(plan.forwards.as_deref().unwrap_or_default()) {
        print(&prose(&line))?;
    }
    members.print_unknown()?;
    Ok(exit)
}

pub(super) async fn apply(source: Source, paths: Paths) -> anyhow::Result<Exit> {
    let settings = Settings::load(&source)?;
    let mut leadership =
        alone("does this by itself; to have it do so now: systemctl reload wslmesh").await?;
    let mut done = agent::apply_once(settings, paths).await?;
    done.findings.extend(leadership.finding());
    print_pass("done", &done.changes, &done.findings)
}

pub(super) async fn restore(paths: Paths, keep_resolv_conf: bool) -> anyhow::Result<Exit> {
    let _leadership = alone("would change everything again; first: systemctl stop wslmesh").await?;
    // What needs no Windows first: that may take its time.
    let mut outcomes = undo::restore(&paths, keep_resolv_conf).await?;
    outcomes.extend(undo::withdraw(&paths).await?);
    for outcome in &outcomes {
        print(&prose(&outcome.to_string()))?;
    }
    if outcomes.is_empty() {
        print("nothing to restore")?;
    }
    let failed = outcomes.iter().any(|outcome| outcome.failed());
    Ok(if failed { Exit::Failed } else { Exit::Fine })
}

/// Leads for as long as the result lives; an error where an agent does, which `does`
/// the following.
async fn alone(does: &str) -> anyhow::Result<Leadership> {
    match agent::elect().await? {
        Election::Won(leadership) => Ok(leadership),
        Election::Lost(leader) => bail!(
            "an agent works in this network namespace already ({}) and {does}",
            leader.holder
        ),
    }
}

fn print_pass(word: &str, lines: &[impl Display], findings: &[Finding]) -> anyhow::Result<Exit> {
    if lines.is_empty() {
        print(&style::good("nothing to do"))?;
    }
    for line in lines {
        print(&prose(&format!("{word}: {line}")))?;
    }
    Ok(output::findings(findings)?)
}
