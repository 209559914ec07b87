//! The other distributions, as this distribution's agent knows them.

use super::output::{print, prose};
use crate::{
    interop::is_wsl,
    model::ForwardStatus,
    paths::Paths,
    plan::{Group, Member},
    report::{Document, read_status},
};

/// What has the policy on Windows changed.
pub(super) const INSTALL: &str = "sudo wslmesh host install";

/// Where that is to be run instead of here: by the leader, since here it would take from
/// the others what they have.
pub(super) fn install_elsewhere(paths: &Paths) -> Option<String> {
    let leader = Members::of_the_agent(paths, INSTALL).leader?;
    Some(format!("run in {leader}: {INSTALL}"))
}

/// Whom the agent serves besides its own distribution, and what that leaves unknown.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Members {
    pub(super) group: Group,
    /// The distribution whose agent leads instead of this one's.
    pub(super) leader: Option<String>,
    unknown: Option<String>,
}

impl Members {
    /// As the running agent has it in its status document; `command` is what to run where
    /// another agent leads.
    pub(super) fn of_the_agent(paths: &Paths, command: &str) -> Self {
        if !is_wsl() {
            return Self::default();
        }
        match read_status(&paths.runtime) {
            Ok(document) => Self::of(document.filter(Document::is_alive), command),
            Err(error) => Self::unknown(format!("the agent's status cannot be read: {error}")),
        }
    }

    fn unknown(why: String) -> Self {
        Self {
            unknown: Some(format!(
                "what other distributions forward is not known: {why}"
            )),
            ..Self::default()
        }
    }

    fn of(document: Option<Document>, command: &str) -> Self {
        let Some(document) = document else {
            return Self::unknown("the agent is not running here".to_owned());
        };
        if document.role != "active" {
            let leader = document.leader;
            let leader = leader.unwrap_or_else(|| "another distribution".to_owned());
            let why = format!("the agent of {leader} leads; run `{command}` there");
            return Self {
                leader: Some(leader),
                ..Self::unknown(why)
            };
        }
        let silent = document.members.iter();
        let silent = silent.filter(|member| member.registered.len() < member.forwards);
        let silent = Vec::from_iter(silent.map(|member| member.distribution.as_str())).join(", ");
        let members = document.members.iter().map(|member| Member {
            distribution: member.distribution.clone(),
            forwards: member.registered.clone(),
            discovered: member.discovered.clone(),
        });
        Self {
            group: Group {
                own: document.distribution.unwrap_or_default(),
                members: members.collect(),
                ..Group::default()
            },
            leader: None,
            unknown: (!silent.is_empty()).then(|| format!(
                "what {silent} forwards is not known: the running agent is of an earlier version; run `sudo systemctl restart wslmesh`"
            )),
        }
    }

    /// Prints what is not known of other distributions.
    pub(super) fn print_unknown(&self) -> std::io::Result<()> {
        match &self.unknown {
            Some(unknown) => print(&prose(&format!("note: {unknown}"))),
            None => Ok(()),
        }
    }
}

/// Forwards of other distributions that a plan serves: a line for each distribution.
pub(super) fn served(forwards: &[ForwardStatus]) -> Vec<String> {
    let of = |status: &ForwardStatus| {
        status
            .distribution
            .clone()
            .filter(|_| status.backend.is_some())
    };
    let mut lines: Vec<(String, String)> = Vec::new();
    for status in forwards {
        let Some(distribution) = of(status) else {
            continue;
        };
        let name = status.name.rsplit('/').next().unwrap_or_default();
        let (protocol, connects) = (status.listen.protocol, status.connects());
        let text = format!("{name} ({protocol} {} -> {connects})", status.listens());
        match lines.last_mut().filter(|(last, _)| *last == distribution) {
            Some((_, line)) => *line = format!("{line}, {text}"),
            None => lines.push((distribution, text)),
        }
    }
    let line = |(distribution, forwards)| format!("for {distribution}: {forwards}");
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests;
