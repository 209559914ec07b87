//! The relay as a unit of its own: it outlives the agent's restart, and its sandbox has
//! nothing that the relay does not need.

use std::{ffi::OsStr, os::fd::BorrowedFd, process::Command, time::Duration};

use zbus::{Fd, wire::Variant};

use super::{Systemd, UnitsError, proxy::Property, systemd::answer};
use crate::model::{RelayRole, micros};

/// The unit's name.
#[must_use]
pub const fn relay_unit(role: RelayRole) -> &'static str {
    match role {
        RelayRole::Entry => "wslmesh-relay.service",
        RelayRole::Loopback => "wslmesh-relay-loopback.service",
    }
}

/// How long systemd may take to start or stop it.
const JOB: Duration = Duration::from_secs(5);
/// How long the relay may take to end after SIGTERM; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// A leak must not cost the machine its memory: 4,096 connections that are all stuck in
/// both directions take 50 MB (docs/relay.md).
const MEMORY_MAX: u64 = 256 << 20;
/// One thread for the data, two for the pipes; those of WSL's init come on top.
const TASKS_MAX: u64 = 64;
/// mount(2): with what is mounted below.
const MS_REC: u64 = 16384;
/// capabilities(7): listening on ports below 1024, and reading WSL's files on a drive that
/// is closed to others.
const CAPABILITIES: u64 = 1 << 10 | 1 << 2;

/// The relay's ends of the pipes to it.
#[derive(Debug, Clone, Copy)]
pub struct Streams<'a> {
    /// Its standard input.
    pub stdin: BorrowedFd<'a>,
    /// Its standard output.
    pub stdout: BorrowedFd<'a>,
    /// Its standard error.
    pub stderr: BorrowedFd<'a>,
}

impl Systemd {
    /// Starts the relay with these streams; one that runs is stopped before.
    ///
    /// # Errors
    /// systemd cannot be reached, refuses, or does not start it in time.
    pub async fn start_relay(
        &self,
        role: RelayRole,
        command: &Command,
        streams: Streams<'_>,
    ) -> Result<(), UnitsError> {
        self.stop_relay(role).await?;
        let unit = relay_unit(role);
        let properties = properties(command, streams);
        let job = self
            .manager
            .start_transient_unit(unit, "fail", &properties, &[]);
        let result = self.wait_for_job(job, unit, JOB).await?;
        done(result.as_deref(), "start", unit)
    }

    /// Stops the relay, which is killed where it does not end by itself.
    ///
    /// # Errors
    /// As [`Systemd::start_relay`].
    pub async fn stop_relay(&self, role: RelayRole) -> Result<(), UnitsError> {
        let unit = relay_unit(role);
        if answer(self.manager.get_unit(unit)).await.is_err() {
            return Ok(());
        }
        let job = self.manager.stop_unit(unit, "replace");
        let result = self.wait_for_job(job, unit, JOB).await?;
        done(result.as_deref(), "stop", unit)
    }
}

/// Whether a job was done.
fn done(result: Option<&str>, job: &str, unit: &str) -> Result<(), UnitsError> {
    match result {
        Some("done") => Ok(()),
        Some(result) => Err(UnitsError::Refused(format!(
            "the {job} of {unit} ended as {result}"
        ))),
        None => {
            let limit = JOB.as_secs();
            let why = format!("the {job} of {unit} has not ended within {limit} s");
            Err(UnitsError::Unreachable(why))
        }
    }
}

fn properties<'a>(command: &Command, streams: Streams<'a>) -> Vec<Property<'a>> {
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    let program = text(command.get_program());
    let arguments = std::iter::once(program.clone()).chain(command.get_args().map(text));
    let start = vec![(program, arguments.collect::<Vec<_>>(), false)];
    let environment = command.get_envs();
    let environment = environment
        .filter_map(|(name, value)| Some(format!("{}={}", text(name), text(value?))))
        .collect::<Vec<_>>();
    let folder = command.get_current_dir();
    let folder = folder.map_or_else(|| "/".to_owned(), |folder| text(folder.as_os_str()));
    let allowed = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned());
        Variant::from((true, names.collect::<Vec<_>>()))
    };
    let on = || Variant::from(true);
    // Programs of the system alone run: no file of a Windows drive does. Those paths are bound
    // read-only, as in the agent's own unit.
    let bind = |path: &str| {
        let optional = path != "/usr";
        (path.to_owned(), path.to_owned(), optional, MS_REC)
    };
    let read_only = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/init"].map(bind);
    vec![
        ("Description", "wslmesh's relay".into()),
        ("Type", "exec".into()),
        ("ExecStart", start.into()),
        ("Environment", environment.into()),
        ("WorkingDirectory", folder.into()),
        (
            "StandardInputFileDescriptor",
            Fd::from(streams.stdin).into(),
        ),
        (
            "StandardOutputFileDescriptor",
            Fd::from(streams.stdout).into(),
        ),
        (
            "StandardErrorFileDescriptor",
            Fd::from(streams.stderr).into(),
        ),
        ("TimeoutStopUSec", micros(STOP_TIMEOUT).into()),
        ("CollectMode", "inactive-or-failed".into()),
        ("MemoryMax", MEMORY_MAX.into()),
        ("TasksMax", TASKS_MAX.into()),
        ("LimitCORE", 0_u64.into()),
        ("CapabilityBoundingSet", CAPABILITIES.into()),
        ("NoNewPrivileges", on()),
        ("ProtectSystem", "strict".into()),
        ("NoExecPaths", vec!["/"].into()),
        ("ExecPaths", vec!["/usr", "-/init"].into()),
        ("BindReadOnlyPaths", read_only.to_vec().into()),
        ("ProtectHome", "yes".into()),
        ("ProtectProc", "invisible".into()),
        ("PrivateTmp", on()),
        ("PrivateDevices", on()),
        ("ProtectClock", on()),
        ("ProtectControlGroups", on()),
        ("ProtectHostname", on()),
        ("ProtectKernelLogs", on()),
        ("ProtectKernelModules", on()),
        ("ProtectKernelTunables", on()),
        ("LockPersonality", on()),
        ("MemoryDenyWriteExecute", on()),
        ("RestrictRealtime", on()),
        ("RestrictSUIDSGID", on()),
        // No kind of namespace may be made.
        ("RestrictNamespaces", 0_u64.into()),
        ("KeyringMode", "private".into()),
        // As the agent's own, for the same reasons (docs/hardening.md). By AF_NETLINK the relay
        // learns this machine's addresses: it would take no neighbour for one without.
        (
            "RestrictAddressFamilies",
            allowed(&["AF_UNIX", "AF_VSOCK", "AF_INET", "AF_INET6", "AF_NETLINK"]),
        ),
        ("SystemCallFilter", allowed(&["@system-service"])),
    ]
}

#[cfg(test)]
mod tests;
