//! The agent's own folders and the files that it reads in bad states: what could not be
//! put back is not changed, and the rest of the work is done.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, CONFIG, FILE, LIMIT, SSH, Setup, config};
use crate::control::Status;
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::topology::{FIRST, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("folders::state_read_only", state_read_only),
        quick("folders::state_damaged", state_damaged),
        quick("folders::runtime_full", runtime_full),
        quick("folders::runtime_missing", runtime_missing),
        quick("folders::one_file_is_a_pipe", one_file_is_a_pipe),
        quick("folders::no_file_is_a_file", no_file_is_a_file),
    ]
}

/// Starts the agent with one of systemd's folders elsewhere.
fn start_with<'w>(world: &'w World, folder: (&str, &str)) -> Result<Agent<'w>> {
    let setup = Setup {
        env: &[folder],
        ..Setup::default()
    };
    world.start_agent_with("", &setup)
}

/// Whether the agent has left the parameter and the tunnel's MTU alone.
fn untouched(world: &World) -> Result<bool> {
    let time = world.sysctl("net.ipv4.tcp_keepalive_time")?;
    Ok(time == "7200" && world.mtu("wg9")? == 1500)
}

fn waits_for_its_state(world: &World, agent: &Agent, said: &str) -> Result<()> {
    let status = agent.wait("state-unwritable", |status| {
        status.finding("state-unwritable").is_some()
    })?;
    ensure!(
        status
            .problems()
            .iter()
            .all(|code| *code == "state-unwritable"),
        "{status:?}"
    );
    let all = &status.health;
    ensure!(all.iter().any(|one| one.detail.contains(said)), "{all:?}");
    ensure!(
        agent.log()?.contains("Make the state directory writable"),
        "{}",
        agent.log()?
    );
    // The main work goes on.
    agent.has_written(FIRST)?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    ensure!(untouched(world)?, "changed what cannot be put back");
    Ok(())
}

/// Above what could be made: the folder of the folder is read-only.
fn state_read_only(world: &World) -> Result<()> {
    world.add_tunnel("wg9")?;
    let state = "/var/lib/sealed/wslmesh";
    world.shell(
        "mkdir -p /var/lib/sealed && mount --bind /var/lib/sealed /var/lib/sealed \
         && mount -o remount,bind,ro /var/lib/sealed",
    )?;
    let agent = start_with(world, ("STATE_DIRECTORY", state))?;
    waits_for_its_state(
        world,
        &agent,
        "cannot create the state directory /var/lib/sealed/wslmesh",
    )?;
    world.shell("umount /var/lib/sealed")?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    until("the parameters", LIMIT, || {
        Ok((!untouched(world)?).then_some(()))
    })?;
    let saved = world.read(format!("{state}/saved.json"))?;
    ensure!(saved.contains("\"before\": \"7200\""), "{saved}");
    agent.stop()
}

fn state_damaged(world: &World) -> Result<()> {
    world.add_tunnel("wg9")?;
    let damaged = "{\"boot\":\"x\",\"sysctl\":{";
    world.write("/var/lib/wslmesh/saved.json", damaged)?;
    let agent = world.start_agent("")?;
    let said = agent.says("saved.json is damaged")?;
    let aside = "/var/lib/wslmesh/saved.json.damaged.1";
    ensure!(
        said.contains(aside) && world.read(aside)? == damaged,
        "{said}"
    );
    agent.healthy()?;
    ensure!(world.mtu("wg9")? == 1280);
    let saved = world.read("/var/lib/wslmesh/saved.json")?;
    ensure!(saved.contains("\"before\": \"7200\""), "{saved}");
    agent.stop()
}

/// A full /run is said, and is not the end of anything else.
fn runtime_full(world: &World) -> Result<()> {
    world.shell(
        "mkdir /run/full && mount -t tmpfs -o size=16k,mode=755 lab /run/full \
         && ! head -c 1M /dev/zero >/run/full/fill",
    )?;
    let agent = start_with(world, ("RUNTIME_DIRECTORY", "/run/full"))?;
    let said = agent.says("status-unwritable")?;
    ensure!(
        said.contains("no space left")
            && said.contains("(os error 28)")
            && said.contains("df /run"),
        "{said}"
    );
    agent.has_written(FIRST)?;
    world.shell("rm /run/full/fill")?;
    agent.process().signal(HUP)?;
    agent.says("status-unwritable cleared")?;
    // The line comes before the document that says the same.
    until("a document without it", LIMIT, || {
        let status = world.read("/run/full/status.json")?;
        Ok((!status.contains("status-unwritable")).then_some(()))
    })?;
    agent.stop()
}

fn runtime_missing(world: &World) -> Result<()> {
    // Not there, and not to be made: the lab's /usr is read-only.
    let agent = start_with(world, ("RUNTIME_DIRECTORY", "/usr/not/there"))?;
    for address in [SECOND, FIRST, SECOND] {
        world.change_address(&format!("{address}/20"))?;
        agent.has_written(address)?;
    }
    let log = agent.log()?;
    ensure!(
        log.matches("warning: status-unwritable: ").count() == 1,
        "{log}"
    );
    ensure!(!world.path("/usr/not").exists());
    agent.stop()
}

/// What commands and the agent read, and what a command says where one of them is no file.
const FILES: &[(&str, &str, &str)] = &[
    (CONFIG, "config check", "is not a regular file"),
    (
        "/etc/wslmesh/wslmesh.toml.d/1.toml",
        "config check",
        "is not a regular file",
    ),
    (FILE, "plan", "no regular file"),
    (
        "/etc/wsl.conf",
        "doctor",
        "/etc/wsl.conf cannot be read: not a regular file",
    ),
    ("/etc/resolv.conf", "doctor", "and not a regular file"),
    ("/etc/crontab", "doctor", ""),
    ("/etc/localtime", "status", ""),
    ("/etc/wireguard/lab.conf", "doctor", ""),
    ("/mnt/c/Users/lab/.wslconfig", "doctor", ""),
    ("/opt/wslmesh/lib/windows/wslmesh-relay.exe", "doctor", ""),
    ("/run/wslmesh/relay-sessions.json", "status", ""),
    ("/run/wslmesh/status.json", "status", "not a regular file"),
    ("/var/lib/wslmesh/saved.json", "restore", "no regular file"),
];

/// What is put in a file's place.
type Place = fn(&Path) -> Result<()>;

fn pipe(at: &Path) -> Result<()> {
    Ok(rustix::fs::mkfifoat(rustix::fs::CWD, at, 0o600.into())?)
}

fn put(world: &World, file: &str, place: Place) -> Result<()> {
    let at = world.path(file);
    if let Err(error) = fs::remove_file(&at)
        && at.is_dir()
    {
        fs::remove_dir(&at).with_context(|| format!("{file}: {error}"))?;
    }
    fs::create_dir_all(at.parent().context("no parent folder")?)?;
    place(&at)
}

/// Every command that only reads ends within 3 s; a machine that is busy with other
/// things gets three tries.
fn commands_end(world: &World, why: &str) -> Result<()> {
    const MOST: Duration = Duration::from_secs(3);
    let commands = [
        "plan",
        "doctor --all",
        "status",
        "config check",
        "config show",
    ];
    let run = |command: &&str| {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend(["--config", CONFIG]);
        world.agent(&words)
    };
    let mut took = Duration::ZERO;
    for _ in 0..3 {
        let begun = Instant::now();
        let running = commands.iter().map(run).collect::<Result<Vec<_>>>()?;
        for (process, command) in running.iter().zip(commands) {
            let output = process.finish(LIMIT);
            let output = output.with_context(|| format!("{command}: {why}"))?;
            let ended = matches!(output.status, Status::Code(0..=4));
            ensure!(ended, "{command}: {why}: {output:?}");
        }
        took = begun.elapsed();
        if took < MOST {
            return Ok(());
        }
    }
    bail!("{why}: {took:?}")
}

fn one_file_is_a_pipe(world: &World) -> Result<()> {
    let good = |file: &str| match file {
        CONFIG => config(SSH),
        _ => String::new(),
    };
    for (file, ..) in FILES {
        put(world, file, |_| Ok(()))?;
        world.write(file, good(file))?;
    }
    commands_end(world, "all are files")?;
    for (file, command, said) in FILES {
        put(world, file, pipe)?;
        commands_end(world, file)?;
        let words: Vec<&str> = command.split(' ').chain(["--config", CONFIG]).collect();
        let output = world.wslmesh(&words)?;
        let text = format!("{}{}", output.stdout, output.stderr);
        // Without the ends of lines.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(text.contains(said), "{file}: {output:?}");
        put(world, file, |_| Ok(()))?;
        world.write(file, good(file))?;
    }
    Ok(())
}

fn no_file_is_a_file(world: &World) -> Result<()> {
    let places: [(&str, Place); 4] = [
        ("pipes", pipe),
        ("sockets", |at| Ok(UnixListener::bind(at).map(drop)?)),
        ("folders", |at| Ok(fs::create_dir(at)?)),
        ("devices", |at| Ok(symlink("/dev/zero", at)?)),
    ];
    for (name, place) in places {
        for (file, ..) in FILES {
            put(world, file, |_| Ok(()))?;
        }
        world.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")?;
        world.change_address(&format!("{FIRST}/20"))?;
        let agent = world.start_agent(&config(SSH))?;
        agent.settled(FIRST)?;
        for (file, ..) in FILES {
            put(world, file, place)?;
        }
        // It keeps its configuration, and goes on with what does not need the files.
        agent.process().signal(HUP)?;
        agent.says("config-rejected")?;
        world.change_address(&format!("{SECOND}/20"))?;
        world.forwards(&[(2222, SECOND, 22)])?;
        commands_end(world, name)?;
        agent.stop_within(Duration::from_secs(3))?;
        commands_end(world, name)?;
        // It says what is wrong, and does not start.
        let output = world.wslmesh(&["run", "--config", CONFIG])?;
        ensure!(
            output.status == Status::Code(78) && output.stderr.contains("not a regular file"),
            "{name}: {output:?}"
        );
    }
    Ok(())
}
