//! Whether the distribution keeps running.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, info, ok, warning},
    },
    model::{IdleFacts, IdleFate},
    plan,
};

/// What leads each session that a program of Windows has here (microsoft/WSL:
/// src/linux/init/init.cpp). It lives as long as anything that the session started, which is
/// what WSL counts.
const SESSION: &str = "SessionLeader";

pub(crate) fn idle(facts: &Facts) -> Judged {
    facts.wsl()?;
    let agent = facts.agent.as_ref();
    let held = agent.and_then(|agent| agent.lifetime.as_ref()?.held_since_unix);
    if held.is_some() {
        return Ok(ok("held open by wslmesh"));
    }
    let sessions = facts.local.as_ref().ok().map(|local| {
        let processes = local.processes.iter();
        processes.filter(|one| one.name == SESSION).count()
    });
    let idle = plan::idle(&IdleFacts {
        timeouts: facts.idle.clone(),
        knows: facts.knows_idle_timeout(),
        // Its folder exists for every Windows user and every distribution.
        may_be_started: facts.installed,
        sessions,
    });
    let verdict = match idle.fate {
        IdleFate::Kept => ok(idle.detail),
        IdleFate::Stopped => warning(idle.detail),
        IdleFate::Unknown => info(idle.detail),
    };
    Ok(match idle.fix {
        Some(fix) => verdict.fix(fix),
        None => verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{facts::Process, tests::table},
        model::IdleTimeouts,
        report::LifetimeEntry,
    };

    fn is(facts: &mut Facts, instance_ms: Option<i32>) {
        facts.idle = Ok(IdleTimeouts {
            instance_ms,
            ..IdleTimeouts::default()
        });
    }

    fn terminal(facts: &mut Facts) {
        is(facts, None);
        let process = |name: &str| Process {
            name: name.to_owned(),
            arguments: "/init".to_owned(),
            ..Process::default()
        };
        let local = facts.local.as_mut().unwrap();
        local.processes = vec![process("SessionLeader"), process("Relay(9)")];
    }

    fn held(facts: &mut Facts) {
        is(facts, None);
        facts.agent.as_mut().unwrap().lifetime = Some(LifetimeEntry {
            held_since_unix: Some(1),
            ..LifetimeEntry::default()
        });
    }

    #[test]
    fn idle_distributions() {
        table! { "lifetime-idle";
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "defaults": |f| is(f, None) => Warning, "15 s";
            "terminal": terminal => Warning, "has 1 session in it now";
            "held": held => Ok, "held open by wslmesh";
            "old WSL": |f| f.wsl_version = Some("2.5.7.0".into()) => Warning, "needs WSL 2.5.10";
            "unknown WSL": |f| f.wsl_version = None => Info, "version is unknown";
            "installed": |f| { is(f, None); f.installed = true } => Info, "`wslmesh host install` was run";
            "installed and endless": |f| f.installed = true => Ok, "instanceIdleTimeout";
            "unknown": |f| f.idle = Err("hangs".into()) => Info, "hangs";
        }
    }
}
