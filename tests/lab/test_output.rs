//! What every command has in common: where its words go, how wide they are, what
//! happens when they cannot be written, and how it ends.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, LIMIT, PROXY};
use crate::control::Status;
use crate::options::{AGENT, Options};
use crate::process::Output;
use crate::runner::trial_with;
use crate::setup::{OPEN, others, policy, proxied};
use crate::topology::FIRST;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("output::of_every_command", of_every_command),
        quick("output::help", help),
        quick("output::misuse", misuse),
        quick("output::interrupted_at_a_question", interrupted),
    ]
}

/// The default width of a terminal.
const WIDTH: usize = 80;

/// Commands beside an agent that has findings, and how each ends.
pub(crate) const BESIDE: [(&str, i32); 28] = [
    ("status", 3),
    ("status --json", 3),
    ("doctor", 3),
    ("doctor --json", 3),
    ("port 2222", 0),
    ("port 8080 --json", 3),
    ("port 2222 --host 127.0.0.1", 3),
    ("forward list", 0),
    ("forward list --json", 0),
    ("forward remove nothing", 1),
    ("forward add ssh --protocol tcp --listen-port 9", 1),
    ("config check", 0),
    ("config show", 0),
    ("--config /run/lab/none.toml config check", 1),
    ("--config /run/lab/bad.toml config check", 1),
    ("plan", 0),
    ("apply", 1),
    ("restore", 1),
    ("host check", 0),
    ("host check --json", 0),
    ("host install --dry-run", 0),
    ("host uninstall --dry-run", 0),
    (
        "config import --dry-run --instance dev /run/lab/wsl2.json",
        3,
    ),
    ("config import /run/lab/wsl2.json", 1),
    ("config export --instance dev", 0),
    ("config export /run/lab/wsl2.json", 1),
    ("completions bash", 0),
    ("--version", 0),
];
/// Another tool's file, with a port that is ours already and leads elsewhere.
pub(crate) const OTHERS: &str = r#"{"instances": [{"name": "Dev", "ports": [
    {"port": 2222, "internal_port": 23, "comment": "telnet, which is obsolete for many years now, and certainly not from outside"},
    {"port": 8080, "firewall": "full"}]}, {"name": "Other", "ports": []}]}"#;

/// A world where the commands have something to say: a forward that Windows has,
/// others' rules, and a parameter that this kernel has not.
pub(crate) fn prepare(world: &World) -> Result<String> {
    others(world)?;
    world.add_tunnel("wg0")?;
    let grants = vec![proxied((2222, 2222), (22, 22))];
    world.windows().install(&policy(grants))?;
    world.write("/run/lab/bad.toml", "[mtu]\nvalue = 1\n")?;
    world.write("/run/lab/wsl2.json", OTHERS)?;
    let text = format!("{PROXY}{OPEN}[sysctl]\n\"net.ipv4.tcp_keepalive_probes\" = \"many\"\n");
    world.write(CONFIG, &text)?;
    Ok(text)
}

fn of_every_command(world: &World) -> Result<()> {
    let config = prepare(world)?;
    disciplined(world, "status", 1)?;
    // The first of a kind changes the world, the second finds nothing to do.
    for (command, code) in [("apply", 3), ("restore", 0)] {
        plain(world, command, code)?;
        disciplined(world, command, code)?;
    }
    let agent = world.start_agent(&config)?;
    agent.wait("its forward", |status| {
        status
            .address
            .is_some_and(|address| address.to_string() == FIRST)
            && status.forwards.is_some()
            && status.finding("sysctl-refused").is_some()
    })?;
    for (command, code) in BESIDE {
        disciplined(world, command, code)?;
    }
    agent.stop()
}

/// `wslmesh --config CONFIG COMMAND` in `sh`, with its output led somewhere.
pub(crate) fn shell(world: &World, command: &str, script: &str) -> Result<Output> {
    let config = if command.starts_with("--") {
        ""
    } else {
        "--config /etc/wslmesh/wslmesh.toml"
    };
    let script = script.replace("WSLMESH", &format!("{AGENT} {config} {command}"));
    world.guest(&["sh", "-c", &script])
}

/// Holds one command to the rules of a pipe.
fn plain(world: &World, command: &str, code: i32) -> Result<Output> {
    let plain = shell(world, command, "WSLMESH")?;
    ensure!(plain.status == Status::Code(code), "{command}: {plain:?}");
    ensure!(code == 1 || plain.stderr.is_empty(), "{command}: {plain:?}");
    ensure!(
        code != 1 || plain.stderr.starts_with("wslmesh: "),
        "{command}: {plain:?}"
    );
    ensure!(
        !plain.stdout.contains('\x1b') && !plain.stderr.contains('\x1b'),
        "{command}: {plain:?}"
    );
    ensure!(
        plain.stdout.is_empty() || plain.stdout.ends_with('\n'),
        "{command}: {plain:?}"
    );
    Ok(plain)
}

/// Holds one command to the rules, whatever it is led to.
fn disciplined(world: &World, command: &str, code: i32) -> Result<()> {
    let plain = plain(world, command, code)?;

    // A pipe whose reader has closed it.
    let gone = "p=/run/lab/fifo; rm -f $p; mkfifo $p; exec 3<>$p 4>$p 3<&-; WSLMESH >&4";
    let gone = shell(world, command, gone)?;
    ensure!(
        gone.status == plain.status && gone.stderr == plain.stderr,
        "{command} into a closed pipe: {gone:?}"
    );
    // Files that it opens must not become its output.
    let closed = shell(world, command, "WSLMESH >&-")?;
    ensure!(
        closed.status == plain.status && closed.stderr == plain.stderr,
        "{command} without an output: {closed:?}"
    );
    let both = shell(world, command, "WSLMESH >&- 2>&- <&-")?;
    ensure!(
        both.status == plain.status,
        "{command} with nothing: {both:?}"
    );
    let full = shell(world, command, "WSLMESH >/dev/full")?;
    let expected = if plain.stdout.is_empty() {
        plain.stderr.as_str()
    } else {
        "cannot write to standard output: "
    };
    ensure!(
        full.status == Status::Code(1) && full.stderr.contains(expected),
        "{command} to a full disk: {full:?}"
    );
    // On a terminal, with NO_COLOR, and on one without colours.
    let mut lines = 0;
    for environment in ["NO_COLOR=1 TERM=xterm", "TERM=dumb"] {
        let shown = terminal(world, command, environment)?;
        ensure!(
            shown.status == plain.status && !shown.stdout.contains('\x1b'),
            "{command}, {environment}: {shown:?}"
        );
        let wide = too_wide(&shown.stdout);
        // JSON and completions are for programs.
        let for_programs = command.ends_with("--json") || command == "completions bash";
        ensure!(wide.is_empty() || for_programs, "{command}: {wide:#?}");
        lines = shown.stdout.lines().count();
    }
    // Colours change nothing but the colour.
    let shown = terminal(world, command, "NO_COLOR= TERM=xterm")?;
    ensure!(
        uncoloured(&shown.stdout)?.lines().count() == lines,
        "{command}: {shown:?}"
    );
    if (command, code) == ("apply", 3) {
        ensure!(
            shown.stdout.contains("\x1b[33mwarning\x1b[0m: "),
            "{command}: {shown:?}"
        );
    }
    Ok(())
}

/// Lines wider than a terminal that no word forces to be: a path or an address of
/// Windows may be long, prose may not.
fn too_wide(text: &str) -> Vec<&str> {
    let long_word = |line: &str| {
        line.split_whitespace()
            .any(|word| word.chars().count() > WIDTH / 2)
    };
    let lines = text.lines();
    lines
        .filter(|line| line.chars().count() > WIDTH && !long_word(line))
        // An error is one line, so that grep finds it.
        .filter(|line| !line.starts_with("wslmesh: "))
        .collect()
}

pub(crate) fn terminal(world: &World, command: &str, environment: &str) -> Result<Output> {
    shell(
        world,
        command,
        &format!("env {environment} script -qec 'WSLMESH' /dev/null </dev/null"),
    )
}

/// A text without its colours; an escape sequence of another kind is an error.
fn uncoloured(text: &str) -> Result<String> {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sgr, rest) = part
            .split_once('m')
            .context("an escape sequence that is no colour")?;
        ensure!(
            ["0", "1", "2", "31", "32", "33"].contains(&sgr),
            "SGR {sgr:?}"
        );
        plain.push_str(rest);
    }
    ensure!(!plain.contains('\x1b'), "{text:?}");
    Ok(plain)
}

/// Every command of the program, as its help lists them.
fn commands(world: &World, above: &str, into: &mut Vec<String>) -> Result<()> {
    let help = shell(world, &format!("{above} --help"), "WSLMESH")?.ok()?;
    let mut inside = false;
    for line in help.lines() {
        let name = line
            .strip_prefix("  ")
            .and_then(|line| line.split(' ').next());
        match name {
            _ if line == "Commands:" => inside = true,
            _ if line.is_empty() => inside = false,
            Some(name) if inside && !name.is_empty() && name != "help" => {
                let command = format!("{above} {name}").trim_start().to_owned();
                into.push(command.clone());
                commands(world, &command, into)?;
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

fn help(world: &World) -> Result<()> {
    let mut all = vec![String::new()];
    commands(world, "", &mut all)?;
    ensure!(
        all.len() >= 14 && all.iter().any(|one| one == "host check"),
        "{all:?}"
    );
    for command in &all {
        let help = format!("{command} --help");
        let text = shell(world, &help, "WSLMESH")?.ok()?;
        let first = text.lines().next().unwrap_or_default();
        ensure!(
            first.chars().count() > 12 && !first.starts_with("Usage"),
            "{command:?} says nothing of itself:\n{text}"
        );
        ensure!(
            text.contains(&format!("\nUsage: wslmesh {command}").trim_end().to_owned()),
            "{text}"
        );
        disciplined(world, help.trim_start(), 0)?;
    }
    Ok(())
}

/// Wrong calls: what the message must name.
const MISUSE: [(&str, &[&str]); 9] = [
    ("", &["Commands:"]),
    ("config", &["Commands:"]),
    ("statsu", &["statsu", "'status'"]),
    ("forward ad", &["'add'"]),
    ("run --no-such", &["--no-such"]),
    ("status --jsn", &["--jsn", "'--json'"]),
    ("status x", &["'x'"]),
    ("forward add web", &["--protocol", "--listen-port"]),
    (
        "forward add web --protocol tcp --listen-port 65536",
        &["65536", "--listen-port"],
    ),
];

fn misuse(world: &World) -> Result<()> {
    for (command, words) in MISUSE {
        let output = world.guest(&["sh", "-c", &format!("{AGENT} {command}")])?;
        ensure!(
            output.status == Status::Code(2)
                && output.stdout.is_empty()
                && (output.stderr.contains("Usage: wslmesh")
                    || output.stderr.contains("try '--help'")),
            "{command}: {output:?}"
        );
        for word in words {
            ensure!(
                output.stderr.contains(word),
                "{command}: no {word:?} in {}",
                output.stderr
            );
        }
        let silent = world.guest(&["sh", "-c", &format!("{AGENT} {command} 2>/dev/full")])?;
        ensure!(silent.status == Status::Code(2), "{command}: {silent:?}");
    }
    let version = world.guest(&[AGENT, "--version"])?.ok()?;
    ensure!(
        version == format!("wslmesh {}\n", env!("CARGO_PKG_VERSION")),
        "{version}"
    );
    Ok(())
}

/// SIGINT ends a command that asks, and leaves the terminal and Windows alone.
fn interrupted(world: &World) -> Result<()> {
    others(world)?;
    world.write(CONFIG, OPEN)?;
    // A terminal without input; end of file would be an answer.
    let inner = format!(
        "stty -g >/run/lab/before; trap : INT; \
         sh -c 'echo $$ >/run/lab/pid; exec {AGENT} --config {CONFIG} host install'; \
         echo $? >/run/lab/code; stty -g >/run/lab/after"
    );
    world.write("/run/lab/inner", &inner)?;
    let outer = "mkfifo /run/lab/keys; exec 3<>/run/lab/keys; exec env --default-signal=INT TERM=xterm script -qec 'sh /run/lab/inner' /dev/null <&3";
    let process = world.spawn_guest(&["sh", "-ec", outer], &[])?;
    until("the question", LIMIT, || {
        Ok(process.stdout()?.contains("[y/N]").then_some(()))
    })?;
    world.shell("kill -INT $(cat /run/lab/pid)")?;
    process.finish(LIMIT)?;
    let (before, after) = (
        world.read("/run/lab/before")?,
        world.read("/run/lab/after")?,
    );
    ensure!(
        world.read("/run/lab/code")? == "130\n" && before == after,
        "{before:?} {after:?}"
    );
    ensure!(
        world
            .windows()
            .view()?
            .machine
            .policy(crate::double::machine::ME)
            .is_none()
    );
    Ok(())
}
