//! One run over all dependents: every unit in its order, then every hook.

mod environment;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::environment::environment;
use super::{
    Hook, JobOutcome, Systemd, UnitState, UnitsError,
    hooks::{self, hooks},
};
use crate::{
    blocking::{BlockingError, SingleFlight, run_blocking},
    fs::own::Trust,
    model::{
        Change, Code, Dependent, FactKey, Finding, FollowedEvent, Follows, ModeState, Subject,
        micros,
    },
};

/// Longest wait for a folder of hooks or for one of them.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Who is to be notified of what.
#[derive(Debug, Clone)]
pub struct NotifyRun {
    /// The changes; without one the run only checks that all could be notified.
    pub changes: Vec<Change>,
    /// Whether it also checks those that follow none of the changes.
    pub check: bool,
    /// The units, in their order.
    pub dependents: Vec<Dependent>,
    /// What those of them follow that say nothing themselves.
    pub usual: Follows,
    /// The configuration's folder, with `hooks.d` in it.
    pub below: PathBuf,
    /// How long a hook may run.
    pub hook_timeout: Duration,
    /// WSL's networking mode, as far as it is known, for hooks.
    pub mode: ModeState,
    /// The gateway, for hooks.
    pub gateway: Option<IpAddr>,
    /// For reading the folders of hooks, shared by all runs.
    pub reads: SingleFlight,
}

/// What a run means for the health of one unit or hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthChange {
    /// No problem, or none any more.
    Cleared,
    /// As before the run.
    Unchanged,
    /// A problem.
    Raised(Finding),
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyReport {
    /// For each unit and hook, by the subject of its findings.
    pub health: Vec<(Subject, HealthChange)>,
    /// What kept the run from its end, so that it is to be made again.
    pub interrupted: Option<Interrupted>,
}

/// systemd could not be reached, or hooks could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// Why, and who was not notified.
    pub finding: Finding,
    /// Who was not notified, or perhaps not, of which keys; none where hooks could not be
    /// listed.
    pub rest: Vec<(Subject, Vec<FactKey>)>,
}

impl NotifyRun {
    /// Makes the run. `connect` is used only if there is a dependent to ask for;
    /// `begun` gets each one with the keys of its changes just before its job is asked for,
    /// so that an agent that is stopped then does not notify it twice: systemd finishes a job
    /// by itself. A state that is only read begins nothing.
    pub async fn run(
        self,
        connect: impl Future<Output = Result<Systemd, UnitsError>>,
        mut begun: impl FnMut(&str, &[FactKey]),
    ) -> NotifyReport {
        let mut report = NotifyReport::default();
        let (hooks, refused) = self.hooks().await.unwrap_or_else(|finding| {
            // The units need no hook, and the next run notifies the hooks alone.
            report.interrupt(finding, &[]);
            Default::default()
        });
        let raised = |finding: Finding| (finding.subject.clone(), HealthChange::Raised(finding));
        report.health.extend(refused.into_iter().map(raised));
        let (turns, others): (Vec<_>, Vec<_>) = self
            .turns(&hooks)
            .into_iter()
            .partition(|turn| !turn.of.is_empty() || turn.is_checked);
        let nothing_new = match self.changes.is_empty() {
            true => HealthChange::Cleared,
            false => HealthChange::Unchanged,
        };
        report.set_all(&others, &nothing_new);
        if turns.is_empty() {
            return report;
        }
        let systemd = match connect.await {
            Ok(systemd) => systemd,
            Err(error) => {
                report.interrupt(error.into(), &turns);
                return report;
            }
        };
        for (place, turn) in turns.iter().enumerate() {
            match self.one(&systemd, turn, &mut begun).await {
                Ok(health) => report.health.push((turn.who.subject(), health)),
                Err(finding) => {
                    report.interrupt(finding, turns.get(place..).unwrap_or_default());
                    break;
                }
            }
        }
        report
    }

    /// Who is notified of what: a unit of all at once, a hook of one change after another.
    fn turns<'a>(&'a self, hooks: &'a [(FollowedEvent, Hook)]) -> Vec<Turn<'a>> {
        let check = self.check || self.changes.is_empty();
        let mut turns = Vec::new();
        for dependent in &self.dependents {
            let (who, follows) = (Target::Unit(dependent), dependent.follows(self.usual));
            let subject = who.subject();
            let is_followed = |change: &&Change| follows.includes(change.key.event());
            let followed = self.changes.iter().filter(is_followed);
            turns.push(Turn {
                who,
                is_checked: check && followed.clone().next().is_none(),
                of: followed.filter(|one| !one.is_known_to(&subject)).collect(),
            });
        }
        for (event, hook) in hooks {
            let who = Target::Hook(hook);
            let subject = who.subject();
            let is_new = |one: &&Change| one.key.event() == *event && !one.is_known_to(&subject);
            let turn = |of| Turn {
                who,
                is_checked: false,
                of,
            };
            let before = turns.len();
            turns.extend(
                self.changes
                    .iter()
                    .filter(is_new)
                    .map(|one| turn(vec![one])),
            );
            if turns.len() == before {
                turns.push(turn(Vec::new()));
            }
        }
        turns
    }

    async fn one(
        &self,
        systemd: &Systemd,
        turn: &Turn<'_>,
        begun: &mut impl FnMut(&str, &[FactKey]),
    ) -> Result<HealthChange, Finding> {
        let start = Instant::now();
        let (who, subject, keys) = (turn.who, turn.who.subject(), turn.keys());
        let begun = || begun(&subject, &keys);
        let state = match (who, turn.of.first()) {
            (Target::Unit(dependent), None) => {
                return Ok(who.health(systemd.state(&dependent.unit).await?));
            }
            (Target::Hook(_), None) => return Ok(HealthChange::Cleared),
            (Target::Unit(dependent), Some(_)) => systemd.notify(dependent, begun).await?,
            (Target::Hook(hook), Some(change)) => {
                let found = hook.clone();
                let check = move || hooks::check_again(&found, &Trust::root());
                let hook = match self.read(&hook.path, check).await? {
                    Ok(Some(hook)) => hook,
                    Ok(None) => return Ok(HealthChange::Cleared),
                    Err(finding) => return Ok(HealthChange::Raised(finding)),
                };
                let old = change.old_of(&subject);
                let environment = environment(change, old, &self.mode, self.gateway);
                let ran = systemd.run(&hook, environment, self.hook_timeout, begun);
                UnitState::Outcome(ran.await?)
            }
        };
        who.log(&keys, &state, start.elapsed());
        Ok(who.health(state))
    }

    /// The hooks of all events, and those that are refused.
    async fn hooks(&self) -> Result<(Vec<(FollowedEvent, Hook)>, Vec<Finding>), Finding> {
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        for event in FollowedEvent::ALL {
            let folder = self.below.join("hooks.d").join(event.name());
            let within = folder.clone();
            let look = move || hooks(&within, &Trust::root());
            let (hooks, findings) = self.read(&folder, look).await.flatten()?;
            found.extend(hooks.into_iter().map(|hook| (event, hook)));
            refused.extend(findings);
        }
        Ok((found, refused))
    }

    /// Reads a hook or the folder of them off the loop, or says why that is impossible
    /// now.
    async fn read<T: Send + 'static>(
        &self,
        path: &Path,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Finding> {
        let answer = async { run_blocking(self.reads.begin()?, READ_LIMIT, call).await };
        answer.await.map_err(|error| {
            let why = match error {
                BlockingError::Busy | BlockingError::TimedOut(_) => format!(
                    "{error}: does a symlink lead to a drive or a share that does not answer? (remove it, or copy the program here)"
                ),
                BlockingError::NoThread(_) | BlockingError::Interrupted => error.to_string(),
            };
            hooks::refused(path, why)
        })
    }
}

impl NotifyReport {
    fn set_all(&mut self, turns: &[Turn<'_>], health: &HealthChange) {
        let each = |turn: &Turn<'_>| (turn.who.subject(), health.clone());
        self.health.extend(turns.iter().map(each));
    }

    fn interrupt(&mut self, mut finding: Finding, rest: &[Turn<'_>]) {
        self.set_all(rest, &HealthChange::Unchanged);
        let of = |turn: &Turn<'_>| (turn.who.subject(), turn.keys());
        let rest: Vec<(Subject, Vec<FactKey>)> = rest.iter().map(of).collect();
        let mut who: Vec<&str> = rest.iter().map(|(subject, _)| subject.as_str()).collect();
        who.dedup();
        if !who.is_empty() {
            finding.detail = format!("{}; not notified: {}", finding.detail, who.join(", "));
        }
        self.interrupted = Some(Interrupted { finding, rest });
    }
}

impl From<UnitsError> for Finding {
    fn from(error: UnitsError) -> Self {
        Self::new(Code::DependentFailed, "systemd", error.to_string())
    }
}

/// Who is notified of which changes.
#[derive(Debug)]
struct Turn<'a> {
    who: Target<'a>,
    /// Whether only its state is read.
    is_checked: bool,
    of: Vec<&'a Change>,
}

impl Turn<'_> {
    fn keys(&self) -> Vec<FactKey> {
        self.of.iter().map(|change| change.key).collect()
    }
}

/// Who is notified.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    Unit(&'a Dependent),
    Hook(&'a Hook),
}

impl Target<'_> {
    fn is_unit(&self) -> bool {
        matches!(self, Self::Unit(_))
    }

    fn subject(&self) -> Subject {
        match self {
            Self::Unit(dependent) => dependent.unit.to_string(),
            Self::Hook(hook) => hook.path.display().to_string(),
        }
    }

    /// What the state of a unit means, or the end of a job.
    fn health(&self, state: UnitState) -> HealthChange {
        match state {
            UnitState::Running | UnitState::Inactive { failed: false } => HealthChange::Cleared,
            UnitState::Inactive { failed: true } => HealthChange::Unchanged,
            UnitState::Missing(how) => self.raised(Code::DependentMissing, how),
            UnitState::Outcome(outcome) if outcome.is_done() => HealthChange::Cleared,
            UnitState::Outcome(outcome) if self.is_unit() => {
                self.raised(Code::DependentFailed, outcome.detail)
            }
            UnitState::Outcome(outcome) => self.raised(Code::HookFailed, outcome.detail),
        }
    }

    fn raised(&self, code: Code, detail: impl Into<String>) -> HealthChange {
        HealthChange::Raised(Finding::new(code, self.subject(), detail))
    }

    fn log(&self, keys: &[FactKey], state: &UnitState, took: Duration) {
        let left_alone = JobOutcome::new("not-running", "does not run, left alone");
        let JobOutcome {
            result,
            status,
            detail,
        } = match state {
            UnitState::Inactive { .. } => &left_alone,
            UnitState::Outcome(outcome) => outcome,
            // The finding is logged, and only once.
            UnitState::Missing(_) | UnitState::Running => return,
        };
        let (duration_us, ms) = (micros(took), took.as_secs_f64() * 1e3);
        let key = keys
            .iter()
            .map(FactKey::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        match self {
            Self::Unit(Dependent { unit, action, .. }) => tracing::info!(
                event = "dependent",
                unit = unit.as_str(),
                %action,
                key,
                result,
                duration_us,
                "{action} {unit}: {detail} ({ms:.1} ms)"
            ),
            Self::Hook(Hook { name, .. }) => tracing::info!(
                event = "hook",
                hook = name,
                key,
                result,
                exit_status = status,
                duration_us,
                "hook {name}: {detail} ({ms:.1} ms)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
