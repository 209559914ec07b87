//! Errors of the interface.

/// Why a method fails: `org.wslmesh.Agent1.Error.*` and two of D-Bus' own, each
/// with a text for a person.
#[derive(Debug, PartialEq, Eq, zbus::DBusError)]
#[zbus(prefix = "org")]
pub(super) enum Error {
    /// The configuration is refused; names file, key and fix.
    #[zbus(name = "wslmesh.Agent1.Error.Config")]
    Config(String),
    /// The forward cannot be added or removed.
    #[zbus(name = "wslmesh.Agent1.Error.Forward")]
    Forward(String),
    /// The caller may not do this; says who may.
    #[zbus(name = "wslmesh.Agent1.Error.Denied")]
    Denied(String),
    /// Not now: too many calls at once, or another agent leads.
    #[zbus(name = "wslmesh.Agent1.Error.Busy")]
    Busy(String),
    /// polkit would ask for a password, and the call does not allow that.
    #[zbus(name = "freedesktop.DBus.Error.InteractiveAuthorizationRequired")]
    Interactive(String),
    /// The call is larger than any valid one.
    #[zbus(name = "freedesktop.DBus.Error.LimitsExceeded")]
    Large(String),
}
