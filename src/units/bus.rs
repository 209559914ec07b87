//! systemd on D-Bus, as org.freedesktop.systemd1(5) has it.

use zbus::wire::{OwnedObjectPath, Variant};

/// What a transient unit is made of.
pub(crate) type Property<'a> = (&'a str, Variant<'a>);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(crate) trait Manager {
    /// Path of a loaded unit; an error for one that is not loaded.
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Path of a unit, which is read from disk where it must be. One that is not
    /// there has a path too, and the load state not-found.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Asks for signals; without it systemd sends none.
    fn subscribe(&self) -> zbus::Result<()>;

    /// Reload, or restart where it cannot be reloaded; nothing where it does not run.
    fn reload_or_try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Reload; an error where it cannot be.
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Restart; nothing where it does not run.
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Makes a unit of these properties and starts it.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[Property<'_>],
        others: &[(&str, &[Property<'_>])],
    ) -> zbus::Result<OwnedObjectPath>;

    /// A job is over.
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
pub(crate) trait Unit {
    /// The name that systemd knows it by; the configuration may have another one.
    #[zbus(property(emits_changed_signal = "false"))]
    fn id(&self) -> zbus::Result<String>;

    /// loaded, not-found, masked, bad-setting, error, ...
    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> zbus::Result<String>;

    /// active, activating, deactivating, inactive, failed, reloading, ...
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1"
)]
pub(crate) trait Service {
    /// success, exit-code, signal, timeout, ...
    #[zbus(property(emits_changed_signal = "false"))]
    fn result(&self) -> zbus::Result<String>;

    /// The same of the last reload.
    #[zbus(property(emits_changed_signal = "false"))]
    fn reload_result(&self) -> zbus::Result<String>;

    /// How the main process ended: a CLD_* code of siginfo_t.
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_code(&self) -> zbus::Result<i32>;

    /// Its exit status, or the signal.
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_status(&self) -> zbus::Result<i32>;
}
