//! `wslmesh doctor --fix`

use std::{path::Path, time::Duration};

use serde::Serialize;
use tokio::time::sleep;

use crate::{
    agent::{self, Election},
    apply::{resolv_conf, saved::Saved},
    config::{Settings, Source},
    control::{Reload, reload_of},
    doctor::{Check, Facts, Fix, Verdict},
    fs::own,
    observe::RESOLV_CONF,
    paths::Paths,
};

/// Wait for the pass of an agent that was signalled, which says nothing of its end: it
/// settles first, in mirrored mode for up to three seconds.
const PASS: Duration = Duration::from_secs(4);

/// What was done, each as a sentence without a final dot.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Fixed {
    /// What this process repaired.
    #[serde(rename = "fixed")]
    pub(super) done: Vec<String>,
    /// What the running agent was asked to do.
    pub(super) asked: Vec<String>,
    /// What was not repaired, and why.
    #[serde(rename = "not-fixed")]
    pub(super) failed: Vec<String>,
}

/// Repairs what is safe, and says what was done. A repair that fails does not stop the
/// others.
pub(super) async fn fix(
    results: &[(&Check, Verdict)],
    facts: &Facts,
    source: &Source,
    paths: &Paths,
) -> Fixed {
    let wanted = |fix: Fix| {
        let mut bad = results.iter().filter(|(_, verdict)| verdict.is_bad());
        bad.any(|(check, _)| check.fix == fix)
    };
    let mut fixed = Fixed::default();
    if wanted(Fix::Files) {
        for (path, folder) in facts.own_files() {
            match own::secure(Path::new(&path), folder) {
                Ok(what) => fixed.done.extend(what),
                Err(error) => fixed.failed.push(format!("{path}: {error}")),
            }
        }
    }
    if wanted(Fix::ResolvConf)
        && let Some(target) = facts.wsl_resolv_conf()
    {
        let saved = Saved::new(&paths.state);
        match resolv_conf::link(Path::new(RESOLV_CONF), &target, &saved) {
            Ok(()) => {
                let what = format!("{RESOLV_CONF} is a link to {} now", target.display());
                fixed.done.push(what);
            }
            Err(error) => fixed.failed.push(format!("{RESOLV_CONF}: {error}")),
        }
    }
    if wanted(Fix::Pass)
        && let Err(error) = pass(source, paths, &mut fixed).await
    {
        let error = format!("{error:#}").replace('\n', " ");
        fixed.failed.push(format!("no pass of the agent: {error}"));
    }
    fixed
}

/// One pass: by the running agent, else by this process.
async fn pass(source: &Source, paths: &Paths, fixed: &mut Fixed) -> anyhow::Result<()> {
    let settings = Settings::load(source)?;
    let _leadership = match agent::elect().await? {
        Election::Won(leadership) => leadership,
        Election::Lost(leader) => {
            ask(source, paths, &leader.holder.to_string(), fixed).await;
            return Ok(());
        }
    };
    let done = agent::apply_once(settings, paths.clone()).await?;
    fixed.done.extend(done.changes);
    Ok(())
}

/// Asks the running agent for a pass, and waits for it. An agent with another
/// configuration would not repair what was checked.
async fn ask(source: &Source, paths: &Paths, holder: &str, fixed: &mut Fixed) {
    let reload = reload_of(source, paths).await;
    record(&reload, holder, fixed);
    // Over D-Bus the answer comes after the pass.
    if matches!(reload, Reload::Signalled(_)) {
        sleep(PASS).await;
    }
}

fn record(reload: &Reload, holder: &str, fixed: &mut Fixed) {
    match reload {
        Reload::Done | Reload::Signalled(_) => fixed.asked.push(reload.to_string()),
        Reload::NoAgent => fixed.failed.push(format!(
            "no pass of the agent: {holder}, outside of this distribution: it makes its own passes"
        )),
        Reload::Elsewhere(..) | Reload::Failed(_) => fixed.failed.push(reload.to_string()),
    }
}

#[cfg(test)]
mod tests;
