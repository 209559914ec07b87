//! Telling one unit, and waiting for what comes of it.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use zbus::{Connection, fdo, wire::OwnedObjectPath};

use super::bus::{ManagerProxy, ServiceProxy, UnitProxy};
use crate::model::{Dependent, UnitAction, UnitName};

/// Longest wait for an answer. systemd answers at once; what takes time is a job.
const CALL: Duration = Duration::from_secs(10);
/// Longest wait for a job: as long as systemd itself waits for a start
/// (DefaultTimeoutStartSec=).
const JOB: Duration = Duration::from_secs(90);
/// A job that a later one of the same unit may take the place of.
const REPLACE: &str = "replace";

/// Why systemd could not be asked, or would not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitsError {
    /// There is no bus, or no systemd on it, or it does not answer.
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

/// How a unit stands before it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It runs, or is about to.
    Runs,
    /// It does not run; whether it has failed.
    Rests {
        /// systemd's active state is `failed`.
        failed: bool,
    },
    /// There is nothing to tell: how systemd puts it.
    Missing(&'static str),
    /// Its file has errors: the load state.
    Broken(String),
}

/// How it went with a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was told.
    Done,
    /// It does not run and was left alone; whether it has failed.
    Rests {
        /// systemd's active state is `failed`.
        failed: bool,
    },
    /// There is nothing to tell: how systemd puts it.
    Missing(&'static str),
    /// It did not work.
    Failed {
        /// One word: systemd's result of the job, or `refused`, `broken`, `no-end`.
        result: String,
        /// What happened, without a final dot.
        detail: String,
    },
}

/// systemd, as long as it is of use.
#[derive(Debug)]
pub struct Systemd {
    bus: Connection,
    manager: ManagerProxy<'static>,
    job: Duration,
}

impl Systemd {
    /// Finds systemd on the system bus.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`].
    pub async fn connect() -> Result<Self, UnitsError> {
        Self::over(answer(Connection::system()).await?).await
    }

    /// systemd behind a connection.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`].
    pub(super) async fn over(bus: Connection) -> Result<Self, UnitsError> {
        let manager = answer(ManagerProxy::new(&bus)).await?;
        answer(manager.subscribe()).await?;
        Ok(Self {
            bus,
            manager,
            job: JOB,
        })
    }

    /// How a unit stands.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn standing(&self, unit: &UnitName) -> Result<Standing, UnitsError> {
        Ok(self.look(unit).await?.1)
    }

    /// Does what was configured, where the unit runs, and waits for the end.
    /// `begun` is called just before systemd is asked for the job.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`]; everything else is an outcome.
    pub async fn tell(
        &self,
        dependent: &Dependent,
        begun: impl FnOnce(),
    ) -> Result<Told, UnitsError> {
        match self.try_to_tell(dependent, begun).await {
            Err(UnitsError::Refused(detail)) => Ok(Told::Failed {
                result: "refused".to_owned(),
                detail,
            }),
            told => told,
        }
    }

    async fn try_to_tell(
        &self,
        dependent: &Dependent,
        begun: impl FnOnce(),
    ) -> Result<Told, UnitsError> {
        let (unit, standing) = self.look(&dependent.unit).await?;
        match standing {
            Standing::Runs => {}
            Standing::Rests { failed } => return Ok(Told::Rests { failed }),
            Standing::Missing(how) => return Ok(Told::Missing(how)),
            Standing::Broken(state) => {
                return Ok(Told::Failed {
                    result: "broken".to_owned(),
                    detail: format!("systemd cannot load it ({state})"),
                });
            }
        }
        let id = answer(unit.id()).await?;
        let job = async {
            begun();
            match dependent.action {
                UnitAction::ReloadOrRestart => {
                    let manager = &self.manager;
                    manager.reload_or_try_restart_unit(&id, REPLACE).await
                }
                UnitAction::Reload => self.manager.reload_unit(&id, REPLACE).await,
                UnitAction::Restart => self.manager.try_restart_unit(&id, REPLACE).await,
            }
        };
        let Some(result) = self.end_of(job, &id, self.job).await? else {
            return Ok(Told::Failed {
                result: "no-end".to_owned(),
                detail: format!(
                    "{} has not ended within {} s; systemd goes on with it",
                    dependent.action,
                    self.job.as_secs()
                ),
            });
        };
        if result == "done" {
            return Ok(Told::Done);
        }
        let why = match self.reason(unit.inner().path().clone().into(), &id).await {
            Some(reason) => format!(" ({reason})"),
            None => String::new(),
        };
        Ok(Told::Failed {
            detail: format!("{} ended as {result}{why}", dependent.action),
            result,
        })
    }

    async fn look(&self, unit: &UnitName) -> Result<(UnitProxy<'_>, Standing), UnitsError> {
        let path = answer(self.manager.load_unit(unit.as_str())).await?;
        let unit = answer(UnitProxy::builder(&self.bus).path(path).build()).await?;
        let standing = match answer(unit.load_state()).await?.as_str() {
            "not-found" => Standing::Missing("there is no such unit"),
            "masked" => Standing::Missing("it is masked"),
            state @ ("error" | "bad-setting") => Standing::Broken(state.to_owned()),
            _ => match answer(unit.active_state()).await?.as_str() {
                "inactive" | "deactivating" => Standing::Rests { failed: false },
                "failed" => Standing::Rests { failed: true },
                _ => Standing::Runs,
            },
        };
        Ok((unit, standing))
    }

    /// Begins a job of a unit and waits for its result; `None` at the deadline.
    /// `job` is first polled when all else is done that the job needs.
    pub(super) async fn end_of(
        &self,
        job: impl Future<Output = zbus::Result<OwnedObjectPath>>,
        unit: &str,
        deadline: Duration,
    ) -> Result<Option<String>, UnitsError> {
        // Before the job is there: its end may come before its path does.
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
    async fn reason(&self, path: OwnedObjectPath, id: &str) -> Option<String> {
        if !id.ends_with(".service") {
            return None;
        }
        let service = answer(self.service(path)).await.ok()?;
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

    /// The calls of a service's own kind.
    pub(super) fn manager(&self) -> &ManagerProxy<'static> {
        &self.manager
    }

    /// Waits for jobs no longer than this.
    #[cfg(test)]
    pub(super) fn patience(self, job: Duration) -> Self {
        Self { job, ..self }
    }
}

/// An answer, for which nobody waits for ever.
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
