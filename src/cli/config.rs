//! `wslmesh config`

mod export;
mod import;

use clap::Subcommand;

use super::{
    output::{Exit, print},
    style,
};
use crate::{
    config::{Settings, Source},
    paths::Paths,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the configuration; list every error with file, line, key and fix
    Check,
    /// Print the settings in force, defaults included
    Show,
    /// Take over the forwards of wsl2-port-mapper, from its wsl2-config.json
    ///
    /// Writes 50-imported.toml beside the configuration: a forward for each port of
    /// this distribution's instance and of active-wsl-instance. A port without a
    /// firewall there gets firewall = "none" here.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
    /// Write the forwards as a wsl2-config.json of wsl2-port-mapper
    ///
    /// A file that exists is completed: what it has of other distributions, comments and
    /// keys that wsl2-port-mapper ignores stay. Nothing is removed from it.
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),
}

pub(super) async fn config(command: Command, source: Source, paths: Paths) -> anyhow::Result<Exit> {
    match command {
        Command::Import(arguments) => return import::import(&arguments, &source, &paths).await,
        Command::Export(arguments) => return export::export(&arguments, &source),
        Command::Show => print(Settings::load(&source)?.to_string().trim_end())?,
        Command::Check => {
            let files = Settings::load(&source)?.files;
            if files.is_empty() {
                print("no configuration file: the defaults are in force")?;
            }
            for file in files {
                print(&format!("{}: {}", file.display(), style::good("fine")))?;
            }
        }
    }
    Ok(Exit::Fine)
}
