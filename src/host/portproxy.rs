//! The `portproxy` backend: one PowerShell call makes Windows' forwards those
//! that are wanted, whatever their number.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    child::ChildError,
    contract::{Answer, ForwardRequest, Request, State},
    interop::{Interop, InteropError},
    scripts,
};
use crate::{
    apply::file::{self, FileError},
    model::{Finding, HostFacts, HostOutcome, Rule, RuleSet},
    report::Code,
};

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Interop(#[from] InteropError),
    #[error(transparent)]
    Script(#[from] FileError),
    #[error("{0}")]
    Answer(#[from] super::contract::AnswerError),
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("the request cannot be written: {0}")]
    Request(#[from] serde_json::Error),
}

/// Asks Windows to make its forwards the wanted ones, and says how that ended.
/// Never fails: a failure is an outcome with a finding.
///
/// `folder` is where the script is kept for Windows to read: below the root
/// file system, because Windows does not see every mount of a distribution.
pub async fn sync(folder: &Path, wanted: RuleSet) -> HostOutcome {
    let begin = Instant::now();
    match call(folder, &wanted).await {
        Ok(answer) => outcome(wanted, &answer, begin.elapsed()),
        Err(error) => {
            let finding = Finding::new(code(&error), "", error.to_string());
            HostOutcome {
                wanted,
                settled: false,
                findings: vec![finding],
                facts: None,
                changed: None,
                standing: may_have_worked(&error).then_some(true),
            }
        }
    }
}

async fn call(folder: &Path, wanted: &RuleSet) -> Result<Answer, SyncError> {
    let interop = Interop::find()?;
    let script = script(folder)?;
    let forwards = wanted
        .rules
        .iter()
        .map(|rule| ForwardRequest {
            listen_address: rule.listen_address,
            listen_port: rule.listen_port,
            connect_port: rule.connect_port,
        })
        .collect();
    let request = Request::sync(wanted.connect_address, forwards).to_json_line()?;
    let path = interop.windows_path(&script).await?;
    let output = interop.powershell(&path, request.as_bytes()).await?;
    Ok(Answer::parse(&output.stdout)?)
}

/// Puts the script where Windows reads it, unless it is there.
fn script(folder: &Path) -> Result<PathBuf, SyncError> {
    fs::create_dir_all(folder).map_err(|source| SyncError::Folder {
        path: folder.to_owned(),
        source,
    })?;
    let path = folder.join("refresh.ps1");
    let before = file::read(&path)?;
    file::replace(
        &path,
        before.as_ref().map(file::Snapshot::content),
        scripts::REFRESH.as_bytes(),
    )?;
    Ok(path)
}

fn code(error: &SyncError) -> Code {
    match error {
        SyncError::Interop(InteropError::NoSocket | InteropError::NoInterpreter) => {
            Code::InteropMissing
        }
        SyncError::Interop(InteropError::NoPowershell(_)) => Code::InteropPowershell,
        SyncError::Interop(InteropError::Call(ChildError::Timeout(_))) => Code::InteropTimeout,
        SyncError::Interop(InteropError::Call(ChildError::TooMuch)) | SyncError::Answer(_) => {
            Code::InteropOutput
        }
        SyncError::Interop(
            InteropError::NoPath(_)
            | InteropError::Call(
                ChildError::Start(_) | ChildError::Exit { .. } | ChildError::Pipe(_),
            ),
        ) => Code::InteropFailed,
        SyncError::Script(_) | SyncError::Folder { .. } => Code::StateUnwritable,
        SyncError::Request(_) => Code::ForwardFailed,
    }
}

/// Whether rules may have been made although no answer tells.
fn may_have_worked(error: &SyncError) -> bool {
    match error {
        SyncError::Interop(InteropError::Call(ChildError::Start(_))) => false,
        SyncError::Interop(InteropError::Call(_)) | SyncError::Answer(_) => true,
        SyncError::Interop(_)
        | SyncError::Script(_)
        | SyncError::Folder { .. }
        | SyncError::Request(_) => false,
    }
}

fn outcome(wanted: RuleSet, answer: &Answer, took: Duration) -> HostOutcome {
    let detail = |fallback: &str| {
        answer
            .detail
            .clone()
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| fallback.to_owned())
    };
    let mut findings = Vec::new();
    for conflict in &answer.conflicts {
        // A rule on all addresses is in the way of each of ours on its port.
        let meets = |rule: &&Rule| {
            let any =
                rule.listen_address.is_unspecified() || conflict.listen_address.is_unspecified();
            rule.listen_port == conflict.listen_port
                && (any || rule.listen_address == conflict.listen_address)
        };
        let names: Vec<&str> = wanted
            .rules
            .iter()
            .filter(meets)
            .map(|rule| rule.name.as_str())
            .collect();
        let name = names.join(", ");
        let target = match (&conflict.connect_address, conflict.connect_port) {
            (Some(address), Some(port)) => format!(" to {address}:{port}"),
            (Some(address), None) => format!(" to {address}"),
            (None, _) => String::new(),
        };
        let text = format!(
            "Windows already forwards {}:{}{target}",
            conflict.listen_address, conflict.listen_port
        );
        // One finding for each forward, whatever stands in its way.
        match findings
            .iter_mut()
            .find(|finding: &&mut Finding| finding.subject == name)
        {
            Some(finding) => finding.detail = format!("{}; {text}", finding.detail),
            None => findings.push(Finding::new(Code::ForwardConflict, name, text)),
        }
    }
    let settled = match answer.state {
        State::Synced => true,
        State::NotElevated => {
            findings.push(Finding::new(
                Code::ForwardNotElevated,
                "",
                detail("this Windows user is not elevated"),
            ));
            true
        }
        State::Partial => {
            findings.push(Finding::new(
                Code::ForwardIncomplete,
                "",
                detail("the rules read back differently"),
            ));
            false
        }
        State::ServiceStopped => {
            findings.push(Finding::new(
                Code::ForwardService,
                "",
                detail("iphlpsvc is not running"),
            ));
            false
        }
        State::InvalidRequest | State::Failed => {
            findings.push(Finding::new(
                Code::ForwardFailed,
                "",
                detail("Windows gave no reason"),
            ));
            false
        }
    };
    let facts = HostFacts {
        windows_address: answer.windows_address,
        lowest_mtu: answer
            .lowest_mtu
            .as_ref()
            .map(|lowest| (lowest.name.clone(), lowest.mtu)),
        forwards: answer
            .rules
            .first()
            .map(|rule| (answer.rules.len(), rule.connect_address)),
    };
    let changed = (answer.added + answer.removed > 0).then(|| {
        let rules = answer.rules.len();
        format!(
            "Windows {} {} -> {}: {} set, {} removed, {} kept, in {} ms",
            if rules == 1 { "forward" } else { "forwards" },
            list(answer),
            wanted.connect_address,
            answer.added,
            answer.removed,
            answer.kept,
            took.as_millis()
        )
    });
    // A script that gave up lists no rules, which says nothing about Windows: it
    // may have given up after it made some.
    let looked = !matches!(answer.state, State::Failed | State::InvalidRequest);
    HostOutcome {
        wanted,
        settled,
        findings,
        facts: looked.then_some(facts),
        changed,
        standing: match answer.state {
            State::Failed => Some(true),
            State::InvalidRequest => None,
            State::Synced | State::Partial | State::NotElevated | State::ServiceStopped => {
                Some(!answer.rules.is_empty())
            }
        },
    }
}

/// The outcome of a call that does not come back, because something on the way
/// to Windows hangs where no deadline reaches.
pub fn hangs(wanted: RuleSet, after: Duration) -> HostOutcome {
    let detail = format!(
        "the way to Windows has been hanging for {} s",
        after.as_secs()
    );
    HostOutcome {
        wanted,
        settled: false,
        findings: vec![Finding::new(Code::InteropTimeout, "", detail)],
        facts: None,
        changed: None,
        standing: Some(true),
    }
}

/// The listening ports, the first few by number.
fn list(answer: &Answer) -> String {
    const SHOWN: usize = 5;
    let mut ports: Vec<String> = answer
        .rules
        .iter()
        .take(SHOWN)
        .map(|rule| format!("{}:{}", rule.listen_address, rule.listen_port))
        .collect();
    if let Some(more) = answer
        .rules
        .len()
        .checked_sub(SHOWN)
        .filter(|more| *more > 0)
    {
        ports.push(format!("and {more} more"));
    }
    if ports.is_empty() {
        "(none)".to_owned()
    } else {
        ports.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> RuleSet {
        let port = |number: u16| std::num::NonZeroU16::new(number).unwrap();
        let rule = Rule {
            name: "ssh".into(),
            listen_address: "0.0.0.0".parse().unwrap(),
            listen_port: port(2222),
            connect_port: port(22),
        };
        RuleSet {
            connect_address: "172.28.16.5".parse().unwrap(),
            rules: vec![rule],
        }
    }

    fn answered(state: &str, more: &str) -> HostOutcome {
        let text = format!(
            r#"{{"version":1,"state":"{state}","detail":"Dienst","rules":[],"added":0,"removed":0,"kept":0,"conflicts":[{more}],"windows-address":"192.168.50.10","lowest-mtu":{{"name":"Tailscale","mtu":1280}}}}"#
        );
        outcome(
            wanted(),
            &Answer::parse(text.as_bytes()).unwrap(),
            Duration::from_millis(700),
        )
    }

    #[test]
    fn each_state_has_its_own_code() {
        let table = [
            ("synced", true, None),
            ("not-elevated", true, Some(Code::ForwardNotElevated)),
            ("partial", false, Some(Code::ForwardIncomplete)),
            ("service-stopped", false, Some(Code::ForwardService)),
            ("invalid-request", false, Some(Code::ForwardFailed)),
            ("failed", false, Some(Code::ForwardFailed)),
        ];
        for (state, settled, code) in table {
            let outcome = answered(state, "");
            assert_eq!(
                (
                    outcome.settled,
                    outcome.findings.first().map(|finding| finding.code)
                ),
                (settled, code),
                "{state}"
            );
            let looked = !["invalid-request", "failed"].contains(&state);
            assert_eq!(outcome.facts.is_some(), looked, "{state}");
            let standing = match state {
                "failed" => Some(true),
                "invalid-request" => None,
                _ => Some(false),
            };
            assert_eq!(outcome.standing, standing, "{state}");
            let lowest = outcome.facts.and_then(|facts| facts.lowest_mtu);
            assert_eq!(
                lowest,
                looked.then(|| ("Tailscale".into(), 1280)),
                "{state}"
            );
        }
    }

    #[test]
    fn only_a_call_that_ran_may_have_worked() {
        let call = |error| SyncError::Interop(InteropError::Call(error));
        let table = [
            (
                call(ChildError::Timeout(Duration::from_secs(15))),
                Code::InteropTimeout,
                true,
            ),
            (call(ChildError::TooMuch), Code::InteropOutput, true),
            (
                call(ChildError::Start(io::ErrorKind::NotFound.into())),
                Code::InteropFailed,
                false,
            ),
            (
                SyncError::Interop(InteropError::NoSocket),
                Code::InteropMissing,
                false,
            ),
        ];
        for (error, expected, worked) in table {
            assert_eq!(
                (code(&error), may_have_worked(&error)),
                (expected, worked),
                "{error}"
            );
        }
    }

    #[test]
    fn a_conflict_names_the_forward_and_the_other_rule() {
        let outcome = answered(
            "synced",
            r#"{"listen-address":"0.0.0.0","listen-port":2222,"connect-address":"10.0.0.1","connect-port":80}"#,
        );
        let finding = outcome.findings.first().unwrap();
        assert_eq!(
            (finding.code, finding.subject.as_str()),
            (Code::ForwardConflict, "ssh")
        );
        assert_eq!(
            finding.detail,
            "Windows already forwards 0.0.0.0:2222 to 10.0.0.1:80"
        );
        assert!(outcome.settled);
    }
    #[test]
    fn rules_that_overlap_a_forward_are_one_conflict_of_it() {
        let rule = |address: &str, port: u16| {
            format!(
                r#"{{"listen-address":"{address}","listen-port":{port},"connect-address":"10.0.0.1","connect-port":80}}"#
            )
        };
        let rules = [
            rule("192.168.1.2", 2222),
            rule("192.168.1.3", 2222),
            rule("0.0.0.0", 99),
        ];
        let found: Vec<(String, String)> = answered("synced", &rules.join(","))
            .findings
            .into_iter()
            .map(|finding| (finding.subject, finding.detail))
            .collect();
        assert_eq!(
            found,
            [
                (
                    "ssh".to_owned(),
                    "Windows already forwards 192.168.1.2:2222 to 10.0.0.1:80; Windows already forwards 192.168.1.3:2222 to 10.0.0.1:80".to_owned()
                ),
                (
                    String::new(),
                    "Windows already forwards 0.0.0.0:99 to 10.0.0.1:80".to_owned()
                ),
            ]
        );
    }
}
