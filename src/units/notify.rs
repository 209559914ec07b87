//! One run over all dependents: every unit in its order, then every hook.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Hook, JobOutcome, Systemd, UnitState, UnitsError,
    hooks::{self, hooks},
};
use crate::{
    blocking::{BlockingError, SingleFlight, run_blocking},
    fs::own::Trust,
    model::{AddressChange, Code, Dependent, Finding, Subject, micros},
};

/// The folder of hooks below `hooks.d`, and what a hook reads in `WSLMESH_EVENT`.
pub(super) const EVENT: &str = "address-changed";

/// Longest wait for a folder of hooks or for one of them.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Who is to be notified of what.
#[derive(Debug, Clone)]
pub struct NotifyRun {
    /// The change; `None` only checks that all could be notified.
    pub change: Option<AddressChange>,
    /// The units, in their order.
    pub dependents: Vec<Dependent>,
    /// The configuration's folder, with `hooks.d` in it.
    pub below: PathBuf,
    /// How long a hook may run.
    pub hook_timeout: Duration,
    /// Who knows another address than the change's old one, since a run was
    /// interrupted. Who knows the new one is not notified.
    pub known: BTreeMap<Subject, IpAddr>,
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
    /// Who was not notified, or perhaps not; none where hooks could not be listed.
    pub rest: Vec<Subject>,
}

impl NotifyRun {
    /// Makes the run. `connect` is used only if there is a dependent to ask for;
    /// `begun` gets each one just before its job is asked for, so that an agent
    /// that is stopped then does not notify it twice: systemd finishes a job by
    /// itself. A state that is only read begins nothing.
    pub async fn run(
        self,
        connect: impl Future<Output = Result<Systemd, UnitsError>>,
        mut begun: impl FnMut(&str),
    ) -> NotifyReport {
        let mut report = NotifyReport::default();
        let (hooks, refused) = self.hooks().await.unwrap_or_else(|finding| {
            // The units need no hook, and the next run notifies the hooks alone.
            report.interrupt(finding, &[]);
            Default::default()
        });
        let raised = |finding: Finding| (finding.subject.clone(), HealthChange::Raised(finding));
        report.health.extend(refused.into_iter().map(raised));
        let units = self.dependents.iter().map(Target::Unit);
        let (up_to_date, targets): (Vec<_>, Vec<_>) = units
            .chain(hooks.iter().map(Target::Hook))
            .partition(|target| self.is_up_to_date(&target.subject()));
        report.set_all(&up_to_date, &HealthChange::Unchanged);
        let to_ask = |target: &Target<'_>| self.change.is_some() || target.is_unit();
        if !targets.iter().any(to_ask) {
            report.set_all(&targets, &HealthChange::Cleared);
            return report;
        }
        let systemd = match connect.await {
            Ok(systemd) => systemd,
            Err(error) => {
                report.interrupt(error.into(), &targets);
                return report;
            }
        };
        for (place, target) in targets.iter().enumerate() {
            match self.one(&systemd, target, &mut begun).await {
                Ok(health) => report.health.push((target.subject(), health)),
                Err(finding) => {
                    report.interrupt(finding, targets.get(place..).unwrap_or_default());
                    break;
                }
            }
        }
        report
    }

    async fn one(
        &self,
        systemd: &Systemd,
        target: &Target<'_>,
        begun: &mut impl FnMut(&str),
    ) -> Result<HealthChange, Finding> {
        let start = Instant::now();
        let subject = target.subject();
        let begun = || begun(&subject);
        let state = match (target, &self.change) {
            (Target::Unit(dependent), None) => {
                return Ok(target.health(systemd.state(&dependent.unit).await?));
            }
            (Target::Hook(_), None) => return Ok(HealthChange::Cleared),
            (Target::Unit(dependent), Some(_)) => systemd.notify(dependent, begun).await?,
            (Target::Hook(hook), Some(change)) => {
                let change = AddressChange {
                    old: self.old(&subject, change),
                    ..change.clone()
                };
                let found = (*hook).clone();
                let check = move || hooks::check_again(&found, &Trust::root());
                let hook = match self.read(&hook.path, check).await? {
                    Ok(Some(hook)) => hook,
                    Ok(None) => return Ok(HealthChange::Cleared),
                    Err(finding) => return Ok(HealthChange::Raised(finding)),
                };
                let ran = systemd.run(&hook, &change, self.hook_timeout, begun);
                UnitState::Outcome(ran.await?)
            }
        };
        target.log(&state, start.elapsed());
        Ok(target.health(state))
    }

    async fn hooks(&self) -> Result<(Vec<Hook>, Vec<Finding>), Finding> {
        let folder = self.below.join("hooks.d").join(EVENT);
        let within = folder.clone();
        let look = move || hooks(&within, &Trust::root());
        self.read(&folder, look).await.flatten()
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

    /// The address that this one was notified of last.
    fn old(&self, subject: &str, change: &AddressChange) -> IpAddr {
        self.known.get(subject).copied().unwrap_or(change.old)
    }

    fn is_up_to_date(&self, subject: &str) -> bool {
        let change = self.change.as_ref();
        change.is_some_and(|change| self.old(subject, change) == change.new.address())
    }
}

impl NotifyReport {
    fn set_all(&mut self, targets: &[Target<'_>], health: &HealthChange) {
        let each = |target: &Target<'_>| (target.subject(), health.clone());
        self.health.extend(targets.iter().map(each));
    }

    fn interrupt(&mut self, mut finding: Finding, rest: &[Target<'_>]) {
        self.set_all(rest, &HealthChange::Unchanged);
        let rest: Vec<Subject> = rest.iter().map(Target::subject).collect();
        if !rest.is_empty() {
            finding.detail = format!("{}; not notified: {}", finding.detail, rest.join(", "));
        }
        self.interrupted = Some(Interrupted { finding, rest });
    }
}

impl From<UnitsError> for Finding {
    fn from(error: UnitsError) -> Self {
        Self::new(Code::DependentFailed, "systemd", error.to_string())
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

    fn log(&self, state: &UnitState, took: Duration) {
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
        match self {
            Self::Unit(Dependent { unit, action }) => tracing::info!(
                event = "dependent",
                unit = unit.as_str(),
                %action,
                result,
                duration_us,
                "{action} {unit}: {detail} ({ms:.1} ms)"
            ),
            Self::Hook(Hook { name, .. }) => tracing::info!(
                event = "hook",
                hook = name,
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
