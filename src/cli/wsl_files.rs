//! `wslmesh wslconfig` and `wslmesh wslconf`

mod change;
mod check;
mod show;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use tokio::time::timeout;

pub(super) use self::change::set;
use super::output::Exit;
use crate::{
    blocking::{Permit, run_blocking},
    fs::read_bounded,
    interop::{self, WslFile, ini},
    paths::Paths,
};

/// After the help of both.
pub(super) const CONFIG_EXAMPLES: &str = "Examples:
  wslmesh wslconfig set networkingMode mirrored
  wslmesh wslconfig rollback
  wslmesh wslconfig set general.instanceIdleTimeout -1

Exit status: 0 success, 1 failure, 2 usage error, 3 check found something.";
pub(super) const CONF_EXAMPLES: &str = "Examples:
  wslmesh wslconf check
  sudo wslmesh wslconf set boot.systemd true
  sudo wslmesh wslconf rollback

Exit status: 0 success, 1 failure, 2 usage error, 3 check found something.";

#[derive(Debug, Args)]
pub(super) struct Config {
    /// The file of this user of Windows [default: the only one]
    #[arg(long, value_name = "NAME", global = true)]
    user: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Conf {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the file: what WSL cannot read, rejects or does not know, with line and fix
    Check {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every key with its value, where that comes from, and what is in force
    Show {
        /// Print the keys as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a key and leave every other byte of the file as it is
    Set {
        /// The key, as section.key, or without the section where one section has it
        key: String,
        /// Its value, as text: quotes and backslashes are added where the file needs them
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Undo the last set, byte for byte
    Rollback {
        /// Undo it even if another program has changed the file since
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn wslconfig(arguments: Config, paths: Paths) -> anyhow::Result<Exit> {
    run(WslFile::Config, arguments.user, arguments.command, paths).await
}

pub(super) async fn wslconf(arguments: Conf, paths: Paths) -> anyhow::Result<Exit> {
    run(WslFile::Conf, None, arguments.command, paths).await
}

async fn run(
    file: WslFile,
    user: Option<String>,
    command: Command,
    paths: Paths,
) -> anyhow::Result<Exit> {
    if !interop::is_wsl() {
        bail!("this is not WSL: only WSL reads {file}");
    }
    match command {
        Command::Check { json } => check::check(file, user, json).await,
        Command::Show { json } => show::show(file, user, json).await,
        Command::Set { key, value } => change::set(file, user, &key, &value, &paths).await,
        Command::Rollback { force } => change::rollback(file, user, force, &paths).await,
    }
}

/// Longest wait for WSL to say something that is of use, and no more.
const TIMEOUT: Duration = Duration::from_secs(2);

/// WSL's version, where it says it in time.
async fn version() -> Option<String> {
    timeout(TIMEOUT, interop::ask_wsl_version())
        .await
        .ok()
        .flatten()
}

/// Where the file is, or would be.
fn place(file: WslFile, user: Option<&str>) -> anyhow::Result<PathBuf> {
    match file {
        WslFile::Config => Ok(interop::wslconfig_place(user)?),
        WslFile::Conf => Ok(PathBuf::from("/etc/wsl.conf")),
    }
}

/// Does something with a file that may be on a Windows drive, which may hang.
async fn in_time<T: Send + 'static>(
    file: WslFile,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let done = run_blocking(Permit::default(), interop::DEADLINE, work).await;
    done.with_context(|| format!("{file} is not to be had; see whether `ls /mnt/c` answers"))?
}

/// Place and content of the file, for commands that only read.
async fn read(file: WslFile, user: Option<String>) -> anyhow::Result<(PathBuf, Option<Vec<u8>>)> {
    in_time(file, move || {
        let path = place(file, user.as_deref())?;
        match read_bounded(&path, ini::MOST) {
            Ok(bytes) => Ok((path, Some(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, None)),
            Err(error) => bail!("cannot read {}: {error}", path.display()),
        }
    })
    .await
}

/// The path as it is shown.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
