//! WSL's networking mode.

use std::{fs, path::Path, time::Duration};

use wslmesh_relay::link::second::VmId;

use crate::{
    interop::child::{self, ChildError},
    model::{Mode, ModeState, plain, plain_within},
};

/// Longest wait for wslinfo, which waits without limit for a socket that does not
/// answer. A client before it may take 10 s (microsoft/WSL: src/linux/init/binfmt.cpp,
/// ACCEPT_TIMEOUT).
const TIMEOUT: Duration = Duration::from_secs(12);
/// While the distribution starts, init's only thread for calls may wait for systemd, up
/// to 10 s for each session (microsoft/WSL: src/linux/init/init.cpp, CreateLoginSession).
const AT_BOOT: Duration = Duration::from_secs(30);
/// How long that lasts, in s since the virtual machine's start.
const BOOT: f64 = 60.0;

/// Asks WSL, unless this is no WSL machine.
pub async fn ask() -> ModeState {
    if !is_wsl() {
        return ModeState::Known(Mode::NotWsl);
    }
    match wslinfo("--networking-mode").await {
        Ok(word) => {
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
    let version = plain(&wslinfo("--version").await.ok()?);
    (!version.is_empty()).then_some(version)
}

/// The identity of this virtual machine, by which Windows' programs connect to it; or why it
/// is unknown. Before WSL 2.5.10 wslinfo does not say it.
pub async fn ask_vm_id() -> Result<VmId, String> {
    let said = wslinfo("--vm-id").await.map_err(|error| match error {
        ChildError::Exit { code, stderr, .. } => format!(
            "WSL does not say the virtual machine's identity (wslinfo --vm-id ended with {code}: {stderr}); WSL 2.5.10 and later do"
        ),
        error => format!("WSL does not say the virtual machine's identity (wslinfo: {error})"),
    })?;
    let said = said.trim();
    said.parse().map_err(|why| {
        format!(
            "wslinfo --vm-id printed {:?}: {why}",
            plain_within(said, 60)
        )
    })
}

async fn wslinfo(option: &str) -> Result<String, ChildError> {
    let deadline = if boots() { AT_BOOT } else { TIMEOUT };
    let mut command = child::wsl_program("wslinfo");
    command.args([option, "-n"]);
    let output = child::run(command, deadline).await?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Whether the virtual machine has just started (proc_uptime(5)).
fn boots() -> bool {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split_whitespace().next();
    seconds
        .and_then(|seconds| seconds.parse().ok())
        .is_some_and(|seconds: f64| seconds < BOOT)
}

fn unknown(word: &str) -> String {
    let word = word.trim().chars().filter(|c| !c.is_control());
    let word: String = word.take(40).collect();
    format!("wslinfo printed {word:?}, an unknown networking mode")
}

/// Whether this is a WSL machine. Its kernel names Microsoft in its release, and
/// its init keeps sockets in /run/WSL. Both are asked: a container on WSL has the
/// kernel alone, and a user-supplied kernel may lack the name.
#[must_use]
pub fn is_wsl() -> bool {
    let init = Path::new("/run/WSL").is_dir();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    init && (release.to_ascii_lowercase().contains("microsoft") || Path::new(child::INIT).exists())
}
