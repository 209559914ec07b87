//! What a pass sees and changes, behind one small trait for each, so that a
//! pass can be tried on a described machine.

use std::{cell::RefCell, path::PathBuf, time::Duration};

use crate::{
    apply::{
        self, ApplyError, Effects,
        saved::{Saved, SavedError},
    },
    blocking::{SingleFlight, run_blocking},
    config::Settings,
    model::{
        Action, HostMemory, ModeState, Observation, RelayMemory, RelayRole, RelaySet, RuleSet,
    },
    netlink::{Netlink, NetlinkError},
    observe::{self, Devices},
    paths::Paths,
};

/// Longest wait for previous values to be saved: a disk that stalls must not
/// hold a pass for ever.
const SAVE_DEADLINE: Duration = Duration::from_secs(10);

/// The world inside Linux.
pub(super) trait Machine {
    /// Takes a snapshot. What Windows said is handed through.
    async fn observe(
        &self,
        settings: &Settings,
        mode: ModeState,
        host: HostMemory,
    ) -> Result<Observation, NetlinkError>;

    /// Saves what these actions are about to replace.
    async fn remember(&self, actions: &[Action]) -> Result<(), SavedError>;

    /// Carries out one action and says whether anything was changed.
    async fn apply(&self, action: &Action) -> Result<bool, ApplyError>;
}

/// The way to Windows and to the relay: calls are begun here and end elsewhere.
pub(super) trait Host {
    /// Sends a relay what to serve, without waiting; starts a relay that does not
    /// run. Gives back its present state.
    fn relay(&mut self, role: RelayRole, wanted: Option<RelaySet>) -> RelayMemory;

    /// Begins a sync of the forwards, and says so: while one is in flight, the next one
    /// waits for its end. `known`: what Windows has answered until now.
    fn sync(&mut self, wanted: &RuleSet, known: &HostMemory) -> bool;
}

/// This machine.
#[derive(Debug)]
pub(super) struct Linux {
    netlink: RefCell<Netlink>,
    devices: Devices,
    saved: Saved,
    saves: SingleFlight,
    effects: Effects,
    runtime: PathBuf,
}

impl Linux {
    pub(super) fn new(paths: &Paths) -> Result<Self, NetlinkError> {
        Ok(Self {
            netlink: RefCell::new(Netlink::connect()?),
            devices: Devices::default(),
            saved: Saved::new(&paths.state),
            saves: SingleFlight::default(),
            effects: Effects::new(&paths.runtime),
            runtime: paths.runtime.clone(),
        })
    }

    /// What an earlier run leaves to know of Windows.
    pub(super) fn host_memory(&self) -> HostMemory {
        HostMemory {
            rules_remain: self.saved.rules_may_remain(),
            ..HostMemory::default()
        }
    }
}

impl Machine for Linux {
    async fn observe(
        &self,
        settings: &Settings,
        mode: ModeState,
        host: HostMemory,
    ) -> Result<Observation, NetlinkError> {
        let netlink = self.netlink.borrow().clone();
        let (devices, runtime) = (&self.devices, &self.runtime);
        let seen = observe::observe(settings, &netlink, devices, mode, host, runtime).await;
        if seen.is_err() {
            // A connection that failed once may be dead for good.
            self.netlink.replace(Netlink::connect()?);
        }
        seen
    }

    async fn remember(&self, actions: &[Action]) -> Result<(), SavedError> {
        let (saved, actions) = (self.saved.clone(), actions.to_vec());
        let save = move || saved.remember(&actions);
        run_blocking(self.saves.begin()?, SAVE_DEADLINE, save).await?
    }

    async fn apply(&self, action: &Action) -> Result<bool, ApplyError> {
        let netlink = self.netlink.borrow().clone();
        apply::apply(action, &netlink, &self.effects).await
    }
}
