//! WSL's networking mode.

use std::{fs, path::Path, time::Duration};

use crate::{
    interop::child::{self, ChildError},
    model::{Mode, ModeState, plain},
};

/// A dead interop channel costs 10 s a call (microsoft/WSL:
/// src/linux/init/binfmt.cpp, ACCEPT_TIMEOUT).
const DEADLINE: Duration = Duration::from_secs(12);

/// The mode where WSL need not be asked: this is no WSL machine.
#[must_use]
pub fn at_once() -> Option<ModeState> {
    (!is_wsl()).then_some(ModeState::Known(Mode::NotWsl))
}

/// Asks WSL, unless this is no WSL machine.
pub async fn ask() -> ModeState {
    if let Some(mode) = at_once() {
        return mode;
    }
    let mut command = child::wsl_program("wslinfo");
    command.args(["--networking-mode", "-n"]);
    match child::run(command, None, DEADLINE).await {
        Ok(answer) => {
            let word = String::from_utf8_lossy(&answer);
            Mode::parse(&word).map_or_else(|| ModeState::Unknown(unknown(&word)), ModeState::Known)
        }
        Err(ChildError::Exit { code, stderr, .. }) => {
            ModeState::Unknown(format!("wslinfo ended with {code}: {stderr}"))
        }
        Err(error) => ModeState::Unknown(format!("wslinfo: {error}")),
    }
}

/// WSL's own version (since WSL 2.2.3); `None` where it does not say.
pub async fn ask_version() -> Option<String> {
    let mut command = child::wsl_program("wslinfo");
    command.args(["--version", "-n"]);
    let answer = child::run(command, None, DEADLINE).await.ok()?;
    let version = plain(&String::from_utf8_lossy(&answer));
    (!version.is_empty()).then_some(version)
}

fn unknown(word: &str) -> String {
    let word: String = word
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(40)
        .collect();
    format!("wslinfo printed {word:?}, an unknown networking mode")
}

/// A WSL kernel names Microsoft in its release, and WSL's init keeps its
/// sockets in /run/WSL. Both are asked: a container on WSL has the kernel
/// alone, and a user-supplied kernel may lack the name.
fn is_wsl() -> bool {
    let init = Path::new("/run/WSL").is_dir();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    init && (release.to_ascii_lowercase().contains("microsoft") || Path::new(child::INIT).exists())
}
