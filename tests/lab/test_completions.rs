//! Completions in the shells that they are for.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::launch::Unavailable;
use crate::options::{AGENT, Options};
use crate::runner::trial_with;
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("completions::bash", bash),
        quick("completions::zsh", zsh),
        quick("completions::fish", fish),
    ]
}

/// What a person has typed, the last word being begun, and what must be offered.
const ASKED: [(&str, &[&str]); 10] = [
    ("wslmesh sta", &["status"]),
    (
        "wslmesh ",
        &[
            "run",
            "plan",
            "apply",
            "restore",
            "status",
            "forward",
            "host",
            "config",
            "wslconfig",
            "wslconf",
            "completions",
        ],
    ),
    ("wslmesh forward ", &["add", "remove", "list"]),
    ("wslmesh forward add web --fire", &["--firewall"]),
    (
        "wslmesh forward add web --firewall ",
        &["none", "local", "full"],
    ),
    ("wslmesh completions f", &["fish"]),
    ("wslmesh --conf", &["--config"]),
    ("wslmesh wslconf ", &["check", "show", "set", "rollback"]),
    ("wslmesh wslconfig set wsl2.net", &["wsl2.networkingMode"]),
    ("wslmesh wslconf set boot.s", &["boot.systemd"]),
];

/// Has the shell read its completions in a world where they are installed.
fn ready(world: &World, shell: &str, file: &str) -> Result<()> {
    if !world
        .guest(&["sh", "-c", &format!("command -v {shell}")])?
        .success()
    {
        return Err(Unavailable(format!("there is no {shell} here: tools/setup.sh shells")).into());
    }
    world.shell(&format!("{AGENT} completions {shell} >{file}"))?;
    world.shell(&format!("ln -s {AGENT} /run/lab/wslmesh"))?;
    Ok(())
}

fn offered(asked: &str, wanted: &[&str], said: &str) -> Result<()> {
    // zsh and fish explain each one behind a tab.
    let words: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split('\t').next())
        .map(str::trim)
        .collect();
    for word in wanted {
        ensure!(words.contains(word), "{asked:?}: no {word:?} in {said:?}");
    }
    ensure!(
        !asked.ends_with("sta") || !words.contains(&"plan"),
        "{asked:?}: {said:?}"
    );
    Ok(())
}

fn bash(world: &World) -> Result<()> {
    ready(world, "bash", "/run/lab/wslmesh.bash")?;
    world.shell("bash -n /run/lab/wslmesh.bash")?;
    // As readline calls it.
    world.write(
        "/run/lab/ask",
        "set -eu; . /run/lab/wslmesh.bash
        f=$(complete -p wslmesh | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p'); set +eu
        COMP_LINE=$1; COMP_POINT=${#1}; read -ra COMP_WORDS <<<\"$1\"
        case $1 in *' ') COMP_WORDS+=('') ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
        \"$f\" wslmesh \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"\n",
    )?;
    for (asked, wanted) in ASKED {
        let said = world
            .guest(&["bash", "--norc", "/run/lab/ask", asked])?
            .ok()?;
        offered(asked, wanted, &said)?;
    }
    Ok(())
}

/// zsh offers in its line editor alone; what is asked is whether it takes the file
/// for the command and understands it.
fn zsh(world: &World) -> Result<()> {
    world.shell("mkdir /run/lab/functions")?;
    ready(world, "zsh", "/run/lab/functions/_wslmesh")?;
    world.shell("zsh -fn /run/lab/functions/_wslmesh")?;
    let script = "fpath=(/run/lab/functions $fpath); autoload -Uz compinit; compinit -u -D; \
        print -r -- $_comps[wslmesh]; autoload +X _wslmesh; print -r -- $functions[_wslmesh]";
    let said = world.guest(&["zsh", "-fc", script])?.ok()?;
    ensure!(said.starts_with("_wslmesh\n"), "{said}");
    for word in [
        "status",
        "forward",
        "--firewall",
        "none local full",
        "_files",
    ] {
        ensure!(said.contains(word), "no {word:?} in {said}");
    }
    Ok(())
}

fn fish(world: &World) -> Result<()> {
    ready(world, "fish", "/run/lab/wslmesh.fish")?;
    world.shell("fish --no-execute /run/lab/wslmesh.fish")?;
    for (asked, wanted) in ASKED {
        // Its completions know the values of options, not those of arguments.
        if asked.starts_with("wslmesh completions") {
            continue;
        }
        let script = format!(". /run/lab/wslmesh.fish; complete -C {asked:?}");
        let said = world.guest(&["fish", "--no-config", "-c", &script])?.ok()?;
        offered(asked, wanted, &said)?;
    }
    Ok(())
}
