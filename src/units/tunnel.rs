//! The tunnel's unit, started and stopped for the agent and for `wslmesh tunnel`.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use zbus::wire::OwnedObjectPath;

use super::{Systemd, UnitsError, proxy::UnitProxy, systemd::answer};

/// The unit's name.
pub const TUNNEL_UNIT: &str = "wslmesh-tunnel.service";

/// How long systemd may take to start or stop it.
const JOB: Duration = Duration::from_secs(20);

/// The state of the tunnel's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelUnitState {
    /// There is no such unit.
    Missing,
    /// systemd does not load it: it is masked, or has errors.
    Unusable,
    /// It does not run.
    Inactive,
    /// It failed, and systemd does not start it again.
    Failed,
    /// It is starting, stopping, or waiting for its next start.
    Between,
    /// It runs.
    Running,
}

impl fmt::Display for TunnelUnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no such unit",
            Self::Unusable => "systemd cannot load it, or it is masked",
            Self::Inactive => "not running",
            Self::Failed => "failed",
            Self::Between => "starting or stopping",
            Self::Running => "running",
        })
    }
}

/// That the agent has started the tunnel, so that it may stop it; `wslmesh tunnel up` takes it
/// from the agent. It is lost with the running system, as the unit is.
#[derive(Debug, Clone)]
pub struct TunnelMark(PathBuf);

impl TunnelMark {
    /// The mark in the agent's runtime directory.
    #[must_use]
    pub fn new(runtime: &Path) -> Self {
        Self(runtime.join("tunnel-started"))
    }

    /// Whether the agent has started it.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.exists()
    }

    /// The agent has started it.
    ///
    /// # Errors
    /// The runtime directory is not there or not writable.
    pub fn set(&self) -> io::Result<()> {
        fs::write(&self.0, "")
    }

    /// It is not the agent's.
    ///
    /// # Errors
    /// Only root may.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Systemd {
    /// The state of the tunnel's unit.
    ///
    /// # Errors
    /// systemd cannot be reached, or refuses.
    pub async fn tunnel(&self) -> Result<TunnelUnitState, UnitsError> {
        let unit = self.tunnel_unit().await?;
        Ok(match answer(unit.load_state()).await?.as_str() {
            "not-found" => TunnelUnitState::Missing,
            "loaded" => match answer(unit.active_state()).await?.as_str() {
                "active" | "reloading" => TunnelUnitState::Running,
                "inactive" => TunnelUnitState::Inactive,
                "failed" => TunnelUnitState::Failed,
                _ => TunnelUnitState::Between,
            },
            _ => TunnelUnitState::Unusable,
        })
    }

    async fn tunnel_unit(&self) -> Result<UnitProxy<'_>, UnitsError> {
        let path = answer(self.manager.load_unit(TUNNEL_UNIT)).await?;
        answer(UnitProxy::builder(self.bus()).path(path).build()).await
    }

    /// Starts it, waits for that, and reads back.
    ///
    /// # Errors
    /// systemd cannot be reached, refuses, or does not start it in time.
    pub async fn start_tunnel(&self) -> Result<TunnelUnitState, UnitsError> {
        // One that failed too often would not be started again; of another this is refused.
        let reset = answer(self.manager.reset_failed_unit(TUNNEL_UNIT)).await;
        reset.unwrap_or_default();
        let job = self.manager.start_unit(TUNNEL_UNIT, "replace");
        self.tunnel_job(job, "start").await
    }

    /// Stops it, waits for that, and reads back.
    ///
    /// # Errors
    /// As [`Systemd::start_tunnel`].
    pub async fn stop_tunnel(&self) -> Result<TunnelUnitState, UnitsError> {
        let job = self.manager.stop_unit(TUNNEL_UNIT, "replace");
        self.tunnel_job(job, "stop").await
    }

    async fn tunnel_job(
        &self,
        job: impl Future<Output = zbus::Result<OwnedObjectPath>>,
        what: &str,
    ) -> Result<TunnelUnitState, UnitsError> {
        match self.wait_for_job(job, TUNNEL_UNIT, JOB).await?.as_deref() {
            Some("done") => self.tunnel().await,
            Some(result) => {
                let unit = self.tunnel_unit().await?;
                let why = self.reason(&unit, TUNNEL_UNIT).await;
                let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                Err(UnitsError::Refused(format!(
                    "the {what} of {TUNNEL_UNIT} ended as {result}{why}"
                )))
            }
            None => {
                let limit = JOB.as_secs();
                let why = format!("the {what} of {TUNNEL_UNIT} has not ended within {limit} s");
                Err(UnitsError::Unreachable(why))
            }
        }
    }
}

#[cfg(test)]
mod tests;
