//! The way from Linux to Windows programs.
//!
//! A system service has neither Windows' PATH nor WSL's environment, so
//! everything is found by where WSL puts it (microsoft/WSL: src/linux/init,
//! util.cpp UtilConnectToInteropServer, binfmt.cpp, config.cpp).

pub mod child;
mod distribution;
mod drives;
pub(crate) mod edit;
mod encoding;
pub(crate) mod ini;
pub(crate) mod keys;
mod mode;
mod native;
mod socket;
mod wslconfig;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use rustix::fs::{Access, access};

use self::child::{ChildError, INIT};
pub(crate) use self::wslconfig::{NO_DRIVE, Users};
pub use self::{
    child::Output,
    distribution::{ask as distribution, hostname, name_in_root},
    drives::Drives,
    edit::{EditError, Edited, set as edit},
    keys::{Fault, Key, KeyError, Kind, WslFile, knows_idle_timeout},
    mode::{ask as ask_mode, ask_version as ask_wsl_version, ask_vm_id, is_wsl},
    native::confine,
    wslconfig::{PlaceError, idle_timeouts, local_app_data, requested_mode, wslconfig_place},
};
use crate::model::Code;

/// Longest wait for a Windows program that waits for no person.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Longest wait for wslpath, which waits without limit for a socket that does not answer.
/// It is tried twice: a client before it may take 10 s.
const WSLPATH_TIMEOUT: Duration = Duration::from_secs(5);

/// Most sockets that one call is tried by.
const TRIES: usize = 3;

const SOCKETS: &str = "/run/WSL";
const POWERSHELL: &str = "Windows/System32/WindowsPowerShell/v1.0/powershell.exe";

/// Why Windows cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum InteropError {
    /// No socket accepts: the reasons.
    #[error("no interop socket in {SOCKETS} accepts a connection ({0})")]
    NoSocket(String),
    /// A socket accepts, and Windows does not come: the channel behind it is dead.
    #[error("{} accepts calls and starts nothing: {said}", socket.display())]
    Dead {
        /// The socket that was tried last.
        socket: PathBuf,
        /// What WSL's init said.
        said: String,
    },
    /// No drive has it.
    #[error("there is no {POWERSHELL} on a Windows drive below {}", .0.display())]
    NoPowershell(PathBuf),
    /// `wsl.exe` does not exist there.
    #[error("there is no {}", .0.display())]
    NoWsl(PathBuf),
    /// Root may not look at it: what the drive is mounted with.
    #[error("root may not reach {}: {reason}", path.display())]
    Denied {
        /// powershell.exe.
        path: PathBuf,
        /// The masks of the drive's mount.
        reason: String,
    },
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
            Self::NoSocket(_) | Self::NoInit => Code::InteropMissing,
            Self::Dead { .. } | Self::Call(ChildError::NotStarted(_)) => Code::InteropDead,
            Self::NoPowershell(_) => Code::InteropPowershell,
            Self::Denied { .. } => Code::DriveDenied,
            Self::Call(ChildError::Timeout(_)) => Code::InteropTimeout,
            Self::Call(ChildError::TooMuch) => Code::InteropOutput,
            Self::NoPath(_) | Self::NoWsl(_) | Self::Call(_) => Code::InteropFailed,
        }
    }
}

/// A way to Windows, found a moment ago.
#[derive(Debug)]
pub struct Interop {
    /// Those that accept, best first; at least one.
    sockets: Vec<PathBuf>,
    powershell: PathBuf,
    /// Where drives are mounted.
    pub drives: Drives,
}

impl Interop {
    /// Finds the sockets and powershell.exe.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<Self, InteropError> {
        let (mut sockets, mut refused) = (Vec::new(), Vec::new());
        for path in socket::candidates() {
            match socket::accepts(&path) {
                Ok(()) => sockets.push(path),
                Err(error) => refused.push(format!("{}: {error}", path.display())),
            }
        }
        if sockets.is_empty() {
            refused.truncate(TRIES);
            let why = match refused.as_slice() {
                [] => "root has none there".to_owned(),
                refused => refused.join(", "),
            };
            return Err(InteropError::NoSocket(why));
        }
        let drives = Drives::read();
        Ok(Self {
            sockets,
            powershell: powershell(&drives)?,
            drives,
        })
    }

    /// The path by which Windows knows a file of this distribution.
    ///
    /// # Errors
    /// wslpath's failure.
    pub async fn windows_path(&self, file: &Path) -> Result<String, InteropError> {
        let output = self.call(async |socket| {
            let mut command = child::wsl_program("wslpath");
            command.arg("-w").arg(file);
            surround(command.as_std_mut(), &self.powershell, socket);
            child::run(command, WSLPATH_TIMEOUT)
                .await
                .map_err(|error| match error {
                    // It asks init alone.
                    ChildError::Timeout(_) => ChildError::NotStarted(format!("wslpath {error}")),
                    error => error,
                })
        });
        let output = output.await?;
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

    /// Calls powershell.exe with `-Command` and a text, or `-File` and a path.
    ///
    /// # Errors
    /// Nothing to run it with, or the call's failure.
    pub async fn powershell(
        &self,
        what: [&str; 2],
        input: &[u8],
        deadline: Duration,
    ) -> Result<Output, InteropError> {
        if !Path::new(INIT).exists() {
            return Err(InteropError::NoInit);
        }
        let call = self.call(async |socket| {
            let mut command = by_init(&self.powershell, socket);
            command.args(["-NoProfile", "-NonInteractive"]);
            command.args(["-ExecutionPolicy", "Bypass"]).args(what);
            child::spawn(command.into())?.finish(input, deadline).await
        });
        call.await
    }

    /// Makes a short call by one socket after another, until it is started. A socket
    /// that starts nothing is set aside; the only one is tried once more, because init
    /// serves one client at a time and is busy while the distribution starts.
    async fn call<T>(
        &self,
        call: impl AsyncFn(&Path) -> Result<T, ChildError>,
    ) -> Result<T, InteropError> {
        let mut sockets = self.sockets.clone();
        sockets.sort_by_key(|path| socket::failures(path) > 0);
        if let [only] = sockets.as_slice() {
            sockets.push(only.clone());
        }
        let mut dead = InteropError::NoSocket("none was found".to_owned());
        for path in sockets.into_iter().take(TRIES) {
            match call(&path).await {
                Err(ChildError::NotStarted(said)) => {
                    socket::set_aside(&path);
                    dead = InteropError::Dead { socket: path, said };
                }
                ended => {
                    if ended.is_ok() {
                        socket::works(&path);
                    }
                    return Ok(ended?);
                }
            }
        }
        Err(dead)
    }

    /// Where Windows has the programs of all users, as it is mounted here.
    #[must_use]
    pub fn program_files(&self) -> PathBuf {
        let drive = self.powershell.ancestors().nth(5);
        drive.unwrap_or(Path::new("/")).join("Program Files")
    }

    /// How `wsl.exe` is started that stays, but for its arguments.
    ///
    /// # Errors
    /// It does not exist, or see [`Interop::command`].
    pub fn wsl(&self) -> Result<process::Command, InteropError> {
        let system = self.powershell.ancestors().nth(3);
        let program = system.unwrap_or(Path::new("/")).join("wsl.exe");
        match program.try_exists() {
            Ok(false) => Err(InteropError::NoWsl(program)),
            Ok(true) | Err(_) => self.command(&program),
        }
    }

    /// How a Windows program is started that stays, but for its arguments. Only init's own
    /// socket serves it: what a session's socket started ends with that terminal.
    ///
    /// # Errors
    /// There is no such socket or init, or two calls by it were not started in the last
    /// minutes: the first may have met a busy init.
    pub fn command(&self, program: &Path) -> Result<process::Command, InteropError> {
        let own = socket::own();
        if !self.sockets.contains(&own) {
            let why = format!(
                "{} is none of them; others end with their terminal",
                own.display()
            );
            return Err(InteropError::NoSocket(why));
        }
        if socket::failures(&own) > 1 {
            return Err(InteropError::Dead {
                socket: own,
                said: "it was tried a few minutes ago".to_owned(),
            });
        }
        if !Path::new(INIT).exists() {
            return Err(InteropError::NoInit);
        }
        Ok(by_init(program, &own))
    }
}

/// What a program that was started with [`Interop::command`] said when it ended, as one
/// line.
///
/// # Errors
/// It was not started at all, which keeps its socket from being used for some minutes.
pub fn said_at_its_end(stderr: &[u8]) -> Result<String, InteropError> {
    let said = child::said(stderr);
    if child::not_started(&said) {
        let socket = socket::own();
        socket::set_aside(&socket);
        return Err(InteropError::Dead { socket, said });
    }
    Ok(said)
}

/// How WSL's init starts a Windows program, called as the kernel calls it
/// (microsoft/WSL: src/linux/init/binfmt.cpp). The file itself is never executed:
/// Windows' user may replace it by a Linux program at any moment, which would run as
/// root.
fn by_init(program: &Path, socket: &Path) -> process::Command {
    let mut command = child::init();
    command.arg(program);
    command.arg(program.file_name().unwrap_or_default());
    surround(&mut command, program, socket);
    command
}

/// What every program of Windows is started with.
fn surround(command: &mut process::Command, program: &Path, socket: &Path) {
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("WSL_INTEROP", socket);
    // A folder on the Windows drive: from a Linux one Windows would make a UNC path,
    // which cmd.exe and others warn about. Without CAP_DAC_READ_SEARCH root may not
    // enter a drive that is mounted with umask=77.
    let folder = program.parent().unwrap_or(Path::new("/"));
    let enters = access(folder, Access::EXEC_OK).is_ok();
    command.current_dir(if enters { folder } else { Path::new("/") });
}

impl fmt::Display for Interop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.sockets.first().map(|path| path.display());
        write!(f, "{}", self.powershell.display())?;
        socket.map_or(Ok(()), |socket| write!(f, " by {socket}"))
    }
}

/// Where powershell.exe is.
fn powershell(drives: &Drives) -> Result<PathBuf, InteropError> {
    let mut denied = None;
    // The system drive is C: but for rare machines.
    for letter in 'c'..='z' {
        let path = drives.folder(letter).join(POWERSHELL);
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                denied.get_or_insert(path);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Err(match denied {
        Some(path) => InteropError::Denied {
            reason: drives.reason(&path),
            path,
        },
        None => InteropError::NoPowershell(drives.root().to_owned()),
    })
}

#[cfg(test)]
mod tests;
