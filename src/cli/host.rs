//! `wslmesh host`

mod approval;
mod check;
mod facts;
mod install;
mod redaction;
mod shown;
mod uninstall;

use clap::Subcommand;

pub(super) use self::{
    approval::{Approval, approval},
    install::{Install, install},
    shown::{print_block, reloaded},
};
use super::output::Exit;
use crate::{
    config::{Settings, Source},
    paths::Paths,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Have Windows' administrator approve the configured forwards, once
    ///
    /// Shows the policy and asks. Windows then asks for administrator rights, and an
    /// elevated window shows the policy again and asks for the word yes. Afterwards
    /// forwards within the policy need no prompt.
    Install(Install),
    /// Remove everything that `host install` and the agent made on Windows
    Uninstall(uninstall::Uninstall),
    /// Examine the Windows side, changing nothing
    #[command(
        after_help = "Exit status: 0 nothing differs, 1 Windows could not be asked, 3 something differs."
    )]
    Check(check::Check),
}

pub(super) async fn host(command: Command, source: Source, paths: Paths) -> anyhow::Result<Exit> {
    match command {
        Command::Install(arguments) => install(&arguments, &Settings::load(&source)?, &paths).await,
        Command::Uninstall(arguments) => uninstall::uninstall(&arguments, &paths).await,
        Command::Check(arguments) => check::check(&arguments, &source, &paths).await,
    }
}
