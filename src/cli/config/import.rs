//! `wslmesh config import`

use std::path::PathBuf;

use clap::Args;

use super::super::{
    host::reloaded,
    output::{Exit, print, prose},
    style,
};
use crate::{
    config::{self, Source, Wanted},
    control::reload_of,
    paths::Paths,
};

/// For the end of the help.
pub(super) const EXAMPLES: &str = "Examples:
  wslmesh config import --dry-run /mnt/c/WSL2Service/wsl2-config.json
  sudo wslmesh config import --instance Debian wsl2-config.json

Exit status: 0 imported, 1 failed, 3 imported, but a port that is configured
already leads elsewhere.";

#[derive(Debug, Args)]
pub(in super::super) struct Import {
    /// The wsl2-config.json
    file: PathBuf,
    /// Import this instance [default: this distribution's, by $WSL_DISTRO_NAME, which sudo takes away]
    #[arg(long, value_name = "NAME")]
    instance: Vec<String>,
    /// Print the drop-in and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the drop-in into this folder instead
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Overwrite an earlier import
    #[arg(long)]
    force: bool,
}

pub(super) async fn import(
    arguments: &Import,
    source: &Source,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    let distribution = std::env::var("WSL_DISTRO_NAME").ok();
    let wanted = Wanted {
        instances: &arguments.instance,
        distribution: distribution.as_deref(),
    };
    let folder = arguments.output.as_deref();
    let import = config::Import::of(&arguments.file, source, folder, &wanted)?;
    let exit = Exit::unless(import.conflicts);
    if arguments.dry_run {
        print(import.text.trim_end())?;
        return Ok(exit);
    }
    let written = import.write(arguments.force)?;
    for sentence in &import.taken {
        print(&prose(sentence))?;
    }
    for sentence in &import.left_out {
        let text = prose(&format!("left out: {sentence}"));
        print(&text.replacen("left out", &style::dim("left out"), 1))?;
    }
    if !written {
        print(&format!("{} already has it", import.path.display()))?;
        return Ok(exit);
    }
    print(&format!("written: {}", import.path.display()))?;
    if arguments.output.is_some() {
        return Ok(exit);
    }
    let reloaded = reloaded(&reload_of(source, paths).await)?;
    Ok(exit.or(reloaded))
}
