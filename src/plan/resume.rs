//! Whether the machine is back after a sleep of Windows or a time without a network.
//!
//! Under WSL the guest is paused while Windows sleeps: its clocks stand still, and the
//! wall clock is set forward afterwards. CLOCK_BOOTTIME counts none of it, so that
//! CLOCK_REALTIME minus CLOCK_BOOTTIME grows by the sleep and by nothing else: an adjusted
//! rate changes both alike. A Linux that suspends by itself has CLOCK_BOOTTIME minus
//! CLOCK_MONOTONIC grow instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{
    Clocks, Code, Device, Finding, HANDSHAKE_STALE, InterfaceName, PeerId, Recovery, RecoveryStep,
    Resume, ResumeSign, StepOutcome, is_fresh,
};

/// A step forward from here on is a sleep: from 5 s Hyper-V's driver sets the clock
/// (kernel: drivers/hv/hv_util.c, with hv_utils.timesync_implicit), and less passes
/// without a trace.
const SLEEP_MS: i64 = 5_000;

/// A longer sleep than 90 days is a clock that was wrong.
const LONGEST_MS: i64 = 90 * 86_400_000;

/// From here on a node without a network was cut off. In mirrored mode WSL removes
/// addresses and adds them again on each change of the host, within seconds.
const CUT_OFF: Duration = Duration::from_secs(5);

/// Between two signs of this kind: a link that flaps is no sleep.
const LINK_PAUSE: Duration = Duration::from_secs(60);

/// What a set clock means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockChange {
    /// Nothing.
    None,
    /// It was set by this many milliseconds, and the machine did not sleep.
    Set(i64),
    /// The machine slept.
    Back(Resume),
}

/// Compares the clocks with those before. A step that takes the last one back, of
/// `last_ms`, is no sleep.
#[must_use]
pub fn clock_change(before: &Clocks, now: &Clocks, last_ms: i64) -> ClockChange {
    let over = |clocks: &Clocks| clocks.real_ms.saturating_sub(clocks.boot_ms);
    let suspended = |clocks: &Clocks| clocks.boot_ms.saturating_sub(clocks.monotonic_ms);
    let step = over(now).saturating_sub(over(before));
    let slept = suspended(now).saturating_sub(suspended(before)).max(0);
    let taken_back = last_ms < 0 && step.saturating_add(last_ms).saturating_abs() < SLEEP_MS;
    let away = match step {
        _ if taken_back => slept,
        step => slept.saturating_add(step.max(0)),
    };
    match step {
        _ if (SLEEP_MS..=LONGEST_MS).contains(&away) => ClockChange::Back(Resume {
            sign: ResumeSign::Clock,
            away: Duration::from_millis(away.unsigned_abs()),
            awake_unix: unix(now.real_ms.saturating_sub(away)),
        }),
        0 => ClockChange::None,
        step => ClockChange::Set(step),
    }
}

/// A smaller step of the clock, in milliseconds, is none by itself: WSL's chronyd may set it
/// by some, and clocks that are read one after another differ by one.
pub const LEAST_STEP_MS: u64 = 1_000;

/// What the next step may take back, where the last one was `last_ms` and this one follows:
/// one that is none by itself belongs to the one before.
#[must_use]
pub fn last_step(last_ms: i64, step_ms: i64) -> i64 {
    match step_ms.unsigned_abs() {
        ..LEAST_STEP_MS => last_ms.saturating_add(step_ms),
        _ => step_ms,
    }
}

fn unix(ms: i64) -> u64 {
    u64::try_from(ms / 1_000).unwrap_or(0)
}

/// Whether a node that has its carrier and address again was cut off. `last` is how long
/// ago it was so the last time.
#[must_use]
pub fn link_back(away: Duration, last: Option<Duration>, now_unix: u64) -> Option<Resume> {
    let often = last.is_some_and(|last| last < LINK_PAUSE);
    (away >= CUT_OFF && !often).then(|| Resume {
        sign: ResumeSign::Link,
        away,
        awake_unix: now_unix.saturating_sub(away.as_secs()),
    })
}

/// The peers that are kept alive and whose last handshake was fresh.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handshakes(BTreeMap<PeerId, u64>);

impl Handshakes {
    /// Takes the devices as they are at `now_unix`, by the same clock as before. The sign
    /// is that of all peers that were fresh none is, as far as they can be read: one that
    /// ended by itself is not all of them.
    pub fn update(
        &mut self,
        devices: &BTreeMap<InterfaceName, Device>,
        now_unix: u64,
    ) -> Option<Resume> {
        let peers = devices.iter().flat_map(|(name, device)| {
            let peers = device.peers.iter();
            peers.map(|(key, peer)| ((name.clone(), *key), peer))
        });
        let peers: BTreeMap<PeerId, _> = peers.collect();
        let fresh = peers.iter().filter(|(_, peer)| peer.keepalive > 0);
        let fresh = fresh.filter_map(|(id, peer)| {
            let at = peer.handshake.filter(|at| is_fresh(*at, now_unix))?;
            Some((id.clone(), at))
        });
        let fresh: BTreeMap<PeerId, u64> = fresh.collect();
        let before = std::mem::replace(&mut self.0, fresh);
        let readable = before.iter().filter(|(id, _)| peers.contains_key(id));
        let newest = readable.map(|(_, at)| *at).max()?;
        let silent = self.0.is_empty();
        silent.then(|| Resume {
            sign: ResumeSign::Handshakes,
            away: Duration::from_secs(now_unix.saturating_sub(newest)),
            awake_unix: newest,
        })
    }

    /// When the next look can show something, in seconds since 1970: no fresh one is
    /// stale before.
    #[must_use]
    pub fn due_unix(&self, now_unix: u64) -> u64 {
        let newest = self.0.values().max().unwrap_or(&now_unix);
        newest.saturating_add(HANDSHAKE_STALE)
    }
}

/// The peers with which a session was in use when the machine was there for the last
/// time: whoever was silent before cannot be expected to answer now.
#[must_use]
pub fn expected_peers(
    devices: &BTreeMap<InterfaceName, Device>,
    awake_unix: u64,
) -> BTreeSet<PeerId> {
    let since = awake_unix.saturating_sub(HANDSHAKE_STALE);
    let of = |(name, device): (&InterfaceName, &Device)| {
        let peers = device.peers.iter().filter(|(_, peer)| {
            peer.endpoint.is_some() && peer.handshake.is_some_and(|at| at >= since)
        });
        let ids = peers.map(|(key, _)| (name.clone(), *key));
        Vec::from_iter(ids)
    };
    devices.iter().flat_map(of).collect()
}

/// The findings of a recovery. Peers that went silent without a sleep may be switched off:
/// where all else is well they are none. Nor is a name server, which has a finding of its
/// own ([`super::dns_finding`]) and is looked at again for that.
#[must_use]
pub fn unrecovered(recovery: &Recovery) -> Vec<Finding> {
    let failed = recovery
        .steps
        .iter()
        .filter_map(|(step, outcome)| match outcome {
            StepOutcome::Failed(why) => Some((*step, why)),
            _ => None,
        });
    let failed: Vec<(RecoveryStep, &String)> = failed.collect();
    let is_silence = |(step, _): &(RecoveryStep, &String)| *step == RecoveryStep::Wireguard;
    if recovery.resume.sign == ResumeSign::Handshakes && failed.iter().all(is_silence) {
        return Vec::new();
    }
    let finding = |(step, why): (RecoveryStep, &String)| {
        let detail = format!("{why}; {}", what_helps(step)?);
        Some(Finding::new(
            Code::ResumeIncomplete,
            step.to_string(),
            detail,
        ))
    };
    failed.into_iter().filter_map(finding).collect()
}

/// What a user can do about a step, in this order; `None` where another finding says it.
fn what_helps(step: RecoveryStep) -> Option<&'static str> {
    Some(match step {
        RecoveryStep::Time => {
            "Hyper-V's driver sets it within moments; `sudo wslmesh doctor clock` shows who else does, and `sudo hwclock -s` sets it"
        }
        RecoveryStep::Link | RecoveryStep::Route => {
            "it comes back once Windows is connected; if Windows is, only `wsl.exe --shutdown` on Windows helps"
        }
        RecoveryStep::Dns => return None,
        RecoveryStep::Wireguard => {
            "see `sudo wg show` and `wslmesh doctor`; the peers may be offline"
        }
        RecoveryStep::Interop => {
            "WSL does not open this channel again: only `wsl.exe --terminate` of this distribution on Windows helps"
        }
        RecoveryStep::Forwards => "`wslmesh status` shows the cause",
    })
}

#[cfg(test)]
mod tests;
