//! Forwards that are made and removed again to see whether that works (T18, T23): one
//! ordinary sync asks for them beside the present ones, and a second one for those alone.

use std::{
    collections::BTreeSet,
    fmt::Display,
    num::NonZeroU16,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    contract::{Answer, CheckResult, Selection},
    policy::{Grant, Policy},
};
use crate::{
    host::{
        contract::{Answer as Synced, CONTRACT, State},
        setup::Agreed,
        sync,
    },
    model::{ForwardBackend, Listen, Protocol, Rule, RuleSet},
};

/// Most forwards of a sync.
const MOST: usize = 2000;

/// How often other ports are tried where Windows has those that were chosen in use.
const TRIES: usize = 3;

/// How long Windows gives the task.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Why a trial is not made, or says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// It was not asked for.
    #[error("it makes a forward and removes it: run \"wslmesh host check --probe\"")]
    NoProbe,
    /// The same.
    #[error(
        "it makes many forwards and removes them: run \"wslmesh host check --probe --forwards 2000\""
    )]
    NoNumber,
    /// There is no policy, or no task.
    #[error("it is not installed on Windows: run \"wslmesh host install\"")]
    NotInstalled,
    /// The relay needs no such trial.
    #[error("no forward goes by the port proxy: there is nothing to do")]
    NoPortproxy,
    /// Another package's.
    #[error("what is installed is of another version: run \"wslmesh host install\"")]
    OtherVersion,
    /// An administrator, or another program, has done something to it.
    #[error("the task is disabled or another one (T9): run \"wslmesh host install\"")]
    Task,
    /// WSL's registry values (T1).
    #[error(
        "Windows has no address of this distribution on record (T1): run \"wsl.exe --shutdown\" on Windows, then start WSL again"
    )]
    Guest,
    /// The configuration cannot be read.
    #[error("the configuration has an error: run \"wslmesh config check\"")]
    Configuration,
    /// Nothing is forwarded in this situation.
    #[error(
        "Windows forwards no ports here (another networking mode than NAT, backend = \"none\", or no address): run \"wslmesh status\" to see which; in another mode there is nothing to do"
    )]
    NoForwards,
    /// The request file.
    #[error(
        "what Windows was asked for last cannot be read, and it stays untouched: run \"sudo systemctl reload wslmesh\""
    )]
    Unreadable,
    /// An installation begins with an empty one.
    #[error(
        "the agent has not asked for its forwards since the installation: run \"sudo systemctl restart wslmesh\""
    )]
    NotAsked,
    /// They could not be put back.
    #[error(
        "Windows forwards ports that are not in this configuration: run \"sudo systemctl reload wslmesh\", and stop the agent of other distributions"
    )]
    OtherForwards,
    /// There are [`MOST`] already.
    #[error(
        "there is no room below 2,000 forwards: remove one (\"wslmesh forward remove\"), then run this again"
    )]
    Full,
    /// Nor one of those that were tried.
    #[error(
        "the policy has no TCP port that is free on Windows: run \"wslmesh host install --ports tcp:2299\""
    )]
    NoPort,
    /// The agent's, or that of another distribution.
    #[error("another sync came meanwhile: run \"wslmesh host check --probe\" again")]
    Superseded,
    /// One forward was too many.
    #[error(
        "the trial of one forward (T18) comes first: correct what it says, then run this again"
    )]
    NotTheFirst,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// As the check has it.
    pub result: CheckResult,
    /// The same.
    pub facts: Value,
    /// Whether Windows may have other forwards than the agent asked for.
    pub left: bool,
}

impl From<Skipped> for Trial {
    fn from(why: Skipped) -> Self {
        Self {
            result: CheckResult::NotRun,
            facts: json!({ "reason": why.to_string() }),
            left: false,
        }
    }
}

/// What the scratch forwards must be allowed by, where nothing on Windows is in the way.
///
/// # Errors
/// What is.
pub fn policy(answer: &Answer) -> Result<&Policy, Skipped> {
    let result = |id: &str| {
        let check = answer.checks.iter().find(|check| &*check.id == id);
        check.map(|check| check.result)
    };
    let (Some(installed), Agreed::Policy(policy)) = (&answer.installed, &answer.policy) else {
        return Err(match answer.policy {
            Agreed::Unreadable => Skipped::OtherVersion,
            Agreed::Policy(_) | Agreed::Nothing => Skipped::NotInstalled,
        });
    };
    if installed.contract != CONTRACT {
        return Err(Skipped::OtherVersion);
    }
    if policy.proxied(answer.relay_forbidden()).next().is_none() {
        return Err(Skipped::NoPortproxy);
    }
    match (result("T9"), result("T1")) {
        (Some(CheckResult::NotRun), _) => Err(Skipped::NotInstalled),
        (Some(CheckResult::Ok), Some(CheckResult::Ok)) => Ok(policy),
        (Some(CheckResult::Ok), _) => Err(Skipped::Guest),
        _ => Err(Skipped::Task),
    }
}

/// The forwards that Windows was asked for last, out of those that it may have by the
/// configuration: what the second sync puts back.
///
/// # Errors
/// Not all of them can be put back.
pub fn present(
    selection: Option<&Selection>,
    mut wanted: RuleSet,
    rules_remain: bool,
) -> Result<RuleSet, Skipped> {
    let Some(Selection { mode, forwards }) = selection else {
        return Err(Skipped::Unreadable);
    };
    match mode {
        0 if wanted.rules.is_empty() && !rules_remain => return Ok(wanted),
        0 => return Err(Skipped::NotAsked),
        1 => {}
        _ => return Err(Skipped::NoForwards),
    }
    let asked: BTreeSet<_> = forwards.iter().collect();
    (wanted.rules)
        .retain(|rule| rule.backend == ForwardBackend::Portproxy && asked.contains(&entry(rule)));
    if wanted.rules.len() < forwards.len() {
        return Err(Skipped::OtherForwards);
    }
    Ok(wanted)
}

/// A rule of the port proxy as `refresh.ps1` asks the task for it.
fn entry(rule: &Rule) -> [u16; 4] {
    let (listen, connect) = (rule.listen.listen_port, rule.connect_port);
    // TCP, by the port proxy.
    [6, listen.get(), connect.get(), 1]
}

/// At most so many forwards of the port proxy that the policy allows, on ports that are not
/// in use. Where there is a choice, those that the firewall stays shut for.
fn spares(
    policy: &Policy,
    forbidden: bool,
    mut used: BTreeSet<NonZeroU16>,
    most: usize,
) -> Vec<Rule> {
    let mut grants: Vec<&Grant> = policy.proxied(forbidden).collect();
    grants.sort_by_key(|grant| grant.firewall);
    // Protocol and ports choose the grant on Windows, too.
    let first = |listen, connect| {
        let has = |one: &&Grant| {
            one.protocol == Protocol::Tcp
                && one.listen_ports.has(listen)
                && one.connect_ports.has(connect)
        };
        policy.grants.iter().find(has)
    };
    let ports = grants.iter().flat_map(|grant| {
        let ports = grant.listen_ports.ports().rev();
        ports.map(move |port| (*grant, port, grant.connect_ports.last()))
    });
    let free = ports.filter(|(grant, port, connect)| {
        first(*port, *connect) == Some(*grant) && used.insert(*port)
    });
    let rule = |(grant, listen_port, connect_port): (&Grant, _, _)| Rule {
        name: String::new(),
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: grant.listen_address,
            listen_port,
        },
        connect_port,
        backend: ForwardBackend::Portproxy,
        firewall: grant.firewall,
    };
    free.map(rule).take(most).collect()
}

/// How a sync ended, and after how long.
struct Ended {
    answer: Result<Synced, String>,
    took: Duration,
}

impl Ended {
    fn state(&self) -> Option<State> {
        self.answer.as_ref().ok().map(|answer| answer.state)
    }

    /// What it says that went wrong.
    fn problem(&self) -> Option<String> {
        match &self.answer {
            Ok(answer) => sync::problem(answer).or_else(|| {
                let late = "it took more than a minute: forward fewer ports";
                (self.took > MINUTE).then(|| late.to_owned())
            }),
            Err(error) => Some(error.clone()),
        }
    }

    /// Its state.
    fn word(&self) -> String {
        let state = self
            .state()
            .and_then(|state| serde_json::to_value(state).ok());
        let word = state.as_ref().and_then(Value::as_str);
        word.unwrap_or("no answer").to_owned()
    }

    /// Ports that others have.
    fn others(&self) -> BTreeSet<NonZeroU16> {
        let Ok(answer) = &self.answer else {
            return BTreeSet::new();
        };
        let taken = answer.taken.iter().map(|taken| taken.listen_port);
        let conflicts = answer.conflicts.iter().map(|other| other.listen_port);
        taken.chain(conflicts).collect()
    }

    /// Where the rule for a forward leads.
    fn target(&self, spare: &Rule) -> Option<String> {
        let listen = (spare.listen.listen_address, spare.listen.listen_port);
        let mut rules = self.answer.iter().flat_map(|answer| &answer.rules);
        let found = rules.find(|rule| (rule.listen_address.into(), rule.listen_port) == listen)?;
        Some(format!("{}:{}", found.connect_address, found.connect_port))
    }
}

/// One sync, asked for again while the task is at work.
async fn ended<E: Display>(
    wanted: &RuleSet,
    patience: Duration,
    ask: &mut impl AsyncFnMut(RuleSet) -> Result<Synced, E>,
) -> Ended {
    let begin = Instant::now();
    loop {
        let answer = ask(wanted.clone()).await.map_err(|error| error.to_string());
        let took = begin.elapsed();
        let ended = Ended { answer, took };
        if ended.state() != Some(State::TaskTimeout) || took >= patience {
            return ended;
        }
    }
}

/// Makes at most so many forwards beside the present ones, and removes them. Whatever
/// happens, the present ones are put back, unless a later request has taken their place.
/// `forbidden`: where the relay may not be started. `patience` is how long a task may be at
/// work before that is an answer.
pub async fn trial<E: Display>(
    present: &RuleSet,
    policy: &Policy,
    forbidden: bool,
    most: usize,
    patience: Duration,
    mut ask: impl AsyncFnMut(RuleSet) -> Result<Synced, E>,
) -> Trial {
    let most = most.min(MOST.saturating_sub(present.rules.len()));
    if most == 0 {
        return Skipped::Full.into();
    }
    let listens = present.rules.iter().map(|rule| rule.listen.listen_port);
    let mut used: BTreeSet<_> = listens.collect();
    let mut made = None;
    for _ in 0..TRIES {
        let mut spares = spares(policy, forbidden, used.clone(), most);
        if spares.is_empty() {
            break;
        }
        let mut wanted = present.clone();
        wanted.rules.extend_from_slice(&spares);
        let ended = ended(&wanted, patience, &mut ask).await;
        used.extend(ended.others());
        spares.retain(|spare| !used.contains(&spare.listen.listen_port));
        let more = spares.is_empty();
        made = Some((spares, ended));
        if !more {
            break;
        }
    }
    let Some((spares, made)) = made else {
        return Skipped::NoPort.into();
    };
    if made.state() == Some(State::Superseded) {
        return Skipped::Superseded.into();
    }
    let removed = ended(present, patience, &mut ask).await;
    match removed.state() {
        Some(State::Superseded) => Skipped::Superseded.into(),
        Some(State::Synced) if spares.is_empty() => Skipped::NoPort.into(),
        _ => judge(present, &spares, &made, &removed),
    }
}

fn judge(present: &RuleSet, spares: &[Rule], made: &Ended, removed: &Ended) -> Trial {
    let left = spares.iter().find(|spare| removed.target(spare).is_some());
    let left = left.map(|spare| format!("port {} is still forwarded", spare.listen.listen_port));
    let wrong = |spare: &Rule| {
        let expected = format!("{}:{}", present.connect_address, spare.connect_port);
        match made.target(spare) {
            Some(target) if target == expected => None,
            Some(target) => Some(format!("the rule leads to {target} instead of {expected}")),
            None => Some("no rule was made".to_owned()),
        }
    };
    let step = left
        .or_else(|| removed.problem())
        .or_else(|| made.problem())
        .or_else(|| spares.iter().find_map(wrong));
    let result = match step {
        None => CheckResult::Ok,
        Some(_) => CheckResult::Differs,
    };
    let milliseconds = |ended: &Ended| u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX);
    let facts = json!({
        "port": spares.first().map(|spare| spare.listen.listen_port),
        "forwards": spares.len(),
        "step": step,
        "made": made.word(),
        "made-in": milliseconds(made),
        "removed": removed.word(),
        "removed-in": milliseconds(removed),
    });
    Trial {
        left: result != CheckResult::Ok,
        result,
        facts,
    }
}

#[cfg(test)]
mod tests;
