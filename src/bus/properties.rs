//! The properties: what of the status document the bus shows.

use std::collections::HashMap;

use zbus::{Variant, object_server::SignalEmitter};

use crate::{
    control::NAME,
    model::{ForwardStatus, HealthEntry, or_empty},
    report::Document,
};

/// One finding: code, severity, subject, detail, remediation.
pub(super) type Health = (String, String, String, String, String);

/// One forward by the names of its facts.
pub(super) type Forward = HashMap<&'static str, Variant<'static>>;

/// A text as D-Bus takes it. One with a NUL in it, as a key of a configuration
/// may have, would end the connection.
pub(super) fn plain(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

pub(super) fn health(document: &Document) -> Vec<Health> {
    document.health.iter().cloned().map(entry).collect()
}

pub(super) fn entry(entry: HealthEntry) -> Health {
    (
        entry.code,
        entry.severity.to_string(),
        plain(entry.subject),
        plain(entry.detail),
        entry.remediation,
    )
}

pub(super) fn forwards(document: &Document) -> Vec<Forward> {
    document.served.iter().map(forward).collect()
}

fn forward(served: &ForwardStatus) -> Forward {
    HashMap::from([
        ("name", served.name.clone().into()),
        ("protocol", served.listen.protocol.to_string().into()),
        (
            "listen-address",
            served.listen.listen_address.to_string().into(),
        ),
        ("listen-port", served.listen.listen_port.get().into()),
        ("connect-port", served.connect_port.get().into()),
        ("ports", served.ports.into()),
        ("backend", or_empty(served.backend).into()),
        ("state", served.state.to_string().into()),
        ("state-ports", or_empty(served.state_ports.as_ref()).into()),
    ])
}

/// Values by the names of their properties.
pub(super) type Properties = HashMap<&'static str, Variant<'static>>;

/// The properties that changed.
pub(super) fn changed<'a>(
    before: &Properties,
    now: &'a Properties,
) -> HashMap<&'static str, &'a Variant<'static>> {
    let now = now.iter().map(|(name, value)| (*name, value));
    now.filter(|(name, value)| before.get(name) != Some(value))
        .collect()
}

/// Emits one PropertiesChanged for all that changed, if anything did.
pub(super) async fn emit_changes(
    emitter: &SignalEmitter<'_>,
    before: &Properties,
    now: &Properties,
) -> zbus::Result<()> {
    let changed = changed(before, now);
    if changed.is_empty() {
        return Ok(());
    }
    let invalidated: &[&str] = &[];
    let body = (NAME, changed, invalidated);
    emitter
        .emit(
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            &body,
        )
        .await
}
