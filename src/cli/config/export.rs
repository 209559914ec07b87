//! `wslmesh config export`

use std::path::PathBuf;

use clap::Args;

use super::super::{
    output::{Exit, print, prose, write_error},
    style,
};
use crate::config::{Export as Exported, Settings, Source};

/// For the end of the help.
pub(super) const EXAMPLES: &str = "Examples:
  wslmesh config export --instance Debian
  wslmesh config export --instance Debian /mnt/c/WSL2Service/wsl2-config.json

Exit status: 0 exported, 1 failed, 3 exported but for forwards that
wsl2-port-mapper cannot have.";

#[derive(Debug, Args)]
pub(in super::super) struct Export {
    /// The wsl2-config.json to complete or make [default: print one]
    file: Option<PathBuf>,
    /// The instance of forwards that were not imported [default: this distribution, by $WSL_DISTRO_NAME, which sudo takes away]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Print what would be in the file and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn export(arguments: &Export, source: &Source) -> anyhow::Result<Exit> {
    let settings = Settings::load(source)?;
    let own = arguments.instance.clone();
    let own = own.or_else(|| std::env::var("WSL_DISTRO_NAME").ok());
    let mut forwards = settings.forwards.iter();
    let needed = forwards.any(|forward| forward.remarks.instance.is_none());
    let own = match own {
        Some(own) => own,
        None if needed => anyhow::bail!(
            "the name of this distribution is not known here: name it with --instance NAME (wsl.exe --list shows it)"
        ),
        None => String::new(),
    };
    let export = Exported::of(&settings, arguments.file.as_deref(), &own)?;
    let left_out = export.left_out.iter();
    let left_out = left_out.map(|sentence| {
        let text = prose(&format!("left out: {sentence}"));
        text.replacen("left out", &style::dim("left out"), 1)
    });
    let exit = Exit::unless(!export.left_out.is_empty());
    let Some(file) = arguments.file.as_ref().filter(|_| !arguments.dry_run) else {
        print(export.text.trim_end())?;
        // The file's text alone goes to standard output.
        left_out.for_each(|line| write_error(&format!("{line}\n")));
        return Ok(exit);
    };
    let written = export.write(file)?;
    for line in export
        .set
        .iter()
        .map(|sentence| prose(sentence))
        .chain(left_out)
    {
        print(&line)?;
    }
    let said = if written {
        "written"
    } else {
        "already has all"
    };
    print(&format!("{said}: {}", file.display()))?;
    Ok(exit)
}
