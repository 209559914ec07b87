//! A hook as a unit of its own: outside of our sandbox, with its own deadline,
//! and stopped with all that it starts.

use std::time::Duration;

use super::{Hook, JobOutcome, Systemd, UnitsError, proxy::Property, systemd::answer};
use crate::{backoff::random, model::micros};

/// How long a hook may take to end after SIGTERM; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What systemd itself may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
/// CLD_EXITED (sigaction(2)): the status is an exit status.
const EXITED: i32 = 1;
/// The name of all hooks in the journal.
const IDENTIFIER: &str = "wslmesh-hook";

impl Systemd {
    /// Runs a hook in an environment and waits for its end, at most `limit` and a little more.
    /// `begun` is called just before systemd is asked to start it.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`]; everything else is an outcome.
    pub async fn run(
        &self,
        hook: &Hook,
        environment: Vec<String>,
        limit: Duration,
        begun: impl FnOnce(),
    ) -> Result<JobOutcome, UnitsError> {
        let unit = format!("wslmesh-hook-{}-{:08x}.service", hook.name, random() >> 32);
        let properties = properties(hook, environment, limit);
        let ran = async {
            let job = async {
                begun();
                self.manager
                    .start_transient_unit(&unit, "fail", &properties, &[])
                    .await
            };
            let deadline = limit + STOP_TIMEOUT + SLACK;
            match self.wait_for_job(job, &unit, deadline).await?.as_deref() {
                Some("done") => Ok(JobOutcome {
                    status: Some(0),
                    ..JobOutcome::new("done", "exit status 0")
                }),
                Some(job) => self.failure(&unit, job, limit).await,
                None => Ok(JobOutcome::new(
                    "no-end",
                    "systemd has not stopped it in time",
                )),
            }
        };
        ran.await.or_else(UnitsError::refused)
    }

    /// Our reference keeps the unit until the connection ends, so that it can be
    /// asked how it ended.
    async fn failure(
        &self,
        unit: &str,
        job: &str,
        limit: Duration,
    ) -> Result<JobOutcome, UnitsError> {
        let path = answer(self.manager.get_unit(unit)).await?;
        let service = answer(self.service(path)).await?;
        let result = answer(service.result()).await?;
        let code = answer(service.exec_main_code()).await?;
        let status = answer(service.exec_main_status()).await?;
        let exited = (code == EXITED).then_some(status);
        let detail = match (result.as_str(), exited) {
            ("timeout", _) => format!("it was still running after {limit:?} and was stopped"),
            (_, Some(status)) => format!("exit status {status}"),
            ("signal" | "core-dump", None) => format!("ended by signal {status}"),
            (result, None) => format!("{job} ({result})"),
        };
        Ok(JobOutcome {
            status: exited,
            ..JobOutcome::new(&result, detail)
        })
    }
}

fn properties(hook: &Hook, environment: Vec<String>, limit: Duration) -> Vec<Property<'_>> {
    let program = hook.program.to_string_lossy().into_owned();
    // A oneshot's start lasts until it has ended, so its job's end is the hook's,
    // and TimeoutStartSec= is its deadline; RuntimeMaxSec= is not for a oneshot
    // (systemd.service(5)).
    let description = format!("wslmesh hook {}", hook.path.display());
    let command = vec![(program.clone(), vec![program], false)];
    vec![
        ("Description", description.into()),
        ("Type", "oneshot".into()),
        ("ExecStart", command.into()),
        ("Environment", environment.into()),
        ("TimeoutStartUSec", micros(limit).into()),
        ("TimeoutStopUSec", micros(STOP_TIMEOUT).into()),
        ("KillMode", "control-group".into()),
        ("CollectMode", "inactive-or-failed".into()),
        ("StandardOutput", "journal".into()),
        ("StandardError", "journal".into()),
        ("SyslogIdentifier", IDENTIFIER.into()),
        ("AddRef", true.into()),
    ]
}

#[cfg(test)]
mod tests;
