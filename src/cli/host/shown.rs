//! What a person is shown of policies, files and answers.

use super::super::{
    output::{Exit, print, print_error, prose},
    style,
    table::{WIDTH, wrap},
};
use crate::{
    config::Forward,
    control::{Reload, reload},
    host::setup::{Agreed, Answer, Ending, Grant, Policy, Shipped, difference, ending},
    paths::Paths,
};

/// What to do where no person can be asked.
pub(super) const LOOK_FIRST: &str = "review it with --dry-run, then run it with --yes";

/// For a call that was begun and gave no answer.
pub(super) const UNKNOWN: &str = "Windows may have been changed; run `wslmesh host check`";

/// What a policy allows, in lines, each with the distributions that these forwards of
/// several are of.
pub(super) fn policy(policy: &Policy, forwards: &[Forward]) -> Vec<String> {
    let grants = policy.grants.iter();
    let grant_of = |forward: &Forward| grants.clone().find(|grant| grant.has_ports_of(forward));
    let own = policy.distribution.to_string();
    let line = |grant: &Grant| {
        let its = forwards.iter().filter(|one| grant_of(one) == Some(grant));
        let mut names: Vec<&str> = its
            .map(|one| one.name.split_once('/').map_or(&*own, |(name, _)| name))
            .collect();
        // They come by distribution.
        names.dedup();
        match names.is_empty() {
            true => grant.to_string(),
            false => format!("{grant}, for {}", names.join(", ")),
        }
    };
    let mut lines: Vec<String> = grants.clone().map(line).collect();
    if lines.is_empty() {
        lines.push("no ports: no forward is configured".to_owned());
    }
    let distribution = &policy.distribution;
    let logon = match policy.logon {
        true => format!("{distribution} is started, unelevated, and kept running"),
        false => "nothing is started".to_owned(),
    };
    lines.push(format!("networks: {}", policy.profiles));
    lines.push(format!("after a Windows logon: {logon}"));
    lines
}

/// What changes against the present policy.
pub(super) fn changes(old: &Agreed, new: &Policy) -> Vec<String> {
    match old {
        Agreed::Nothing => vec!["there is no policy yet".to_owned()],
        Agreed::Unreadable => vec!["the present policy cannot be read and is replaced".to_owned()],
        Agreed::Policy(old) => difference(Some(old), new),
    }
}

/// The files with their hashes.
pub(super) fn files(files: &[Shipped]) -> Vec<String> {
    let line = |file: &Shipped| {
        let (name, size, hash) = (&file.name, file.size(), &file.sha256);
        format!("{name} ({size} bytes)\n  SHA-256 {hash}")
    };
    files.iter().map(line).collect()
}

/// A heading and its lines.
pub(in super::super) fn print_block(heading: &str, lines: &[String]) -> std::io::Result<()> {
    print(&style::heading(heading))?;
    for line in lines.iter().flat_map(|line| line.lines()) {
        if line.chars().count() + 2 <= WIDTH {
            print(&format!("  {line}"))?;
            continue;
        }
        let margin = line.len() - line.trim_start().len() + 2;
        let lines = wrap(line, WIDTH - margin - 2).join(&format!("\n{:margin$}  ", ""));
        print(&format!("{:margin$}{lines}", ""))?;
    }
    Ok(())
}

/// Prints how a call ended, and has the running agent reload where something changed.
pub(super) async fn outcome(answer: &Answer, paths: &Paths) -> anyhow::Result<Exit> {
    for line in &answer.done {
        print(&prose(&format!("done: {line}")))?;
    }
    let (ending, words) = ending(answer);
    if answer.over_the_shoulder && ending == Ending::Done {
        let user = answer.user.as_deref().unwrap_or("of the distribution");
        print(&prose(&format!(
            "another account's password was given; the policy is for the Windows user {user}"
        )))?;
    }
    let failed = matches!(ending, Ending::Unchanged | Ending::Failed);
    if failed {
        print_error(&anyhow::anyhow!(words));
    } else {
        print(&words)?;
    }
    let mut exit = Exit::Fine;
    // Part of what failed may have been done.
    if matches!(ending, Ending::Done | Ending::Failed) {
        exit = reloaded(&reload(paths).await)?;
    }
    Ok(if failed { Exit::Failed } else { exit })
}

/// Prints what came of a reload.
pub(in super::super) fn reloaded(reload: &Reload) -> anyhow::Result<Exit> {
    print(&prose(&reload.to_string()))?;
    Ok(Exit::unless(matches!(reload, Reload::Failed(_))))
}
