//! One call of a script by powershell.exe, which gets the script itself on standard input;
//! where Windows does not run that, as a file of this distribution.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

use super::{
    json::{AnswerError, object},
    scripts::Script,
};
use crate::{
    fs::{
        PathError, cannot,
        file::{self, FileError},
    },
    interop::{Interop, InteropError, Output, child::ChildError},
    model::Code,
};

/// How a script came to run for the first time: this process keeps to it.
static WAY: OnceLock<Way> = OnceLock::new();

/// Whether no script has run for this process yet.
pub(super) fn is_first() -> bool {
    WAY.get().is_none()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By a command that reads it from standard input.
    Command,
    /// As a file.
    File,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Windows is out of reach, or the call failed.
    #[error(transparent)]
    Interop(#[from] InteropError),
    /// What came is no answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The script cannot be put where Windows reads it.
    #[error(transparent)]
    Folder(#[from] PathError),
    /// The same.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no place for this user's files.
    #[error("$HOME names no folder, so there is no place for the script; run this with sudo")]
    NoHome,
    /// No request could be made.
    #[error("the request cannot be written: {0}")]
    Request(#[from] serde_json::Error),
}

impl CallError {
    /// Its health code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Interop(error) => error.code(),
            Self::Answer(error) => error.code(),
            Self::Folder(_) | Self::File(_) | Self::NoHome => Code::StateUnwritable,
            Self::Request(_) => Code::ForwardFailed,
        }
    }

    /// Whether the script may have done something although there is no answer.
    pub(super) fn may_have_worked(&self) -> bool {
        match self {
            Self::Interop(InteropError::Call(call)) => {
                !matches!(call, ChildError::Start(_) | ChildError::NotStarted(_))
            }
            Self::Answer(AnswerError::Forbidden(_)) => false,
            Self::Answer(_) => true,
            _ => false,
        }
    }
}

/// Calls a script with a request, and whatever follows that, and reads its answer. A script
/// that came to run is not called a second time, however it ended.
///
/// `state` is below the root file system, because Windows does not see every mount of a
/// distribution.
///
/// # Errors
/// No answer, or none of this version.
pub(super) async fn call<T: DeserializeOwned>(
    interop: &Interop,
    script: Script,
    input: &[u8],
    state: &Path,
    deadline: Duration,
) -> Result<T, CallError> {
    let begin = Instant::now();
    let settled = WAY.get().copied();
    if settled == Some(Way::File) {
        return answer(as_file(interop, script, input, state, deadline).await?);
    }
    let all = [script.text().as_bytes(), input].concat();
    let what = ["-Command", &script.command()];
    let first = interop.powershell(what, &all, deadline).await;
    if settled.is_some() || ran(&first) != Some(false) {
        if ran(&first) == Some(true) {
            WAY.set(Way::Command).unwrap_or_default();
        }
        return answer(first);
    }
    let left = deadline.saturating_sub(begin.elapsed());
    match as_file(interop, script, input, state, left).await {
        Ok(second) if ran(&second) == Some(true) => {
            WAY.set(Way::File).unwrap_or_default();
            answer(second)
        }
        // The first says what must be cured.
        Ok(_) | Err(_) => answer(first),
    }
}

fn answer<T: DeserializeOwned>(output: Result<Output, InteropError>) -> Result<T, CallError> {
    Ok(object(&output?)?)
}

/// Whether the script came to run: the command prints an empty line before it. `None` where
/// PowerShell did not get to its end.
fn ran(output: &Result<Output, InteropError>) -> Option<bool> {
    match output {
        Ok(output) => Some(!output.stdout.is_empty()),
        Err(InteropError::Call(ChildError::Exit { printed, .. })) => Some(*printed),
        Err(_) => None,
    }
}

/// Calls the script as a file, which goes afterwards.
async fn as_file(
    interop: &Interop,
    script: Script,
    input: &[u8],
    state: &Path,
    deadline: Duration,
) -> Result<Result<Output, InteropError>, CallError> {
    let folder = folder_in(&place(state)?)?;
    let file = folder.path().join(script.file_name());
    file::write(&file, script.text().as_bytes(), 0o644)?;
    let path = interop.windows_path(&file).await?;
    Ok(interop.powershell(["-File", &path], input, deadline).await)
}

/// Where this user's files are.
fn place(state: &Path) -> Result<PathBuf, CallError> {
    if rustix::process::geteuid().is_root() {
        return Ok(state.to_owned());
    }
    let named = |variable: &str| {
        let path = env::var_os(variable).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    named("XDG_STATE_HOME")
        .or_else(|| Some(named("HOME")?.join(".local/state")))
        .ok_or(CallError::NoHome)
}

/// A folder in there, or above it as far as there is none, that this user alone writes,
/// that Windows reads as the distribution's default user, and that goes with this value.
fn folder_in(place: &Path) -> Result<tempfile::TempDir, PathError> {
    let mut existing = place.ancestors().filter(|path| path.is_dir());
    let parent = existing.next().unwrap_or(Path::new("/"));
    let failed = cannot("make a folder in", parent);
    let made = tempfile::Builder::new()
        .prefix(".wslmesh-")
        .tempdir_in(parent);
    let made = made.map_err(&failed)?;
    // Afterwards: the umask may take bits away.
    fs::set_permissions(made.path(), fs::Permissions::from_mode(0o755)).map_err(failed)?;
    Ok(made)
}

#[cfg(test)]
mod tests;
