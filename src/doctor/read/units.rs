//! systemd's units, over D-Bus.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;
use zbus::Connection;

use crate::{
    doctor::facts::{UnitState, Units},
    units::{
        TUNNEL_UNIT,
        proxy::{ManagerProxy, TimedateProxy},
    },
};

/// Longest wait for the bus and for systemd together.
const DEADLINE: Duration = Duration::from_millis(1500);

/// And for the service that knows the kernel's clock, within that.
const CLOCK_DEADLINE: Duration = Duration::from_millis(800);

/// Units whose state a check needs.
const NAMES: &[&str] = &[
    "wslmesh.service",
    "tailscaled.service",
    "netbird.service",
    TUNNEL_UNIT,
];

/// Asks systemd.
///
/// # Errors
/// The reason, for people.
pub(super) async fn read() -> Result<Units, String> {
    let units = async {
        let bus = Connection::system().await;
        let bus = bus.map_err(|_| "no system bus to reach systemd")?;
        let units = ask(&bus).await;
        units.map_err(|error| format!("systemd: {error}"))
    };
    timeout(DEADLINE, units)
        .await
        .unwrap_or_else(|_| Err("systemd did not answer in time".to_owned()))
}

/// Whether the kernel's clock is kept, where systemd has the service, which it starts for
/// the question.
async fn clock_kept(bus: &Connection) -> Option<bool> {
    let asked = async { TimedateProxy::new(bus).await?.ntp_synchronized().await };
    timeout(CLOCK_DEADLINE, asked).await.ok()?.ok()
}

async fn ask(bus: &Connection) -> zbus::Result<Units> {
    let manager = ManagerProxy::new(bus).await?;
    let failed = manager.list_units_filtered(&["failed"]).await?;
    let rows = manager.list_units_by_names(NAMES).await?;
    let mut states = BTreeMap::new();
    for (name, _, load, active, ..) in rows {
        if load == "not-found" {
            continue;
        }
        // A unit without a file of its own has no such state.
        let file = manager.get_unit_file_state(&name).await;
        let file = file.unwrap_or_else(|_| load.clone());
        states.insert(name, UnitState { active, file });
    }
    let mut failed: Vec<String> = failed.into_iter().map(|row| row.0).collect();
    failed.sort();
    Ok(Units {
        states,
        failed,
        clock_kept: clock_kept(bus).await,
    })
}

#[cfg(test)]
mod tests;
