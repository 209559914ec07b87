//! One round: every unit in its order, then every hook.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    Hook, Ran, Standing, Systemd, Told, UnitsError,
    hooks::{self, hooks},
};
use crate::{
    blocking::{SingleFlight, run_blocking},
    fs::own::Trust,
    model::{AddressChange, Code, Dependent, Finding, Subject},
};

/// The folder of hooks below `hooks.d`, and what a hook reads in `WSLMESH_EVENT`.
pub(super) const EVENT: &str = "address-changed";

/// What is to be told to whom.
#[derive(Debug, Clone)]
pub struct Round {
    /// The change; `None` only looks whether all could be told.
    pub change: Option<AddressChange>,
    /// The units, in their order.
    pub dependents: Vec<Dependent>,
    /// The configuration's folder, with `hooks.d` in it.
    pub below: PathBuf,
    /// How long a hook may run.
    pub hook_timeout: Duration,
    /// Who knows another address than the change's old one, since a round did
    /// not come to its end. Who knows the new one is not told.
    pub known: BTreeMap<Subject, Ipv4Addr>,
    /// For reading the folders of hooks, shared by all rounds.
    pub reads: SingleFlight,
}

/// What a round means for the health of one unit or hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Fine,
    /// Nothing new is known.
    AsBefore,
    /// There is trouble.
    Trouble(Finding),
}

/// What came of a round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// For each unit and hook, by the subject of its findings.
    pub verdicts: Vec<(Subject, Verdict)>,
    /// systemd was out of reach before the end.
    pub out_of_reach: Option<Gap>,
}

/// systemd was out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why, and who was not told.
    pub finding: Finding,
    /// Who was not told, or perhaps not.
    pub untold: Vec<Subject>,
}

impl Round {
    /// Makes the round. `connect` is used only if there is somebody to tell;
    /// `begun` hears of each one just before its job is asked for, so that an
    /// agent that is ended then does not tell it twice: systemd finishes a job
    /// by itself. Who is only being looked at is not told yet.
    pub async fn run(
        self,
        connect: impl Future<Output = Result<Systemd, UnitsError>>,
        mut begun: impl FnMut(&str),
    ) -> Report {
        let (hooks, refused) = self.hooks().await;
        let mut report = Report::default();
        let trouble = |finding: Finding| (finding.subject.clone(), Verdict::Trouble(finding));
        report.verdicts.extend(refused.into_iter().map(trouble));
        let (old, new): (Vec<Target<'_>>, Vec<Target<'_>>) = self
            .dependents
            .iter()
            .map(Target::Unit)
            .chain(hooks.iter().map(Target::Hook))
            .partition(|target| self.knows(&target.subject()));
        let as_before = |target: Target<'_>| (target.subject(), Verdict::AsBefore);
        report.verdicts.extend(old.into_iter().map(as_before));
        let to_ask = |target: &&Target<'_>| self.change.is_some() || target.is_unit();
        if !new.iter().any(|target| to_ask(&target)) {
            let fine = |target: Target<'_>| (target.subject(), Verdict::Fine);
            report.verdicts.extend(new.into_iter().map(fine));
            return report;
        }
        let systemd = match connect.await {
            Ok(systemd) => systemd,
            Err(error) => {
                report.give_up(&error, &new);
                return report;
            }
        };
        for (place, target) in new.iter().enumerate() {
            let verdict = match (&self.change, target) {
                (None, target) => target.look(&systemd).await,
                (Some(change), target) => {
                    let change = &AddressChange {
                        old: self.old(&target.subject(), change),
                        new: change.new.clone(),
                    };
                    let limit = self.hook_timeout;
                    let begun = || begun(&target.subject());
                    target
                        .tell(&systemd, &self.reads, change, limit, begun)
                        .await
                }
            };
            match verdict {
                Ok(verdict) => report.verdicts.push((target.subject(), verdict)),
                Err(error) => {
                    report.give_up(&error, new.get(place..).unwrap_or_default());
                    break;
                }
            }
        }
        report
    }

    async fn hooks(&self) -> (Vec<Hook>, Vec<Finding>) {
        let below = self.below.clone();
        let look = move || hooks(&below, EVENT, &Trust::root());
        read(&self.reads, look).await.unwrap_or_else(|why| {
            let folder = self.below.join("hooks.d").join(EVENT);
            (Vec::new(), vec![hooks::refused(&folder, why)])
        })
    }

    /// What this one was told last.
    fn old(&self, who: &str, change: &AddressChange) -> Ipv4Addr {
        self.known.get(who).copied().unwrap_or(change.old)
    }

    fn knows(&self, who: &str) -> bool {
        let change = self.change.as_ref();
        change.is_some_and(|change| self.old(who, change) == change.new.address)
    }
}

impl Report {
    fn give_up(&mut self, error: &UnitsError, rest: &[Target<'_>]) {
        let names: Vec<Subject> = rest.iter().map(Target::subject).collect();
        let detail = format!("{error}; not told: {}", names.join(", "));
        let as_before = |subject: &Subject| (subject.clone(), Verdict::AsBefore);
        self.verdicts.extend(names.iter().map(as_before));
        self.out_of_reach = Some(Gap {
            finding: Finding::new(Code::DependentFailed, "systemd", detail),
            untold: names,
        });
    }
}

/// Longest wait for a folder of hooks or for one of them.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Reads hooks off the loop, or says why that is impossible.
async fn read<T: Send + 'static>(
    reads: &SingleFlight,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let answer = async { run_blocking(reads.begin()?, READ_LIMIT, call).await };
    answer.await.map_err(|error| {
        format!(
            "{error}: does a symlink lead to a drive or a share that does not answer? (remove it, or copy the program here)"
        )
    })
}

/// Who is told.
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

    async fn look(&self, systemd: &Systemd) -> Result<Verdict, UnitsError> {
        let Self::Unit(dependent) = self else {
            return Ok(Verdict::Fine);
        };
        Ok(match systemd.standing(&dependent.unit).await {
            Ok(Standing::Missing(how)) => self.missing(how),
            Ok(Standing::Rests { failed: true }) => Verdict::AsBefore,
            Ok(Standing::Runs | Standing::Rests { failed: false }) => Verdict::Fine,
            Ok(Standing::Broken(state)) => self.failed(format!("systemd cannot load it ({state})")),
            Err(UnitsError::Refused(why)) => self.failed(why),
            Err(error) => return Err(error),
        })
    }

    async fn tell(
        &self,
        systemd: &Systemd,
        reads: &SingleFlight,
        change: &AddressChange,
        limit: Duration,
        begun: impl FnOnce(),
    ) -> Result<Verdict, UnitsError> {
        let begin = Instant::now();
        match self {
            Self::Unit(dependent) => {
                let told = systemd.tell(dependent, begun).await?;
                Ok(self.told(dependent, told, begin.elapsed()))
            }
            Self::Hook(hook) => {
                let looked = (*hook).clone();
                let look = move || hooks::again(&looked, &Trust::root());
                let looked = read(reads, look).await;
                let hook = match looked.unwrap_or_else(|why| Err(hooks::refused(&hook.path, why))) {
                    Ok(Some(hook)) => hook,
                    Ok(None) => return Ok(Verdict::Fine),
                    Err(finding) => return Ok(Verdict::Trouble(finding)),
                };
                let hook = &hook;
                let ran = systemd.run(hook, change, limit, begun).await?;
                say_hook(hook, &ran, begin.elapsed());
                Ok(if ran.is_fine() {
                    Verdict::Fine
                } else {
                    Verdict::Trouble(Finding::new(Code::HookFailed, self.subject(), ran.detail))
                })
            }
        }
    }

    fn told(&self, dependent: &Dependent, told: Told, took: Duration) -> Verdict {
        let say = |result: &str, text: &str| say_unit(dependent, result, text, took);
        match told {
            Told::Done => {
                say("done", "done");
                Verdict::Fine
            }
            Told::Rests { failed } => {
                say("not-running", "does not run, left alone");
                if failed {
                    Verdict::AsBefore
                } else {
                    Verdict::Fine
                }
            }
            // The health says so, and only once.
            Told::Missing(how) => self.missing(how),
            Told::Failed { result, detail } => {
                say(&result, &detail);
                self.failed(detail)
            }
        }
    }

    fn missing(&self, how: &str) -> Verdict {
        Verdict::Trouble(Finding::new(Code::DependentMissing, self.subject(), how))
    }

    fn failed(&self, detail: String) -> Verdict {
        Verdict::Trouble(Finding::new(Code::DependentFailed, self.subject(), detail))
    }
}

fn say_unit(dependent: &Dependent, result: &str, text: &str, took: Duration) {
    tracing::info!(
        event = "dependent",
        unit = dependent.unit.as_str(),
        action = dependent.action.as_str(),
        result,
        duration_us = micros(took),
        "{} {}: {text} ({:.1} ms)",
        dependent.action,
        dependent.unit,
        took.as_secs_f64() * 1e3
    );
}

fn say_hook(hook: &Hook, ran: &Ran, took: Duration) {
    tracing::info!(
        event = "hook",
        hook = hook.name.as_str(),
        result = ran.result.as_str(),
        exit_status = ran.status,
        duration_us = micros(took),
        "hook {}: {} ({:.1} ms)",
        hook.name,
        ran.detail,
        took.as_secs_f64() * 1e3
    );
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
