//! systemd on D-Bus, as org.freedesktop.systemd1(5) has it.

use zbus::wire::{OwnedObjectPath, Variant};

/// A property of a transient unit.
pub(crate) type Property<'a> = (&'a str, Variant<'a>);

/// One row of systemd's list: name, description, load state, active state, ...
pub(crate) type UnitRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(crate) trait Manager {
    /// Path of a loaded unit; an error for one that is not loaded.
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Path of a unit, which is read from disk where it must be. One that does
    /// not exist has a path too, and the load state not-found.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Units in one of these states.
    fn list_units_filtered(&self, states: &[&str]) -> zbus::Result<Vec<UnitRow>>;

    /// These units, also those that are not loaded.
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<UnitRow>>;

    /// enabled, disabled, ...; an error where there is no such file.
    fn get_unit_file_state(&self, name: &str) -> zbus::Result<String>;

    /// Asks for signals; without it systemd sends none.
    fn subscribe(&self) -> zbus::Result<()>;

    /// Reload, or restart where it cannot be reloaded; nothing where it is not running.
    fn reload_or_try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Reload; an error where it cannot be.
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Restart; nothing where it is not running.
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Start.
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Forgets that it failed, and how often.
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;

    /// Stop.
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Makes a unit of these properties and starts it.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[Property<'_>],
        others: &[(&str, &[Property<'_>])],
    ) -> zbus::Result<OwnedObjectPath>;

    /// A job has ended.
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
    /// The name that systemd knows it by; the configuration may have an alias.
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

#[zbus::proxy(
    interface = "org.freedesktop.timedate1",
    default_service = "org.freedesktop.timedate1",
    default_path = "/org/freedesktop/timedate1"
)]
pub(crate) trait Timedate {
    /// Whether the kernel's clock is kept: the greatest error that adjtimex(2) reports is
    /// less than 16 s (systemd: src/timedate/timedated.c, `ntp_synced`).
    #[zbus(property(emits_changed_signal = "false"), name = "NTPSynchronized")]
    fn ntp_synchronized(&self) -> zbus::Result<bool>;
}
