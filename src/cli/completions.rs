//! `wslmesh completions`

use clap::{
    CommandFactory,
    builder::{PossibleValuesParser, TypedValueParser},
};
pub(super) use clap_complete::aot::Shell;
use clap_complete::aot::generate;

use super::{
    Arguments,
    output::{Exit, print},
};

/// Shown after the help.
pub(super) const EXAMPLES: &str = "Examples:
  wslmesh completions bash >~/.local/share/bash-completion/completions/wslmesh
  wslmesh completions fish >~/.config/fish/completions/wslmesh.fish
  wslmesh completions zsh >/usr/local/share/zsh/site-functions/_wslmesh";

/// The shells that the packages install completions for.
pub(super) fn shells() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(["bash", "zsh", "fish"]).try_map(|name| name.parse::<Shell>())
}

pub(super) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    // In memory: the generator panics on a closed pipe.
    let mut text = Vec::new();
    generate(shell, &mut Arguments::command(), "wslmesh", &mut text);
    print(String::from_utf8(text)?.trim_end())?;
    Ok(Exit::Fine)
}
