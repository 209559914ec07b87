//! The way from Linux to Windows programs.
//!
//! A system service has neither Windows' PATH nor WSL's environment, so
//! everything is found by where WSL puts it (microsoft/WSL: src/linux/init,
//! util.cpp UtilConnectToInteropServer, binfmt.cpp, config.cpp).

use std::{
    env, fs, io,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use super::child::{self, ChildError, Output};
use crate::report::Code;

/// Longest wait for a Windows program that asks nobody anything.
pub const DEADLINE: Duration = Duration::from_secs(15);

const SOCKETS: &str = "/run/WSL";
const INIT: &str = "/init";
const POWERSHELL: &str = "Windows/System32/WindowsPowerShell/v1.0/powershell.exe";

/// Why Windows cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum InteropError {
    /// No socket answers.
    #[error("no interop socket in {SOCKETS} accepts a connection")]
    NoSocket,
    /// No drive has it.
    #[error("there is no {POWERSHELL} on a Windows drive below {}", .0.display())]
    NoPowershell(PathBuf),
    /// Nothing runs Windows programs here.
    #[error(
        "the kernel does not run Windows programs here (no enabled WSLInterop in binfmt_misc) and there is no {INIT}"
    )]
    NoInterpreter,
    /// wslpath answered with something that is no path of that file.
    #[error("wslpath does not say where Windows finds {}", .0.display())]
    NoPath(PathBuf),
    /// The call itself.
    #[error("powershell.exe {0}")]
    Call(#[from] ChildError),
}

impl InteropError {
    /// The health code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoSocket | Self::NoInterpreter => Code::InteropMissing,
            Self::NoPowershell(_) => Code::InteropPowershell,
            Self::Call(ChildError::Timeout(_)) => Code::InteropTimeout,
            Self::Call(ChildError::TooMuch) => Code::InteropOutput,
            Self::NoPath(_)
            | Self::Call(ChildError::Start(_) | ChildError::Exit { .. } | ChildError::Pipe(_)) => {
                Code::InteropFailed
            }
        }
    }
}

/// A way to Windows that was there a moment ago.
#[derive(Debug)]
pub struct Interop {
    socket: PathBuf,
    powershell: PathBuf,
}

impl Interop {
    /// Finds the socket and powershell.exe.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<Self, InteropError> {
        let socket = socket().ok_or(InteropError::NoSocket)?;
        let root = automount_root(&fs::read_to_string("/etc/wsl.conf").unwrap_or_default());
        let powershell = powershell(&root).ok_or(InteropError::NoPowershell(root))?;
        Ok(Self { socket, powershell })
    }

    /// The path by which Windows knows a file of this distribution.
    ///
    /// # Errors
    /// wslpath's failure.
    pub async fn windows_path(&self, file: &Path) -> Result<String, InteropError> {
        let link = ["/usr/bin/wslpath", "/bin/wslpath"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let mut command = Command::new(link.unwrap_or(INIT));
        if link.is_none() {
            command.arg0("wslpath");
        }
        command.arg("-w").arg(file);
        let output = self.run(command, None).await?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = String::from_utf8(output.stdout)
            .unwrap_or_default()
            .trim()
            .to_owned();
        // The path becomes an argument: nothing but a path may pass.
        let plain = !path.chars().any(|c| c.is_control() || c == '"') && path.starts_with("\\\\");
        if plain && path.ends_with(&format!("\\{name}")) {
            Ok(path)
        } else {
            Err(InteropError::NoPath(file.to_owned()))
        }
    }

    /// Runs a script file with powershell.exe: JSON in, JSON out.
    ///
    /// The program is started as the kernel starts any Windows program here;
    /// where binfmt_misc does not know them, WSL's init is called as the kernel
    /// would call it. The entry itself is not looked up: a hardened service may
    /// not see it although it works.
    ///
    /// # Errors
    /// Nothing to run it with, or the call's failure.
    pub async fn powershell(&self, script: &str, input: &[u8]) -> Result<Output, InteropError> {
        let arguments = [
            "-NoProfile",
            "-NonInteractive",
            "-ExecutionPolicy",
            "Bypass",
            "-File",
            script,
        ];
        let mut direct = Command::new(&self.powershell);
        direct.arg0("powershell.exe").args(arguments);
        match self.run(direct, Some(input)).await {
            Err(InteropError::Call(ChildError::Start(error))) if not_executable(&error) => {
                if !Path::new(INIT).exists() {
                    return Err(InteropError::NoInterpreter);
                }
                let mut by_init = Command::new(INIT);
                by_init
                    .arg(&self.powershell)
                    .arg("powershell.exe")
                    .args(arguments);
                self.run(by_init, Some(input)).await
            }
            done => done,
        }
    }

    async fn run(
        &self,
        mut command: Command,
        input: Option<&[u8]>,
    ) -> Result<Output, InteropError> {
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("WSL_INTEROP", &self.socket);
        // A folder on the Windows drive: from a Linux one Windows would make a
        // UNC path, which cmd.exe and others warn about.
        if let Some(folder) = self.powershell.parent() {
            command.current_dir(folder);
        }
        Ok(child::run(command, input, DEADLINE).await?)
    }
}

/// ENOEXEC: no interpreter is registered for the file's format.
fn not_executable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

/// WSL init's own socket first: it is there before any service. Then what the
/// environment names, then the sockets of open sessions.
fn socket() -> Option<PathBuf> {
    let first = Path::new(SOCKETS).join("1_interop");
    let named = env::var_os("WSL_INTEROP").map(PathBuf::from);
    let mut sessions: Vec<PathBuf> = fs::read_dir(SOCKETS)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with("_interop"))
        .collect();
    sessions.sort();
    std::iter::once(first)
        .chain(named)
        .chain(sessions)
        .find(|path| is_roots(path) && UnixStream::connect(path).is_ok())
}

/// Everybody may write to the folder of the sockets, but WSL's init makes its own
/// as root.
fn is_roots(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.uid() == 0)
}

fn powershell(root: &Path) -> Option<PathBuf> {
    // The system drive is C: but for rare machines.
    ('c'..='z')
        .map(|drive| root.join(drive.to_string()).join(POWERSHELL))
        .find(|path| path.is_file())
}

/// `[automount] root=` of /etc/wsl.conf: keys without regard to case, the first
/// of several wins (microsoft/WSL: src/shared/configfile).
fn automount_root(conf: &str) -> PathBuf {
    let mut in_section = false;
    for line in conf.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            in_section = section
                .trim_end_matches(']')
                .trim()
                .eq_ignore_ascii_case("automount");
        } else if let Some((key, value)) = line.split_once('=')
            && in_section
            && key.trim().eq_ignore_ascii_case("root")
        {
            let value = value
                .split('#')
                .next()
                .unwrap_or_default()
                .trim()
                .trim_matches('"');
            if value.starts_with('/') {
                return PathBuf::from(value);
            }
        }
    }
    PathBuf::from("/mnt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automount_roots() {
        let table = [
            ("", "/mnt"),
            ("[automount]\nroot = /windir/\n", "/windir/"),
            (
                "[AutoMount]\r\nRoot=\"/w\" # mine\r\nroot=/second\r\n",
                "/w",
            ),
            ("[boot]\nroot=/no\n[automount]\nenabled=true\n", "/mnt"),
            ("[automount]\nroot=relative\n", "/mnt"),
            ("#[automount]\nroot=/no\n", "/mnt"),
        ];
        for (conf, root) in table {
            assert_eq!(automount_root(conf), Path::new(root), "{conf:?}");
        }
    }
}
