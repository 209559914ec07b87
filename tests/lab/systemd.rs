//! A stand-in for systemd on the world's bus, with the tunnel's unit alone. The real one is
//! met in tests/system.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use anyhow::{Result, bail};
use tokio::sync::oneshot;
use zbus::object_server::SignalEmitter;
use zbus::wire::{ObjectPath, OwnedObjectPath};
use zbus::{fdo, interface};

use crate::dbus::talk;
use crate::world::World;

const ROOT: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "/org/freedesktop/systemd1/unit/wslmesh_2dtunnel_2eservice";

/// What the unit is, and what was asked for.
#[derive(Debug, Default)]
struct State {
    load: &'static str,
    active: &'static str,
    /// Whether a start fails.
    fails: bool,
    jobs: Vec<String>,
}

type Shared = Arc<Mutex<State>>;

fn locked(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn path(text: &str) -> OwnedObjectPath {
    ObjectPath::from_string_unchecked(text.to_owned()).into()
}

/// A unit in a list: name, description, load state, active state, ...
type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

struct Manager(Shared, u32);

impl Manager {
    async fn job(&mut self, what: &str, unit: &str, to: &SignalEmitter<'_>) -> OwnedObjectPath {
        self.1 += 1;
        let job = path(&format!("{ROOT}/job/{}", self.1));
        let failed = {
            let mut state = locked(&self.0);
            state.jobs.push(format!("{what} {unit}"));
            let failed = what == "start" && state.fails;
            state.active = match what {
                "start" if failed => "failed",
                "start" => "active",
                _ => "inactive",
            };
            failed
        };
        let result = if failed { "failed" } else { "done" };
        let said = Self::job_removed(to, self.1, job.clone(), unit, result).await;
        said.unwrap_or_default();
        job
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    fn load_unit(&self, name: &str) -> fdo::Result<OwnedObjectPath> {
        match name {
            "wslmesh-tunnel.service" => Ok(path(UNIT)),
            _ => Err(fdo::Error::Failed(format!("no unit {name}"))),
        }
    }

    fn get_unit(&self, name: &str) -> fdo::Result<OwnedObjectPath> {
        Err(fdo::Error::Failed(format!("Unit {name} not loaded.")))
    }

    fn reset_failed_unit(&self, _name: &str) {}

    fn list_units_filtered(&self, _states: Vec<String>) -> Vec<Row> {
        Vec::new()
    }

    fn list_units_by_names(&self, names: Vec<String>) -> Vec<Row> {
        let (name, text) = ("wslmesh-tunnel.service".to_owned(), String::new);
        let state = locked(&self.0);
        let (load, active) = (state.load.to_owned(), state.active.to_owned());
        let row = (
            name.clone(),
            text(),
            load,
            active,
            text(),
            text(),
            path(UNIT),
            0,
            text(),
            path("/"),
        );
        Vec::from_iter(names.contains(&name).then_some(row))
    }

    fn get_unit_file_state(&self, _name: &str) -> &str {
        "static"
    }

    async fn start_unit(
        &mut self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] to: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.job("start", name, &to).await
    }

    async fn stop_unit(
        &mut self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] to: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.job("stop", name, &to).await
    }

    #[zbus(signal)]
    async fn job_removed(
        to: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

struct Unit(Shared);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn load_state(&self) -> String {
        locked(&self.0).load.to_owned()
    }
    #[zbus(property)]
    fn active_state(&self) -> String {
        locked(&self.0).active.to_owned()
    }
}

struct Service(Shared);

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> String {
        match locked(&self.0).active {
            "failed" => "exit-code".to_owned(),
            _ => "success".to_owned(),
        }
    }
    #[zbus(property)]
    fn reload_result(&self) -> String {
        "success".to_owned()
    }
}

/// One that runs until this is dropped.
pub(crate) struct Systemd {
    state: Shared,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl World {
    /// Starts it on the bus.
    pub(crate) fn start_systemd(&self) -> Result<Systemd> {
        let state = Arc::new(Mutex::new(State {
            load: "loaded",
            active: "inactive",
            ..State::default()
        }));
        let address = self.bus_address();
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let shared = [0; 3].map(|_| Arc::clone(&state));
        let thread = std::thread::spawn(move || {
            let [manager, unit, service] = shared;
            talk(async {
                let built = async {
                    zbus::connection::Builder::address(address.as_str())
                        .user_id(0)
                        .serve_at(ROOT, Manager(manager, 0))
                        .serve_at(UNIT, Unit(unit))
                        .serve_at(UNIT, Service(service))
                        .name("org.freedesktop.systemd1")
                        .build()
                        .await
                };
                let (bus, error) = match built.await {
                    Ok(bus) => (Some(bus), None),
                    Err(error) => (None, Some(error.to_string())),
                };
                drop(ready.send(error));
                drop(ended.await);
                drop(bus);
                Ok(())
            })
        });
        if let Some(error) = is_ready.recv()? {
            bail!("the stand-in for systemd: {error}");
        }
        Ok(Systemd {
            state,
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Systemd {
    /// The jobs of the tunnel's unit so far: `start`, `stop`.
    pub(crate) fn jobs(&self) -> Vec<String> {
        let jobs = locked(&self.state).jobs.clone();
        let word = |job: &String| job.split(' ').next().unwrap_or_default().to_owned();
        jobs.iter().map(word).collect()
    }

    /// Another program starts or stops it, or it ends: its active state.
    pub(crate) fn becomes(&self, active: &'static str) {
        locked(&self.state).active = active;
    }

    /// Whether its start fails from now on.
    pub(crate) fn fails(&self, fails: bool) {
        locked(&self.state).fails = fails;
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end.send(()).unwrap_or_default();
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
