//! The way from Linux to Windows programs.
//!
//! A system service has neither Windows' PATH nor WSL's environment, so
//! everything is found by where WSL puts it (microsoft/WSL: src/linux/init,
//! util.cpp UtilConnectToInteropServer, binfmt.cpp, config.cpp).

pub mod child;
pub(crate) mod ini;
mod mode;

use std::{
    env, fmt, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

pub use self::mode::{ask as ask_mode, ask_version as ask_wsl_version, is_wsl};
use self::{
    child::{ChildError, INIT},
    ini::Ini,
};
use crate::{
    fs::{own::belongs_to_root, read_bounded},
    model::{Code, DrivePath},
};

/// Longest wait for a Windows program that waits for no person.
pub const DEADLINE: Duration = Duration::from_secs(15);

const SOCKETS: &str = "/run/WSL";
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
    #[error("there is no {INIT}, which starts Windows programs in WSL")]
    NoInit,
    /// wslpath answered with something that is no path of that file.
    #[error("wslpath does not say where Windows finds {}", .0.display())]
    NoPath(PathBuf),
    /// The call itself.
    #[error("the Windows program {0}")]
    Call(#[from] ChildError),
}

impl InteropError {
    /// The health code of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoSocket | Self::NoInit => Code::InteropMissing,
            Self::NoPowershell(_) => Code::InteropPowershell,
            Self::Call(ChildError::Timeout(_)) => Code::InteropTimeout,
            Self::Call(ChildError::TooMuch) => Code::InteropOutput,
            Self::NoPath(_) | Self::Call(_) => Code::InteropFailed,
        }
    }
}

/// A way to Windows, found a moment ago.
#[derive(Debug)]
pub struct Interop {
    socket: PathBuf,
    powershell: PathBuf,
    /// Where drives are mounted.
    root: PathBuf,
}

impl Interop {
    /// Finds the socket and powershell.exe.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<Self, InteropError> {
        let socket = socket().ok_or(InteropError::NoSocket)?;
        let root = automount_root();
        let powershell = powershell(&root);
        Ok(Self {
            socket,
            powershell: powershell.ok_or_else(|| InteropError::NoPowershell(root.clone()))?,
            root,
        })
    }

    /// Where a path of a Windows drive is mounted.
    #[must_use]
    pub fn linux_path(&self, path: &DrivePath) -> PathBuf {
        path.on_linux(&self.root)
    }

    /// The path by which Windows knows a file of this distribution.
    ///
    /// # Errors
    /// wslpath's failure.
    pub async fn windows_path(&self, file: &Path) -> Result<String, InteropError> {
        let mut command = child::wsl_program("wslpath");
        command.arg("-w").arg(file);
        self.surround(command.as_std_mut(), &self.powershell);
        let output = child::run(command, DEADLINE).await?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = String::from_utf8(output).unwrap_or_default();
        let path = path.trim();
        // The path becomes an argument: nothing but a path may pass.
        let plain = !path.chars().any(|c| c.is_control() || c == '"') && path.starts_with("\\\\");
        if plain && path.ends_with(&format!("\\{name}")) {
            Ok(path.to_owned())
        } else {
            Err(InteropError::NoPath(file.to_owned()))
        }
    }

    /// Runs a script file with powershell.exe: JSON in, JSON out.
    ///
    /// # Errors
    /// Nothing to run it with, or the call's failure.
    pub async fn powershell(
        &self,
        script: &str,
        input: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, InteropError> {
        let arguments = ["-ExecutionPolicy", "Bypass", "-File", script];
        self.run_powershell(&arguments, input, deadline).await
    }

    /// Runs one command that is fixed at compile time, which no policy about
    /// script files keeps from running.
    ///
    /// # Errors
    /// Nothing to run it with, or the call's failure.
    pub async fn powershell_command(&self, command: &'static str) -> Result<Vec<u8>, InteropError> {
        self.run_powershell(&["-Command", command], b"", DEADLINE)
            .await
    }

    async fn run_powershell(
        &self,
        arguments: &[&str],
        input: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, InteropError> {
        let mut command = self.command(&self.powershell)?;
        command.args(["-NoProfile", "-NonInteractive"]);
        command.args(arguments);
        let running = child::spawn(command.into())?;
        Ok(running.finish(input, deadline).await?)
    }

    /// How a Windows program is started, but for its arguments: by WSL's init, called
    /// as the kernel calls it (microsoft/WSL: src/linux/init/binfmt.cpp). The file
    /// itself is never executed: Windows' user may replace it by a Linux program at any
    /// moment, which would run as root.
    ///
    /// # Errors
    /// There is no such init.
    pub fn command(&self, program: &Path) -> Result<process::Command, InteropError> {
        if !Path::new(INIT).exists() {
            return Err(InteropError::NoInit);
        }
        Ok(self.by_init(program))
    }

    fn by_init(&self, program: &Path) -> process::Command {
        let mut command = process::Command::new(INIT);
        command.arg(program);
        command.arg(program.file_name().unwrap_or_default());
        self.surround(&mut command, program);
        command
    }

    /// What every program of Windows is started with.
    fn surround(&self, command: &mut process::Command, program: &Path) {
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("WSL_INTEROP", &self.socket);
        // A folder on the Windows drive: from a Linux one Windows would make a
        // UNC path, which cmd.exe and others warn about.
        if let Some(folder) = program.parent() {
            command.current_dir(folder);
        }
    }
}

impl fmt::Display for Interop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, socket) = (self.powershell.display(), self.socket.display());
        write!(f, "{program} by {socket}")
    }
}

/// WSL init's own socket first: it exists before any service. Then what the
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
        // Any user may write to the folder of the sockets, but WSL's init makes its
        // own as root.
        .find(|path| belongs_to_root(path) && UnixStream::connect(path).is_ok())
}

fn powershell(root: &Path) -> Option<PathBuf> {
    // The system drive is C: but for rare machines.
    ('c'..='z')
        .map(|drive| root.join(drive.to_string()).join(POWERSHELL))
        .find(|path| path.is_file())
}

/// The folder below which WSL mounts Windows' drives: `[automount] root=` of
/// /etc/wsl.conf, else /mnt.
pub(crate) fn automount_root() -> PathBuf {
    automount_root_in(&read_bounded(Path::new("/etc/wsl.conf"), ini::MOST).unwrap_or_default())
}

fn automount_root_in(conf: &[u8]) -> PathBuf {
    let conf = Ini::wsl_conf(conf);
    let root = conf.get("automount.root");
    PathBuf::from(root.filter(|root| root.starts_with('/')).unwrap_or("/mnt"))
}

#[cfg(test)]
mod tests;
