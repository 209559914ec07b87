//! One PowerShell call makes Windows' rules those that are wanted, whatever their
//! number: the port proxy's and the firewall's.

mod outcome;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    call::{CallError, call, is_first},
    contract::{Answer, Request},
    json::line,
    scripts::Script,
};
use crate::{
    blocking::BlockingError,
    interop::Interop,
    model::{Code, Finding, HostOutcome, RuleSet},
};

/// Longest wait for an answer: PowerShell starts in 2 s, and `refresh.ps1` waits 10 s for the
/// lock or for the task.
pub const LIMIT: Duration = Duration::from_secs(25);

/// The same for the first call of this process: after a logon both PowerShells start from
/// the disk, which takes some seconds each.
const FIRST: Duration = Duration::from_secs(45);

/// Asks Windows to make its forwards the wanted ones, and says how that ended.
/// Never fails: a failure is an outcome with a finding.
///
/// `state` is where Windows may find the script, see [`call`]; `ports`: the ports that
/// Windows hands out by itself are asked for, too.
pub async fn sync(state: &Path, wanted: RuleSet, ports: bool) -> HostOutcome {
    let begin = Instant::now();
    let limit = if is_first() { FIRST } else { LIMIT };
    let request = if ports {
        Request::SyncAndPorts(&wanted)
    } else {
        Request::Sync(&wanted)
    };
    match send(state, &request, limit).await {
        Ok(answer) => outcome::of(wanted, answer, begin.elapsed()),
        Err(error) => {
            let finding = Finding::new(error.code(), "", error.to_string());
            // A question alone makes none.
            let made = wanted.makes_rules() && error.may_have_worked();
            let rules_remain = made.then_some(true);
            without_answer(wanted, finding, begin.elapsed(), rules_remain)
        }
    }
}

/// What an answer says that went wrong, with the fix.
pub(super) fn problem(answer: &Answer) -> Option<String> {
    let finding = outcome::failure(answer)?;
    let fix = finding.code.remediation();
    Some(format!("{}. {fix}", finding.detail))
}

/// The outcome of a call that gave no answer.
fn without_answer(
    wanted: RuleSet,
    finding: Finding,
    took: Duration,
    rules_remain: Option<bool>,
) -> HostOutcome {
    HostOutcome {
        wanted,
        settled: false,
        findings: vec![finding],
        facts: None,
        changed: None,
        restored: Vec::new(),
        took,
        rules_remain,
    }
}

/// The same within this time, and the answer as it came.
///
/// # Errors
/// No answer, or none of this version.
pub async fn ask(state: &Path, wanted: &RuleSet, limit: Duration) -> Result<Answer, CallError> {
    send(state, &Request::Sync(wanted), limit).await
}

async fn send(state: &Path, request: &Request<'_>, limit: Duration) -> Result<Answer, CallError> {
    let interop = Interop::find()?;
    let request = line(request)?;
    call(&interop, Script::Refresh, request.as_bytes(), state, limit).await
}

/// The outcome of a call that does not return, because something on the way to
/// Windows hangs where no deadline reaches, or that could not be started.
pub fn not_returned(wanted: RuleSet, error: &BlockingError, after: Duration) -> HostOutcome {
    let made = wanted.makes_rules().then_some(true);
    let (code, rules_remain) = match error {
        BlockingError::TimedOut(_) => (Code::InteropTimeout, made),
        BlockingError::Busy => (Code::InteropTimeout, None),
        BlockingError::Interrupted => (Code::InteropFailed, made),
        BlockingError::NoThread(_) => (Code::InteropFailed, None),
    };
    let finding = Finding::new(code, "", format!("the way to Windows: {error}"));
    without_answer(wanted, finding, after, rules_remain)
}

#[cfg(test)]
mod tests;
