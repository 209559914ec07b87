//! Kernel parameters.

use super::super::{
    facts::{Facts, some},
    verdict::{Judged, Verdict},
};
use crate::model::{Action, Code};

pub(in crate::doctor) fn values(facts: &Facts) -> Judged {
    let wrong: Vec<String> = facts
        .plan()?
        .actions
        .into_iter()
        .filter_map(|action| match action {
            Action::WriteSysctl(change) => Some(format!(
                "{} is {:?} and not {:?}",
                change.key,
                change.from.as_str(),
                change.to.as_str()
            )),
            _ => None,
        })
        .collect();
    Ok(if wrong.is_empty() {
        match facts.settings()?.sysctls.len() {
            0 => Verdict::ok("none is configured"),
            1 => Verdict::ok("1 parameter"),
            count => Verdict::ok(format!("{count} parameters")),
        }
    } else {
        Verdict::warning(some(&wrong))
    })
}

pub(in crate::doctor) fn allowed(facts: &Facts) -> Judged {
    let parts = facts.plan()?.findings.into_iter().filter_map(|finding| {
        let detail = finding.detail;
        match finding.code {
            Code::SysctlReserved | Code::SysctlRefused => Some(Verdict::warning(detail)),
            Code::SysctlMissing => Some(Verdict::note(detail)),
            _ => None,
        }
        .map(|verdict| verdict.remediation(finding.code.remediation()))
    });
    Ok(Verdict::worst(parts.collect(), || "yes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::settings,
        doctor::{Check, testing::table},
        model::{Mode, ModeState, SysctlKey, SysctlReading, SysctlValue},
    };

    const RMEM: &str = "net.core.rmem_max";

    fn reading(facts: &mut Facts, reading: SysctlReading) {
        let key = SysctlKey::parse(RMEM).unwrap();
        facts.change(|seen| drop(seen.sysctls.insert(key, reading)));
    }

    fn value(writable: bool) -> SysctlReading {
        SysctlReading::Value {
            value: SysctlValue::new("212992"),
            writable,
        }
    }

    fn reserved(facts: &mut Facts) {
        facts.settings = Ok(settings("[sysctl]\n\"net.ipv4.conf.all.rp_filter\" = 1\n"));
        facts.change(|seen| seen.mode = ModeState::Known(Mode::Mirrored));
    }

    #[test]
    fn parameters() {
        table! { Check::SysctlValues;
            "another value": |f| reading(f, value(true)) => Warning, "net.core.rmem_max is \"212992\"";
            "read-only is another check's": |f| reading(f, value(false)) => Ok, "9 parameters";
            "bad configuration": |f| f.settings = Err("x".into()) => Skipped, "configuration";
        }
        table! { Check::SysctlAllowed;
            "read-only": |f| reading(f, value(false)) => Note, "read-only";
            "missing": |f| reading(f, SysctlReading::Missing) => Note, "there is no";
            "unreadable": |f| reading(f, SysctlReading::Unreadable("EIO".into())) => Warning, "EIO";
            "WSL's own": reserved => Warning, "net.ipv4.conf.all.rp_filter stays";
        }
    }
}
