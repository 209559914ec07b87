//! Calls to Windows in flight. They run beside the passes and end as
//! events; dropping this kills them.

use std::path::{Path, PathBuf};

use tokio::{select, task::JoinSet};

use super::{machine::Host, relay::Supervisor};
use crate::{
    apply::saved::Saved,
    blocking::{BlockingError, LIMIT, Permit, SingleFlight, run_async},
    host::sync,
    interop,
    model::{
        Code, Finding, HostMemory, HostOutcome, Mode, ModeState, RelayMemory, RelayRole, RelaySet,
        RuleSet, SyncMode,
    },
    paths::Paths,
};

/// Makes the call, and keeps in the state directory whether rules of ours may remain on
/// Windows: they outlive this process, which may be killed before the call ends. `remain`
/// says whether there may be some, from this process or another distribution's leader; `ports` is
/// that of [`sync::sync`].
async fn sync_and_remember(
    state: &Path,
    wanted: RuleSet,
    remain: bool,
    ports: bool,
) -> HostOutcome {
    let saved = Saved::new(state);
    let before = remain || saved.rules_may_remain();
    let expected = before || wanted.makes_rules();
    // What cannot be saved now is retried, and reported, after the call.
    saved
        .update(|values| values.forwards = expected)
        .unwrap_or_default();
    let mut outcome = sync::sync(state, wanted, ports).await;
    // A call that never reached Windows changed nothing.
    let rules_remain = outcome.rules_remain.unwrap_or(before);
    if let Err(error) = saved.update(|values| values.forwards = rules_remain) {
        let finding = Finding::new(Code::StateUnwritable, "", error.to_string());
        outcome.findings.push(finding);
        // The next attempt saves it, and the finding goes.
        outcome.settled = false;
    }
    outcome.rules_remain = Some(rules_remain);
    outcome
}

/// Takes all rules of ours away from Windows, and waits for the end.
pub async fn withdraw(paths: &Paths) -> HostOutcome {
    let wanted = RuleSet::nothing(SyncMode::Nat);
    let (remain, ports) = (false, false);
    sync_blocking(
        Ok(Permit::default()),
        paths.state.clone(),
        wanted,
        remain,
        ports,
    )
    .await
}

async fn sync_blocking(
    permit: Result<Permit, BlockingError>,
    state: PathBuf,
    wanted: RuleSet,
    remain: bool,
    ports: bool,
) -> HostOutcome {
    let asked = wanted.clone();
    let call = move || async move { sync_and_remember(&state, asked, remain, ports).await };
    let outcome = async { run_async(permit?, LIMIT, call).await };
    outcome
        .await
        .unwrap_or_else(|error| sync::not_returned(wanted, &error, LIMIT))
}

/// The result of a call to Windows, or what the relay reports.
#[derive(Debug)]
pub(super) enum HostEvent {
    /// WSL's networking mode.
    Mode(ModeState),
    /// The one that `.wslconfig` asks for, where that is known.
    RequestedMode(Option<Mode>),
    /// What this distribution is called.
    Distribution(String),
    /// How a sync of the forwards ended.
    Forwards(HostOutcome),
    /// A relay's state after what it said, or what became of it.
    Relay(RelayRole, RelayMemory),
}

/// The calls in flight, at most one of each kind.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// The state directory, in which the script that Windows reads is kept.
    state: PathBuf,
    calls: JoinSet<HostEvent>,
    /// Whether the mode is being asked, or its answer was not handled yet.
    asking: bool,
    mode: SingleFlight,
    wslconfig: SingleFlight,
    distribution: SingleFlight,
    /// The same of a sync of the forwards.
    syncing: bool,
    forwards: SingleFlight,
    pub(super) relay: Supervisor,
    pub(super) loopback: Supervisor,
}

impl Windows {
    /// Nothing in flight.
    pub(super) fn new(paths: &Paths, relay: Supervisor, loopback: Supervisor) -> Self {
        Self {
            state: paths.state.clone(),
            relay,
            loopback,
            ..Self::default()
        }
    }

    /// Asks for the networking mode unless that is being asked.
    pub(super) fn ask_mode(&mut self) {
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        let permit = self.mode.begin();
        self.calls.spawn(async {
            let mode = async { run_async(permit?, LIMIT, interop::ask_mode).await }.await;
            let unknown = |error| ModeState::Unknown(format!("wslinfo: {error}"));
            HostEvent::Mode(mode.unwrap_or_else(unknown))
        });
    }

    /// Looks which mode `.wslconfig` asks for. A drive that hangs does not keep the mode
    /// itself from being known.
    pub(super) fn look_up_requested_mode(&mut self) {
        // One that still hangs will answer.
        if let Ok(permit) = self.wslconfig.begin() {
            self.calls
                .spawn(async { HostEvent::RequestedMode(interop::requested_mode(permit).await) });
        }
    }

    /// Asks what this distribution is called; another one's agent wants to know.
    pub(super) fn ask_distribution(&mut self) {
        let permit = self.distribution.begin();
        self.calls.spawn(async {
            let asked = async { run_async(permit?, LIMIT, interop::distribution).await };
            let name = asked.await.ok().flatten();
            HostEvent::Distribution(name.unwrap_or_else(interop::hostname))
        });
    }

    /// Whether nothing is in flight.
    pub(super) fn idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// What keeps this relay running.
    pub(super) fn supervisor(&mut self, role: RelayRole) -> &mut Supervisor {
        match role {
            RelayRole::Entry => &mut self.relay,
            RelayRole::Loopback => &mut self.loopback,
        }
    }

    /// Waits for the next call to end, or for the relay; for ever when nothing is
    /// in flight.
    pub(super) async fn event(&mut self) -> HostEvent {
        select! {
            memory = self.relay.next_change() => HostEvent::Relay(RelayRole::Entry, memory),
            memory = self.loopback.next_change() => HostEvent::Relay(RelayRole::Loopback, memory),
            // A call never panics and is never aborted.
            Some(Ok(event)) = self.calls.join_next() => {
                match event {
                    HostEvent::Mode(_) => self.asking = false,
                    HostEvent::Forwards(_) => self.syncing = false,
                    HostEvent::RequestedMode(_)
                    | HostEvent::Distribution(_)
                    | HostEvent::Relay(..) => {}
                }
                event
            }
        }
    }
}

impl Host for Windows {
    fn relay(&mut self, role: RelayRole, wanted: Option<RelaySet>) -> RelayMemory {
        self.supervisor(role).set_forwards(wanted)
    }

    fn sync(&mut self, wanted: &RuleSet, known: &HostMemory) -> bool {
        if std::mem::replace(&mut self.syncing, true) {
            return false;
        }
        let call = sync_blocking(
            self.forwards.begin(),
            self.state.clone(),
            wanted.clone(),
            known.rules_remain,
            known.asks_ports(),
        );
        self.calls
            .spawn(async move { HostEvent::Forwards(call.await) });
        true
    }
}

#[cfg(test)]
mod tests;
