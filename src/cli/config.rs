//! `wslmesh config`

use clap::Subcommand;

use super::{
    output::{Exit, print},
    style,
};
use crate::config::{Settings, Source};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the configuration is right, and where it is not
    Check,
    /// Print the settings in force, defaults included
    Show,
}

pub(super) fn config(command: Command, source: &Source) -> anyhow::Result<Exit> {
    let settings = Settings::load(source)?;
    match command {
        Command::Show => print(settings.to_string().trim_end())?,
        Command::Check if settings.files.is_empty() => {
            print("no configuration file: the defaults are in force")?
        }
        Command::Check => {
            for file in &settings.files {
                print(&format!("{}: {}", file.display(), style::good("fine")))?;
            }
        }
    }
    Ok(Exit::Fine)
}
