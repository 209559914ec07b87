//! Whether WSL stops this distribution although its services run.

use crate::model::{Idle, IdleFacts, IdleFate, IdleTimeouts, counted};

/// How long WSL lets a distribution without a session run, in ms, unless
/// `instanceIdleTimeout` says otherwise (microsoft/WSL:
/// src/windows/common/WslCoreConfig.h).
const DEFAULT_MS: i32 = 15_000;

/// Decides. What counts as use is a program of Windows that has a session here, such as a
/// terminal; neither systemd nor its services do (microsoft/WSL:
/// src/windows/service/exe/LxssUserSession.cpp, Lifetime.cpp).
#[must_use]
pub fn idle(facts: &IdleFacts) -> Idle {
    let timeouts = match &facts.timeouts {
        Ok(timeouts) => timeouts,
        Err(why) => {
            let unless = format!("unless .wslconfig says otherwise ({why})");
            return Idle {
                fate: IdleFate::Unknown,
                detail: format!("{}, {unless}", stops(DEFAULT_MS)),
                fix: Some(set_in("%UserProfile%\\.wslconfig")),
            };
        }
    };
    match timeouts.instance_ms {
        Some(ms) if ms < 0 => endless(facts, timeouts),
        instance => limited(facts, timeouts, instance),
    }
}

/// The file says that there is no limit.
fn endless(facts: &IdleFacts, timeouts: &IdleTimeouts) -> Idle {
    let file = &timeouts.file;
    let (fate, detail, fix) = match (facts.knows, timeouts.changed) {
        (Some(false), _) => (
            IdleFate::Stopped,
            format!(
                "{}: instanceIdleTimeout needs WSL 2.5.10 or later",
                stops(DEFAULT_MS)
            ),
            Some("Run `wsl.exe --update` on Windows, then `wsl.exe --shutdown`".to_owned()),
        ),
        (_, true) => (
            IdleFate::Unknown,
            format!(
                "{file} says instanceIdleTimeout={}, and was changed after the virtual machine had started: it holds once WSL is shut down, and what holds until then is unknown",
                timeouts.instance_ms.unwrap_or_default()
            ),
            Some("Run `wsl.exe --shutdown` on Windows".to_owned()),
        ),
        (None, false) => (
            IdleFate::Unknown,
            "instanceIdleTimeout keeps it running, if WSL, whose version is unknown, is 2.5.10 or later"
                .to_owned(),
            None,
        ),
        (Some(true), false) => (
            IdleFate::Kept,
            "instanceIdleTimeout keeps it running".to_owned(),
            None,
        ),
    };
    Idle { fate, detail, fix }
}

/// It names a limit, or none and the default applies.
fn limited(facts: &IdleFacts, timeouts: &IdleTimeouts, instance: Option<i32>) -> Idle {
    let known = instance.filter(|_| facts.knows != Some(false));
    let mut detail = stops(known.unwrap_or(DEFAULT_MS));
    let mut fate = IdleFate::Stopped;
    if timeouts.changed {
        let file = &timeouts.file;
        detail.push_str(&format!(
            ", by {file}, which was changed after the virtual machine had started: what holds until WSL is shut down is unknown"
        ));
    } else if known.is_some() && facts.knows.is_none() {
        detail
            .push_str(", or after 15 s where WSL, whose version is unknown, is older than 2.5.10");
    }
    if timeouts.machine_ms.is_some_and(|ms| ms < 0) {
        detail.push_str(": vmIdleTimeout keeps the virtual machine, not the distribution");
    }
    if facts.may_be_started {
        fate = IdleFate::Unknown;
        detail = format!(
            "`wslmesh host install` was run on this Windows; unless it starts this distribution, {detail}"
        );
    }
    if let Some(sessions @ 1..) = facts.sessions {
        let sessions = counted(sessions, "session");
        detail.push_str(&format!("; Windows has {sessions} in it now"));
    }
    let set = set_in(&timeouts.file);
    let fix = match facts.may_be_started {
        true => format!(
            "Run `wslmesh host check` to see whether it starts this distribution; else run `wslmesh host install` here. Or: {set}"
        ),
        false => set,
    };
    Idle {
        fate,
        detail,
        fix: Some(fix),
    }
}

/// When it ends.
fn stops(after_ms: i32) -> String {
    let after = f64::from(after_ms) / 1e3;
    format!(
        "this distribution is stopped {after} s after its last terminal closes, services or not"
    )
}

/// The line to set, and the command that sets it.
fn set_in(file: &str) -> String {
    format!(
        "Run `wslmesh wslconfig set general.instanceIdleTimeout -1`, which writes instanceIdleTimeout=-1 into the section [general] of {file}, then `wsl.exe --shutdown` on Windows; or set `keep-alive = true` in the table [lifetime] of wslmesh.toml"
    )
}

#[cfg(test)]
mod tests;
