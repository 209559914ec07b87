//! A hook as a unit of its own: outside of our sandbox, with its own deadline,
//! and stopped with all that it starts.

use std::time::Duration;

use zbus::wire::Variant;

use super::{
    Hook, JobOutcome, Systemd, UnitsError, notify::EVENT, proxy::Property, systemd::answer,
};
use crate::{backoff::random, model::AddressChange};

/// How long a hook may take to end after SIGTERM; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What systemd itself may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
/// CLD_EXITED (sigaction(2)): the status is an exit status.
const EXITED: i32 = 1;
/// The name of all hooks in the journal.
const IDENTIFIER: &str = "wslmesh-hook";

impl Systemd {
    /// Runs a hook and waits for its end, at most `limit` and a little more.
    /// `begun` is called just before systemd is asked to start it.
    ///
    /// # Errors
    /// [`UnitsError::Unreachable`]; everything else is an outcome.
    pub async fn run(
        &self,
        hook: &Hook,
        change: &AddressChange,
        limit: Duration,
        begun: impl FnOnce(),
    ) -> Result<JobOutcome, UnitsError> {
        let unit = format!("wslmesh-hook-{}-{:08x}.service", hook.name, random() >> 32);
        let ran = self.run_as(&unit, hook, change, limit, begun).await;
        ran.or_else(|error| error.refusal(|why| JobOutcome::new("refused", why)))
    }

    async fn run_as(
        &self,
        unit: &str,
        hook: &Hook,
        change: &AddressChange,
        limit: Duration,
        begun: impl FnOnce(),
    ) -> Result<JobOutcome, UnitsError> {
        let properties = properties(hook, change, limit);
        let job = async {
            begun();
            self.manager
                .start_transient_unit(unit, "fail", &properties, &[])
                .await
        };
        let deadline = limit + STOP_TIMEOUT + SLACK;
        match self.wait_for_job(job, unit, deadline).await?.as_deref() {
            Some("done") => Ok(JobOutcome {
                status: Some(0),
                ..JobOutcome::new("done", "exit status 0")
            }),
            Some(job) => self.failure(unit, job, limit).await,
            None => Ok(JobOutcome::new(
                "no-end",
                "systemd has not stopped it in time",
            )),
        }
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

fn properties<'a>(hook: &'a Hook, change: &AddressChange, limit: Duration) -> Vec<Property<'a>> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let program = hook.program.to_string_lossy().into_owned();
    // A oneshot's start lasts until it has ended, so its job's end is the hook's,
    // and TimeoutStartSec= is its deadline; RuntimeMaxSec= is not for a oneshot
    // (systemd.service(5)).
    vec![
        (
            "Description",
            Variant::from(format!("wslmesh hook {}", hook.path.display())),
        ),
        ("Type", Variant::from("oneshot")),
        (
            "ExecStart",
            Variant::from(vec![(program.clone(), vec![program], false)]),
        ),
        ("Environment", Variant::from(environment(change))),
        ("TimeoutStartUSec", Variant::from(micros(limit))),
        ("TimeoutStopUSec", Variant::from(micros(STOP_TIMEOUT))),
        ("KillMode", Variant::from("control-group")),
        ("CollectMode", Variant::from("inactive-or-failed")),
        ("StandardOutput", Variant::from("journal")),
        ("StandardError", Variant::from("journal")),
        ("SyslogIdentifier", Variant::from(IDENTIFIER)),
        ("AddRef", Variant::from(true)),
    ]
}

/// The environment of a hook (docs/dependents.md).
fn environment(change: &AddressChange) -> Vec<String> {
    let node = &change.new;
    let mode = change.mode.known().map_or("unknown", |mode| mode.as_str());
    let gateway = node.gateway.map(|gateway| gateway.to_string());
    vec![
        format!("WSLMESH_EVENT={EVENT}"),
        format!("WSLMESH_INTERFACE={}", node.link.name),
        format!("WSLMESH_ADDRESS_OLD={}", change.old),
        format!("WSLMESH_ADDRESS_NEW={}", node.address()),
        format!("WSLMESH_MODE={mode}"),
        format!("WSLMESH_GATEWAY={}", gateway.unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::ModeState,
        units::testing::{self, FakeUnit},
    };

    fn change() -> AddressChange {
        AddressChange {
            old: [172, 28, 16, 5].into(),
            new: testing::node("172.28.27.77/20", Some([172, 28, 16, 1])),
            mode: ModeState::Known(crate::model::Mode::Nat),
        }
    }

    async fn ran(hooks: FakeUnit) -> (JobOutcome, Vec<String>) {
        let (systemd, log, _bus) = testing::systemd([], hooks).await;
        let hook = Hook {
            name: "10-dns".to_owned(),
            path: "/etc/wslmesh/hooks.d/address-changed/10-dns".into(),
            program: "/usr/local/sbin/dns".into(),
        };
        let ran = systemd
            .run(&hook, &change(), Duration::from_secs(30), || {
                let before = log.lock().unwrap().len();
                log.lock().unwrap().push(format!("begun after {before}"));
            })
            .await;
        let log = log.lock().unwrap().clone();
        (ran.unwrap(), log)
    }

    #[tokio::test]
    async fn hook_runs_as_a_unit_with_the_change_in_its_environment() {
        let (ran, log) = ran(FakeUnit::default()).await;
        assert!(ran.is_done() && ran.status == Some(0), "{ran:?}");
        assert_eq!(log[0], "begun after 0", "nothing was sent before");
        let has = |line: &str| assert!(log.iter().any(|l| l == line), "{line}\n{log:#?}");
        has("Type=\"oneshot\"");
        has("ExecStart=[(\"/usr/local/sbin/dns\", [\"/usr/local/sbin/dns\"], false)]");
        has(
            "Environment=[\"WSLMESH_EVENT=address-changed\", \"WSLMESH_INTERFACE=eth0\", \"WSLMESH_ADDRESS_OLD=172.28.16.5\", \"WSLMESH_ADDRESS_NEW=172.28.27.77\", \"WSLMESH_MODE=nat\", \"WSLMESH_GATEWAY=172.28.16.1\"]",
        );
        has("TimeoutStartUSec=uint64 30000000");
        has("KillMode=\"control-group\"");
        has("AddRef=true");
        let started = log.last().unwrap();
        assert!(
            started.starts_with("start wslmesh-hook-10-dns-") && started.ends_with(".service"),
            "{started}"
        );
    }

    #[tokio::test]
    async fn failed_hook_has_its_reason() {
        let unit = |result, exit| FakeUnit {
            job: Some("failed"),
            result,
            exit,
            ..FakeUnit::default()
        };
        let table = [
            (
                unit("exit-code", (1, 3)),
                "exit-code",
                Some(3),
                "exit status 3",
            ),
            (unit("signal", (2, 9)), "signal", None, "ended by signal 9"),
            (
                unit("timeout", (2, 15)),
                "timeout",
                None,
                "it was still running after 30s and was stopped",
            ),
            (
                unit("resources", (0, 0)),
                "resources",
                None,
                "failed (resources)",
            ),
        ];
        for (unit, result, status, detail) in table {
            assert_eq!(
                ran(unit).await.0,
                JobOutcome {
                    status,
                    ..JobOutcome::new(result, detail)
                }
            );
        }
    }

    #[test]
    fn unknown_facts_are_marked_as_such() {
        let mut change = change();
        (change.new.gateway, change.mode) = (None, ModeState::Pending);
        let environment = environment(&change);
        assert!(environment.contains(&"WSLMESH_GATEWAY=".to_owned()));
        assert!(environment.contains(&"WSLMESH_MODE=unknown".to_owned()));
    }
}
