//! `wslmesh host uninstall`

use anyhow::Context;
use clap::Args;

use super::{
    super::{
        ask::go_on,
        output::{Exit, findings, print, print_error},
        table::hanging,
    },
    shown,
};
use crate::{
    apply::saved::Saved,
    control::agent_pid,
    host::{
        setup::{Agreed, Answer, Order, Setup, State, files},
        sync,
    },
    interop,
    model::{Mode, ModeState, RuleSet, SyncMode},
    paths::Paths,
};

#[derive(Debug, Args)]
pub(in super::super) struct Uninstall {
    /// Show what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask here (Windows still asks, unless this is elevated already)
    #[arg(long)]
    yes: bool,
}

/// Removes everything of ours on Windows.
pub(super) async fn uninstall(arguments: &Uninstall, paths: &Paths) -> anyhow::Result<Exit> {
    let Uninstall { dry_run, yes } = *arguments;
    let setup = Setup::find(&paths.state)?;
    let before = setup.call(Order::Look).await?;
    shown::print_block("This is removed:", &removed_lines(&before))?;
    if dry_run {
        print("\nNothing was changed.")?;
        return Ok(Exit::Fine);
    }
    if let Some(end) = go_on("Go on?", yes, shown::LOOK_FIRST)? {
        return Ok(end);
    }
    match agent_pid(paths) {
        Some(pid) => print(&format!(
            "the agent (process {pid}) will reload; to keep it from making forwards again, remove\nthem from the configuration or set [host] backend = \"none\""
        ))?,
        // An installation removes its rules itself, once an administrator approves.
        None if before.policy == Agreed::Nothing => withdraw(paths).await?,
        None => {}
    }
    let files = [files::remover()];
    let order = Order::Uninstall {
        files: &files,
        agreed: before.elevated && yes,
    };
    let answer = setup.call(order).await.context(shown::UNKNOWN)?;
    if answer.state == State::Removed {
        remember(false, paths);
    }
    shown::outcome(&answer, paths).await
}

fn removed_lines(before: &Answer) -> Vec<String> {
    let mut lines =
        vec!["forwards and firewall rules that wslmesh made for this Windows user".to_owned()];
    match &before.policy {
        Agreed::Nothing => lines.push("no policy".to_owned()),
        Agreed::Unreadable => lines.push("a policy that cannot be read".to_owned()),
        Agreed::Policy(policy) => {
            lines.push("the policy:".to_owned());
            lines.extend(hanging("  ", shown::policy(policy, &[])));
            lines.push("the tasks \\wslmesh\\forward-<SID> and \\wslmesh\\logon-<SID>".to_owned());
        }
    }
    lines.push(if before.other_users.is_empty() {
        "%ProgramFiles%\\wslmesh and %LOCALAPPDATA%\\wslmesh".to_owned()
    } else {
        format!(
            "%LOCALAPPDATA%\\wslmesh; %ProgramFiles%\\wslmesh stays for {} other Windows user(s)",
            before.other_users.len()
        )
    });
    lines
}

/// Has Windows withdraw our rules in the ordinary way, which also finds those
/// that were made without an installation.
async fn withdraw(paths: &Paths) -> anyhow::Result<()> {
    let mode = match interop::ask_mode().await {
        ModeState::Known(Mode::Mirrored) => SyncMode::Mirrored,
        ModeState::Known(_) | ModeState::Pending | ModeState::Unknown(_) => SyncMode::Nat,
    };
    let outcome = sync::sync(&paths.state, RuleSet::nothing(mode), false).await;
    if let Some(changed) = &outcome.changed {
        print(&format!("done: {changed}"))?;
    }
    findings(&outcome.findings)?;
    if let Some(rules_remain) = outcome.rules_remain {
        remember(rules_remain, paths);
    }
    Ok(())
}

/// Notes for the next agent whether rules of ours are possibly installed. A user who
/// cannot write the state directory has no agent that reads it.
fn remember(rules_remain: bool, paths: &Paths) {
    let saved = Saved::new(&paths.state).update(|values| values.forwards = rules_remain);
    if let Err(error) = saved
        && rustix::process::geteuid().is_root()
    {
        print_error(&error.into());
    }
}
