//! `wslmesh completions`

use clap::{CommandFactory, ValueEnum};
use clap_complete::aot;

use super::{
    Arguments,
    output::{Exit, print},
};

/// Shown after the help.
pub(super) const EXAMPLES: &str = "Examples:
  wslmesh completions bash >~/.local/share/bash-completion/completions/wslmesh
  wslmesh completions fish >~/.config/fish/completions/wslmesh.fish
  wslmesh completions zsh >/usr/local/share/zsh/site-functions/_wslmesh";

/// A supported shell.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    // In memory: the generator panics on a closed pipe.
    let mut text = Vec::new();
    aot::generate(shell, &mut Arguments::command(), "wslmesh", &mut text);
    print(String::from_utf8(text)?.trim_end())?;
    Ok(Exit::Fine)
}
