//! `wslmesh host`

mod check;
mod facts;
mod install;
mod shown;
mod uninstall;

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) use self::{install::install, shown::reloaded};
use super::output::Exit;
use crate::{
    config::{Settings, Source},
    host::setup::{Ports, Profiles},
    paths::Paths,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Let Windows' administrator agree, once, to the forwards that are configured
    ///
    /// Shows what would be agreed to and asks. Windows then asks for administrator
    /// rights, and an elevated window shows the same once more and asks for the
    /// word yes. Afterwards forwards within what was agreed to need no prompt.
    Install(Install),
    /// Remove everything that `host install` and the agent made on Windows
    Uninstall(Uninstall),
    /// Examine the Windows side, changing nothing
    #[command(
        after_help = "Exit status: 0 nothing differs, 1 Windows could not be asked, 3 something differs."
    )]
    Check(Check),
}

#[derive(Debug, Default, Args)]
pub(super) struct Install {
    /// Show the policy, the files and every step, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Allow these ports too, for forwards that come later: tcp:8000-8010, or tcp:8000:80
    #[arg(long, value_name = "PROTO:FROM-TO[:CONNECT]")]
    ports: Vec<Ports>,
    /// Kinds of networks that the firewall rules are for: domain, private, public
    /// [default: as installed, at first domain,private]
    #[arg(long, value_name = "LIST")]
    profiles: Option<Profiles>,
    /// Start this distribution after a Windows logon [default: as installed, at first yes]
    #[arg(long, conflicts_with = "no_logon")]
    logon: bool,
    /// Do not start this distribution after a Windows logon
    #[arg(long)]
    no_logon: bool,
    /// Do not ask here (Windows asks all the same, unless this is elevated already)
    #[arg(long)]
    yes: bool,
}

impl Install {
    /// What `forward add` asks for: nothing beside the configuration.
    pub(super) fn as_configured(yes: bool) -> Self {
        Self {
            yes,
            ..Self::default()
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Uninstall {
    /// Show what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask here (Windows asks all the same, unless this is elevated already)
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also listen on a port of loopback, have netsh read a file, have the task make a forward and remove it
    #[arg(long)]
    probe: bool,
    /// Do not ask before a probe
    #[arg(long)]
    yes: bool,
    /// Write everything into a file to attach to an issue
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Overwrite the report's file
    #[arg(long, requires = "report")]
    force: bool,
}

pub(super) async fn host(command: Command, source: Source, paths: Paths) -> anyhow::Result<Exit> {
    match command {
        Command::Install(arguments) => install(&arguments, &Settings::load(&source)?, &paths).await,
        Command::Uninstall(arguments) => uninstall::uninstall(&arguments, &paths).await,
        Command::Check(arguments) => check::check(&arguments, &source, &paths).await,
    }
}
