//! One PowerShell call makes Windows' rules those that are wanted, whatever their
//! number: the port proxy's and the firewall's.

mod outcome;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    contract::{Answer, Request},
    json::{AnswerError, line},
    scripts::Script,
};
use crate::{
    blocking::BlockingError,
    fs::{
        PathError, cannot,
        file::{self, FileError},
    },
    interop::{DEADLINE, Interop, InteropError, child::ChildError},
    model::{Code, Finding, HostOutcome, RuleSet},
};

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Interop(#[from] InteropError),
    #[error(transparent)]
    Script(#[from] FileError),
    #[error("{0}")]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Folder(#[from] PathError),
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
        Ok(answer) => outcome::of(wanted, answer, begin.elapsed()),
        Err(error) => {
            let finding = Finding::new(code(&error), "", error.to_string());
            let rules_remain = may_have_worked(&error).then_some(true);
            without_answer(wanted, finding, begin.elapsed(), rules_remain)
        }
    }
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
        took,
        rules_remain,
    }
}

async fn call(folder: &Path, wanted: &RuleSet) -> Result<Answer, SyncError> {
    let interop = Interop::find()?;
    let script = script(folder)?;
    let request = line(&Request::Sync(wanted))?;
    let path = interop.windows_path(&script).await?;
    let output = interop
        .powershell(&path, request.as_bytes(), DEADLINE)
        .await?;
    Ok(Answer::parse(&output)?)
}

/// Writes the script where Windows reads it, unless it is unchanged.
fn script(folder: &Path) -> Result<PathBuf, SyncError> {
    fs::create_dir_all(folder).map_err(cannot("make the folder", folder))?;
    let path = folder.join(Script::Refresh.file_name());
    file::write(&path, Script::Refresh.text().as_bytes(), 0o644)?;
    Ok(path)
}

fn code(error: &SyncError) -> Code {
    match error {
        SyncError::Interop(error) => error.code(),
        SyncError::Answer(error) => error.code(),
        SyncError::Script(_) | SyncError::Folder(_) => Code::StateUnwritable,
        SyncError::Request(_) => Code::ForwardFailed,
    }
}

/// Whether rules may have been made although there is no answer.
fn may_have_worked(error: &SyncError) -> bool {
    match error {
        SyncError::Interop(InteropError::Call(call)) => {
            !matches!(call, ChildError::Start(_) | ChildError::NotStarted(_))
        }
        SyncError::Answer(_) => true,
        _ => false,
    }
}

/// The outcome of a call that does not return, because something on the way to
/// Windows hangs where no deadline reaches, or that could not be started.
pub fn not_returned(wanted: RuleSet, error: &BlockingError, after: Duration) -> HostOutcome {
    let (code, rules_remain) = match error {
        BlockingError::TimedOut(_) => (Code::InteropTimeout, Some(true)),
        BlockingError::Busy => (Code::InteropTimeout, None),
        BlockingError::Interrupted => (Code::InteropFailed, Some(true)),
        BlockingError::NoThread(_) => (Code::InteropFailed, None),
    };
    let finding = Finding::new(code, "", format!("the way to Windows: {error}"));
    without_answer(wanted, finding, after, rules_remain)
}

#[cfg(test)]
mod tests;
