//! Telling those who listen what is other than it was.

use std::collections::HashMap;

use zbus::{Connection, Variant, object_server::SignalEmitter};

use super::{
    NAME, PATH, Signal,
    interface::Agent1,
    properties::{self, plain},
};
use crate::{model::HealthEntry, report::Document};

/// Emits one PropertiesChanged for all that is other than `before`, and nothing
/// where nothing is.
pub(super) async fn properties(
    bus: &Connection,
    before: Option<&Document>,
    now: &Document,
) -> zbus::Result<()> {
    let changed: HashMap<&str, Variant<'_>> = properties::changed(before, now);
    if changed.is_empty() {
        return Ok(());
    }
    let invalidated: &[&str] = &[];
    bus.emit_signal(
        None::<&str>,
        PATH,
        "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
        &(NAME, changed, invalidated),
    )
    .await
}

/// Emits one signal.
pub(super) async fn signal(bus: &Connection, signal: &Signal) -> zbus::Result<()> {
    let at = SignalEmitter::new(bus, PATH)?;
    match signal {
        Signal::AddressChanged {
            interface,
            old,
            new,
        } => Agent1::address_is_new(&at, interface, old, new).await,
        Signal::HealthRaised(finding) => {
            let HealthEntry {
                code,
                severity,
                subject,
                detail,
                remediation,
            } = finding.into();
            let (subject, detail) = (plain(subject), plain(detail));
            Agent1::health_raised(
                &at,
                &code,
                &severity.to_string(),
                &subject,
                &detail,
                &remediation,
            )
            .await
        }
        Signal::HealthCleared(finding) => {
            let subject = plain(finding.subject.clone());
            Agent1::health_cleared(&at, finding.code.as_str(), &subject).await
        }
        Signal::Changed {
            changes,
            duration_us,
        } => {
            let changes: Vec<String> = changes.iter().cloned().map(plain).collect();
            Agent1::changed(&at, &changes, *duration_us).await
        }
    }
}
