//! Who keeps the clock, as systemd says.

use std::collections::BTreeSet;

use super::{Systemd, UnitsError, proxy::TimedateProxy, systemd::answer};
use crate::model::ClockKeepers;

/// Services that set the clock, as Debian, Ubuntu, Fedora and Arch name them.
const SERVICES: [&str; 8] = [
    "chrony.service",
    "chronyd.service",
    "ntp.service",
    "ntpd.service",
    "ntpsec.service",
    "openntpd.service",
    "phc2sys.service",
    "systemd-timesyncd.service",
];

impl Systemd {
    /// Who keeps the clock. What a service's program does is not known: a chronyd with `-x`
    /// counts, although it sets nothing.
    ///
    /// # Errors
    /// systemd, or its service for the clock, cannot be reached or refuses.
    pub async fn clock_keepers(&self) -> Result<ClockKeepers, UnitsError> {
        let rows = answer(self.manager.list_units_by_names(&SERVICES)).await?;
        let runs = rows
            .into_iter()
            .filter(|row| ["active", "activating", "reloading"].contains(&row.3.as_str()));
        // One with an alias is there twice.
        let units: BTreeSet<String> = runs.map(|row| row.0).collect();
        let timedate = answer(TimedateProxy::new(self.bus())).await?;
        Ok(ClockKeepers {
            units: units.into_iter().collect(),
            kept: answer(timedate.ntp_synchronized()).await?,
        })
    }
}

#[cfg(test)]
mod tests;
