//! `wslmesh doctor --fix`

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    agent::{self, Election},
    apply::own,
    cli::poke::{self, Poked},
    config::{Settings, Source},
    doctor::{Check, Facts, Fix, Verdict},
    paths::Paths,
    report::read_status,
};

/// Longest wait for a pass of the running agent: it settles first, in mirrored mode
/// for up to three seconds.
const PATIENCE: Duration = Duration::from_secs(6);
/// Between two looks at its document.
const BETWEEN: Duration = Duration::from_millis(20);

/// Does what is safe about the troubles that were found, and says what was done.
pub(super) async fn fix(
    found: &[(Check, Verdict)],
    facts: &Facts,
    source: &Source,
    paths: &Paths,
) -> anyhow::Result<Vec<String>> {
    let troubled = |fix: Fix| {
        let mut troubles = found
            .iter()
            .filter(|(_, verdict)| verdict.grade.is_trouble());
        troubles.any(|(check, _)| check.fix() == fix)
    };
    let mut done = Vec::new();
    if troubled(Fix::Files) {
        for (path, folder) in facts.own_files() {
            match own::secure(Path::new(&path), folder) {
                Ok(what) => done.extend(what),
                Err(error) => done.push(format!("{path} was left as it is: {error}")),
            }
        }
    }
    if troubled(Fix::Pass) {
        done.extend(pass(source, paths).await?);
    }
    Ok(done)
}

/// One pass: by the agent that runs, else by this process.
async fn pass(source: &Source, paths: &Paths) -> anyhow::Result<Vec<String>> {
    let settings = Settings::load(source)?;
    let _leadership = match agent::elect()? {
        Election::Won(leadership) => leadership,
        Election::Lost(leader) => return Ok(vec![told(paths, &leader.holder.to_string())]),
    };
    let done = agent::once(settings, paths.clone()).await?;
    Ok(done.changes)
}

/// Has the running agent look again, and waits for it.
fn told(paths: &Paths, holder: &str) -> String {
    let passes = || {
        let document = read_status(&paths.runtime).ok().flatten();
        document.map(|document| document.passes)
    };
    let before = passes();
    let words = match poke::poke(paths) {
        Poked::NoAgent => {
            return format!("{holder}, outside of this distribution: it looks by itself");
        }
        other => other.words(),
    };
    let until = Instant::now() + PATIENCE;
    while passes() == before && Instant::now() < until {
        thread::sleep(BETWEEN);
    }
    format!("{words} to look again")
}
