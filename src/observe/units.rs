//! Whether systemd is changing the unit that owns an interface.

use std::time::Duration;

use tokio::time::timeout;
use zbus::Connection;

use crate::{
    model::InterfaceName,
    units::proxy::{ManagerProxy, UnitProxy},
};

/// Longest wait for the bus, as for a device: not knowing means going on, and
/// racing with wg-quick. A machine that is short of time answers late. Devices
/// are asked for side by side, so a pass waits no longer for many of them.
const DEADLINE: Duration = Duration::from_secs(1);

/// The state of wg-quick's unit while it brings this interface up or down: setting
/// anything then races with it. `None` also where systemd does not answer.
pub(super) async fn wg_quick_busy(name: &InterfaceName) -> Option<String> {
    busy(async { Connection::system().await.ok() }, name).await
}

/// The same over a bus that is still being connected to, within one deadline.
async fn busy(
    bus: impl Future<Output = Option<Connection>>,
    name: &InterfaceName,
) -> Option<String> {
    let unit = format!("wg-quick@{name}.service");
    let state = timeout(DEADLINE, async { state_of(&bus.await?, &unit).await.ok() });
    let state = state.await.ok().flatten()?;
    matches!(state.as_str(), "activating" | "deactivating" | "reloading")
        .then(|| format!("{unit} is {state}"))
}

async fn state_of(bus: &Connection, unit: &str) -> zbus::Result<String> {
    let path = ManagerProxy::new(bus).await?.get_unit(unit).await?;
    let unit = UnitProxy::builder(bus).path(path).build().await?;
    unit.active_state().await
}

#[cfg(test)]
mod tests;
