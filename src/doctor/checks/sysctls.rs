//! Kernel parameters.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, all, info, warning},
    },
    model::{Action, Code, counted},
};

pub(crate) fn values(facts: &Facts) -> Judged {
    let actions = facts.plan()?.actions.into_iter();
    let wrong = actions.filter_map(|action| match action {
        Action::WriteSysctl(change) => {
            let (from, to) = (change.from.as_str(), change.to.as_str());
            Some(warning(format!(
                "{} is {from:?} and not {to:?}",
                change.key
            )))
        }
        _ => None,
    });
    let configured = facts.settings()?.sysctls.len();
    Ok(all(wrong, counted(configured, "parameter")))
}

pub(crate) fn allowed(facts: &Facts) -> Judged {
    let findings = facts.plan()?.findings.into_iter();
    let found = findings.filter_map(|finding| {
        let verdict = match finding.code {
            Code::SysctlReserved | Code::SysctlRefused => warning(finding.detail),
            Code::SysctlMissing => info(finding.detail),
            _ => return None,
        };
        Some(verdict.fix(finding.code.remediation()))
    });
    Ok(all(found, "yes"))
}

#[cfg(test)]
mod tests;
