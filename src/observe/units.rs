//! What systemd is doing with the units that own an interface.

use std::time::Duration;

use tokio::time::timeout;
use zbus::{Connection, wire::OwnedObjectPath};

use crate::model::InterfaceName;

/// Longest wait for the bus: not knowing means going on.
const DEADLINE: Duration = Duration::from_millis(200);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    /// Path of a loaded unit; an error for one that is not loaded.
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
trait Unit {
    /// active, activating, deactivating, inactive, failed, reloading, ...
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
}

/// Says who is at work when wg-quick is bringing this interface up or down:
/// setting anything then races with it. `None` also where there is no systemd.
pub(super) async fn wg_quick_at_work(name: &InterfaceName) -> Option<String> {
    let unit = format!("wg-quick@{name}.service");
    let state = timeout(DEADLINE, async {
        let bus = Connection::system().await.ok()?;
        state_of(&bus, &unit).await
    });
    let state = state.await.ok().flatten()?;
    matches!(state.as_str(), "activating" | "deactivating" | "reloading")
        .then(|| format!("{unit} is {state}"))
}

async fn state_of(bus: &Connection, unit: &str) -> Option<String> {
    let path = ManagerProxy::new(bus)
        .await
        .ok()?
        .get_unit(unit)
        .await
        .ok()?;
    UnitProxy::builder(bus)
        .path(path)
        .build()
        .await
        .ok()?
        .active_state()
        .await
        .ok()
}
