//! A systemd of ours at the other end of a socket.

use std::{
    collections::BTreeMap,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use zbus::{
    Connection,
    connection::Builder,
    fdo,
    object_server::SignalEmitter,
    wire::{ObjectPath, OwnedObjectPath, OwnedVariant},
};

use super::Systemd;

const ROOT: &str = "/org/freedesktop/systemd1";

/// A unit: its state, and what comes of its job.
#[derive(Debug, Clone)]
pub(super) struct FakeUnit {
    pub(super) id: &'static str,
    pub(super) load: &'static str,
    pub(super) active: &'static str,
    /// `None`: the job never ends. `lost`: the bus ends in the middle.
    pub(super) job: Option<&'static str>,
    pub(super) result: &'static str,
    pub(super) reload_result: &'static str,
    pub(super) exit: (i32, i32),
}

impl Default for FakeUnit {
    fn default() -> Self {
        Self {
            id: "",
            load: "loaded",
            active: "active",
            job: Some("done"),
            result: "success",
            reload_result: "success",
            exit: (1, 0),
        }
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl FakeUnit {
    #[zbus(property)]
    fn id(&self) -> String {
        self.id.to_owned()
    }
    #[zbus(property)]
    fn load_state(&self) -> String {
        self.load.to_owned()
    }
    #[zbus(property)]
    fn active_state(&self) -> String {
        self.active.to_owned()
    }
}

struct FakeService(FakeUnit);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl FakeService {
    #[zbus(property)]
    fn result(&self) -> String {
        self.0.result.to_owned()
    }
    #[zbus(property)]
    fn reload_result(&self) -> String {
        self.0.reload_result.to_owned()
    }
    #[zbus(property)]
    fn exec_main_code(&self) -> i32 {
        self.0.exit.0
    }
    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        self.0.exit.1
    }
}

/// What was asked of the manager, one line each.
pub(super) type Log = Arc<Mutex<Vec<String>>>;

struct FakeManager {
    units: BTreeMap<&'static str, FakeUnit>,
    /// The unit of every hook.
    hooks: FakeUnit,
    log: Log,
    jobs: u32,
}

type Properties = Vec<(String, OwnedVariant)>;

fn path_of(unit: &str) -> OwnedObjectPath {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = unit.chars().map(plain).collect();
    ObjectPath::try_from(format!("{ROOT}/unit/{name}"))
        .unwrap()
        .into()
}

impl FakeManager {
    async fn job(
        &mut self,
        method: &str,
        unit: &str,
        outcome: Option<&'static str>,
        signals: &SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.log.lock().unwrap().push(format!("{method} {unit}"));
        if outcome == Some("lost") {
            signals.connection().clone().close().await.unwrap();
        }
        self.jobs += 1;
        let path =
            |job| OwnedObjectPath::from(ObjectPath::try_from(format!("{ROOT}/job/{job}")).unwrap());
        let job = path(self.jobs);
        // Others are at work, on this unit and on many more; and the end comes
        // before the reply, as it may.
        for other in 0..500 {
            Self::job_removed(
                signals,
                other,
                path(10_000 + other),
                "other.service",
                "failed",
            )
            .await
            .unwrap();
        }
        Self::job_removed(signals, 9999, path(9999), unit, "canceled")
            .await
            .unwrap();
        if let Some(result) = outcome {
            Self::job_removed(signals, self.jobs, job.clone(), unit, result)
                .await
                .unwrap();
        }
        job
    }

    fn named(&self, id: &str) -> FakeUnit {
        let found = self.units.values().find(|unit| unit.id == id);
        found.cloned().unwrap_or_default()
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl FakeManager {
    fn load_unit(&self, name: &str) -> OwnedObjectPath {
        path_of(name)
    }

    fn get_unit(&self, name: &str) -> OwnedObjectPath {
        let hook = name.starts_with("wslmesh-hook-");
        path_of(if hook { "hook" } else { name })
    }

    fn subscribe(&self) {}

    fn get_unit_file_state(&self, name: &str) -> &str {
        match self.units.contains_key(name) {
            true => "enabled",
            false => "disabled",
        }
    }

    fn reset_failed_unit(&mut self, name: &str) {
        let line = format!("reset-failed {name}");
        self.log.lock().unwrap().push(line);
    }

    async fn start_unit(
        &mut self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] signals: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        let outcome = self.named(name).job;
        self.job("start", name, outcome, &signals).await
    }

    async fn reload_or_try_restart_unit(
        &mut self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] signals: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        let outcome = self.named(name).job;
        self.job("reload-or-try-restart", name, outcome, &signals)
            .await
    }

    async fn try_restart_unit(
        &mut self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] signals: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        let outcome = self.named(name).job;
        self.job("try-restart", name, outcome, &signals).await
    }

    async fn reload_unit(
        &mut self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] signals: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let outcome = self.named(name).job;
        if outcome == Some("no-reload") {
            return Err(fdo::Error::Failed(format!(
                "Job type reload is not applicable for unit {name}."
            )));
        }
        Ok(self.job("reload", name, outcome, &signals).await)
    }

    async fn stop_unit(
        &mut self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] signals: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        let outcome = self.named(name).job;
        self.job("stop", name, outcome, &signals).await
    }

    async fn start_transient_unit(
        &mut self,
        name: &str,
        _mode: &str,
        properties: Properties,
        _others: Vec<(String, Properties)>,
        #[zbus(signal_emitter)] signals: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        for (property, value) in properties {
            let line = format!("{property}={}", *value);
            self.log.lock().unwrap().push(line);
        }
        let outcome = self.hooks.job;
        self.job("start", name, outcome, &signals).await
    }

    #[zbus(signal)]
    async fn job_removed(
        signals: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// A client of a systemd with these units (a name, perhaps an alias, and the
/// unit); what is not among them is not found. Keep the connection.
pub(super) async fn systemd(
    units: impl IntoIterator<Item = (&'static str, FakeUnit)>,
    hooks: FakeUnit,
) -> (Systemd, Log, Connection) {
    let units: BTreeMap<_, _> = units
        .into_iter()
        .map(|(name, unit)| {
            let id = if unit.id.is_empty() { name } else { unit.id };
            (name, FakeUnit { id, ..unit })
        })
        .collect();
    let log = Log::default();
    let manager = FakeManager {
        units: units.clone(),
        hooks: hooks.clone(),
        log: Arc::clone(&log),
        jobs: 0,
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut server = Builder::unix_stream(theirs)
        .server(zbus::Guid::generate())
        .p2p()
        .serve_at(ROOT, manager)
        .serve_at(path_of("hook"), FakeService(hooks));
    let missing = FakeUnit {
        load: "not-found",
        active: "inactive",
        ..FakeUnit::default()
    };
    server = server.serve_at(path_of("missing.service"), missing);
    for (name, unit) in units {
        server = server
            .serve_at(path_of(name), unit.clone())
            .serve_at(path_of(name), FakeService(unit));
    }
    let client = Builder::unix_stream(ours).p2p().build();
    let (server, client) = tokio::join!(server.build(), client);
    let systemd = Systemd::over(client.unwrap()).await.unwrap();
    (systemd, log, server.unwrap())
}
