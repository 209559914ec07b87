//! The state of one unit, and a job of it until it ends.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use zbus::{Connection, fdo, wire::OwnedObjectPath};

use super::proxy::{ManagerProxy, ServiceProxy, UnitProxy};
use crate::model::{Dependent, UnitAction, UnitName};

/// Longest wait for an answer. systemd answers at once; what takes time is a job.
const CALL: Duration = Duration::from_secs(10);
/// Longest wait for a job: as long as systemd itself waits for a start
/// (DefaultTimeoutStartSec=).
const JOB: Duration = Duration::from_secs(90);
/// A job that a later one of the same unit may take the place of.
const REPLACE: &str = "replace";

/// Why a call to systemd has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitsError {
    /// No bus, or no systemd on it, or no answer.
    #[error("systemd cannot be reached over D-Bus: {0}")]
    Unreachable(String),
    /// systemd's own words.
    #[error("systemd refuses: {0}")]
    Refused(String),
}

impl From<zbus::Error> for UnitsError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                Self::Refused(text.unwrap_or_else(|| name.to_string()))
            }
            zbus::Error::FDO(error) => match *error {
                fdo::Error::ZBus(_)
                | fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::NoReply(_)
                | fdo::Error::NoServer(_)
                | fdo::Error::NoNetwork(_)
                | fdo::Error::Disconnected(_)
                | fdo::Error::Timeout(_)
                | fdo::Error::IOError(_) => Self::Unreachable(error.to_string()),
                refused => Self::Refused(refused.to_string()),
            },
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl UnitsError {
    /// A refusal as an outcome; an unreachable systemd stays an error.
    pub(super) fn refused(self) -> Result<JobOutcome, Self> {
        match self {
            Self::Refused(why) => Ok(JobOutcome::new("refused", why)),
            unreachable @ Self::Unreachable(_) => Err(unreachable),
        }
    }
}

/// The state of a unit, or what came of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitState {
    /// It runs, or is about to.
    Running,
    /// It does not run.
    Inactive {
        /// systemd's active state is `failed`.
        failed: bool,
    },
    /// There is no unit to notify: how systemd puts it.
    Missing(&'static str),
    /// Its job ended, or systemd cannot load the unit or refuses.
    Outcome(JobOutcome),
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOutcome {
    /// `done`, systemd's result of the job or the service, or `refused`,
    /// `broken`, `no-end`.
    pub result: String,
    /// The exit status, where a hook ended by itself.
    pub status: Option<i32>,
    /// What happened, without a final dot.
    pub detail: String,
}

impl JobOutcome {
    pub(super) fn new(result: &str, detail: impl Into<String>) -> Self {
        Self {
            result: result.to_owned(),
            status: None,
            detail: detail.into(),
        }
    }

    /// Whether it ended well.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.result == "done"
    }
}

/// A client of systemd.
#[derive(Debug)]
pub struct Systemd {
    bus: Connection,
    pub(super) manager: ManagerProxy<'static>,
    /// Longest wait for a job.
    pub(super) job_timeout: Duration,
}

impl Systemd {
    /// Finds systemd on the system bus.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`].
    pub async fn connect() -> Result<Self, UnitsError> {
        Self::over(answer(Connection::system()).await?).await
    }

    pub(super) fn bus(&self) -> &Connection {
        &self.bus
    }

    /// systemd behind a connection.
    pub(super) async fn over(bus: Connection) -> Result<Self, UnitsError> {
        let manager = answer(ManagerProxy::new(&bus)).await?;
        answer(manager.subscribe()).await?;
        Ok(Self {
            bus,
            manager,
            job_timeout: JOB,
        })
    }

    /// The state of a unit.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`].
    pub async fn state(&self, unit: &UnitName) -> Result<UnitState, UnitsError> {
        let state = self.load(unit).await.map(|(_, state)| state);
        state.or_else(|error| error.refused().map(UnitState::Outcome))
    }

    /// Does what was configured if the unit runs, and waits for the end. `begun`
    /// is called just before systemd is asked for the job.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`]; everything else is an outcome.
    pub async fn notify(
        &self,
        Dependent { unit, action, .. }: &Dependent,
        begun: impl FnOnce(),
    ) -> Result<UnitState, UnitsError> {
        let notified = async {
            let (unit, state) = self.load(unit).await?;
            if state != UnitState::Running {
                return Ok(state);
            }
            let id = answer(unit.id()).await?;
            let manager = &self.manager;
            let job = async {
                begun();
                match action {
                    UnitAction::ReloadOrRestart => {
                        manager.reload_or_try_restart_unit(&id, REPLACE).await
                    }
                    UnitAction::Reload => manager.reload_unit(&id, REPLACE).await,
                    UnitAction::Restart => manager.try_restart_unit(&id, REPLACE).await,
                }
            };
            let result = self.wait_for_job(job, &id, self.job_timeout).await?;
            let (result, detail) = match result.as_deref() {
                None => {
                    let limit = self.job_timeout.as_secs();
                    let detail =
                        format!("{action} has not ended within {limit} s; systemd goes on with it");
                    ("no-end", detail)
                }
                Some("done") => ("done", "done".to_owned()),
                Some(result) => {
                    let why = self.reason(&unit, &id).await;
                    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                    (result, format!("{action} ended as {result}{why}"))
                }
            };
            Ok(UnitState::Outcome(JobOutcome::new(result, detail)))
        };
        let notified = notified.await;
        notified.or_else(|error: UnitsError| error.refused().map(UnitState::Outcome))
    }

    async fn load(&self, unit: &UnitName) -> Result<(UnitProxy<'_>, UnitState), UnitsError> {
        let path = answer(self.manager.load_unit(unit.as_str())).await?;
        let unit = answer(UnitProxy::builder(&self.bus).path(path).build()).await?;
        let state = match answer(unit.load_state()).await?.as_str() {
            "not-found" => UnitState::Missing("there is no such unit"),
            "masked" => UnitState::Missing("it is masked"),
            state @ ("error" | "bad-setting") => {
                let detail = format!("systemd cannot load it ({state})");
                UnitState::Outcome(JobOutcome::new("broken", detail))
            }
            _ => match answer(unit.active_state()).await?.as_str() {
                "inactive" | "deactivating" => UnitState::Inactive { failed: false },
                "failed" => UnitState::Inactive { failed: true },
                _ => UnitState::Running,
            },
        };
        Ok((unit, state))
    }

    /// Begins a job of a unit and waits for its result; `None` at the deadline.
    /// `job` is first polled when all else is done that the job needs.
    pub(super) async fn wait_for_job(
        &self,
        job: impl Future<Output = zbus::Result<OwnedObjectPath>>,
        unit: &str,
        deadline: Duration,
    ) -> Result<Option<String>, UnitsError> {
        // Before the job is begun: its end may come before its path does.
        let of_unit = [(2, unit)];
        let removed = self.manager.receive_job_removed_with_args(&of_unit);
        let mut removed = answer(removed).await?;
        let job = answer(job).await?;
        let end = async {
            while let Some(signal) = removed.next().await {
                let ended = signal.args()?;
                if *ended.job() == job {
                    return Ok((*ended.result()).to_owned());
                }
            }
            Err(UnitsError::Unreachable(
                "the connection ended in the middle of a job".to_owned(),
            ))
        };
        timeout(deadline, end).await.ok().transpose()
    }

    /// Why a service's job failed.
    pub(super) async fn reason(&self, unit: &UnitProxy<'_>, id: &str) -> Option<String> {
        if !id.ends_with(".service") {
            return None;
        }
        let path = unit.inner().path().clone();
        let service = answer(self.service(path.into())).await.ok()?;
        let own = answer(service.result()).await.ok()?;
        if own != "success" {
            return Some(own);
        }
        let reload = answer(service.reload_result()).await.ok()?;
        (reload != "success").then_some(reload)
    }

    pub(super) async fn service(&self, path: OwnedObjectPath) -> zbus::Result<ServiceProxy<'_>> {
        ServiceProxy::builder(&self.bus).path(path).build().await
    }
}

/// A call's answer within its deadline.
pub(super) async fn answer<T>(
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T, UnitsError> {
    match timeout(CALL, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(UnitsError::Unreachable(format!(
            "no answer within {} s",
            CALL.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests;
