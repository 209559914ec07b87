//! The properties: what of the status document the bus shows.

use std::{collections::HashMap, fmt};

use zbus::{Connection, Variant};

use crate::{
    control::{NAME, PATH},
    model::{ForwardStatus, HealthEntry},
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

/// The text of what there is, else nothing.
fn text(value: Option<impl fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(super) fn interface(document: &Document) -> String {
    text(document.interface.as_ref())
}

pub(super) fn address(document: &Document) -> String {
    text(document.address)
}

pub(super) fn gateway(document: &Document) -> String {
    text(document.gateway)
}

pub(super) fn windows_address(document: &Document) -> String {
    text(document.windows_address)
}

pub(super) fn network_file(document: &Document) -> String {
    plain(document.network_file.display().to_string())
}

pub(super) fn health_state(document: &Document) -> &'static str {
    if document.degraded() {
        "degraded"
    } else {
        "healthy"
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
        ("served-by", text(served.backend).into()),
        ("state", served.state.to_string().into()),
    ])
}

/// Each property whose changes are signalled.
fn all(document: &Document) -> [(&'static str, Variant<'static>); 10] {
    [
        ("Role", document.role.clone().into()),
        ("Mode", document.mode.clone().into()),
        ("Interface", interface(document).into()),
        ("Address", address(document).into()),
        ("Gateway", gateway(document).into()),
        ("WindowsAddress", windows_address(document).into()),
        ("NetworkFile", network_file(document).into()),
        ("HealthState", health_state(document).into()),
        ("Health", health(document).into()),
        ("Forwards", forwards(document).into()),
    ]
}

/// The properties that changed; all of them where there was no document.
pub(super) fn changed(
    before: Option<&Document>,
    now: &Document,
) -> HashMap<&'static str, Variant<'static>> {
    let before = before.map(all);
    let same = |name: &str, value: &Variant<'_>| {
        before
            .iter()
            .flatten()
            .any(|(of, old)| *of == name && old == value)
    };
    all(now)
        .into_iter()
        .filter(|(name, value)| !same(name, value))
        .collect()
}

/// Emits one PropertiesChanged for all that changed, if anything did.
pub(super) async fn emit_changes(
    bus: &Connection,
    before: Option<&Document>,
    now: &Document,
) -> zbus::Result<()> {
    let changed = changed(before, now);
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
