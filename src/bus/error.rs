//! What a caller is told when a method fails.

/// `org.wslmesh.Agent1.Error.*`, each with a text for a person.
#[derive(Debug, PartialEq, Eq, zbus::DBusError)]
#[zbus(prefix = "org.wslmesh.Agent1.Error")]
pub(super) enum Error {
    /// The configuration is refused; names file, key and cure.
    Config(String),
    /// The forward cannot be added or removed.
    Forward(String),
    /// The caller may not do this; says who may.
    Denied(String),
    /// Not now: too many calls at once, or another agent leads.
    Busy(String),
}
