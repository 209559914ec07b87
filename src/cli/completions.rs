//! `wslmesh completions`

use clap::{
    Command, CommandFactory,
    builder::{PossibleValuesParser, TypedValueParser},
};
pub(super) use clap_complete::aot::Shell;
use clap_complete::aot::generate;

use super::{
    Arguments,
    output::{Exit, print},
};
use crate::interop::WslFile;

/// Shown after the help.
pub(super) const EXAMPLES: &str = "Examples:
  wslmesh completions bash >~/.local/share/bash-completion/completions/wslmesh
  wslmesh completions fish >~/.config/fish/completions/wslmesh.fish
  wslmesh completions zsh >/usr/local/share/zsh/site-functions/_wslmesh";

/// The shells that the packages install completions for.
pub(super) fn shells() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(["bash", "zsh", "fish"]).try_map(|name| name.parse::<Shell>())
}

const FILES: [WslFile; 2] = [WslFile::Config, WslFile::Conf];

/// The keys for fish, for which clap_complete leaves out values without an option.
fn fish_keys(file: WslFile) -> String {
    let keys: Vec<&str> = file.keys().iter().map(|key| key.name).collect();
    let (command, keys) = (file.command(), keys.join(" "));
    format!(
        "complete -c wslmesh -n \"__fish_wslmesh_using_subcommand {command}; and __fish_seen_subcommand_from set\" -f -a \"{keys}\"\n"
    )
}

/// The command line, with the keys of WSL's files as values: a key that is none gets an
/// error of its own, which names the likely meant one.
fn with_keys() -> Command {
    FILES.into_iter().fold(Arguments::command(), |all, file| {
        let keys = PossibleValuesParser::new(file.keys().iter().map(|key| key.name));
        let set = |set: Command| set.mut_arg("key", |key| key.value_parser(keys));
        all.mut_subcommand(file.command(), |one| one.mut_subcommand("set", set))
    })
}

pub(super) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    // In memory: the generator panics on a closed pipe.
    let mut text = Vec::new();
    generate(shell, &mut with_keys(), "wslmesh", &mut text);
    let mut text = String::from_utf8(text)?;
    if shell == Shell::Fish {
        text.extend(FILES.map(fish_keys));
    }
    print(text.trim_end())?;
    Ok(Exit::Fine)
}
