//! The network file while others write and read it, and while the agent is
//! killed: it is always whole, and in the end everybody has had their way.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{FILE, LIMIT, Setup};
use crate::options::Options;
use crate::process::{HUP, Process};
use crate::runner::trial_with;
use crate::topology::{FIRST, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("file_races::another_writer", another_writer),
        quick(
            "file_races::readers_see_whole_files",
            readers_see_whole_files,
        ),
        quick("file_races::killed_at_any_moment", killed_at_any_moment),
    ]
}

/// While this file exists the scripts of these trials go on. A signal would
/// leave what they have started behind, which would change something later.
const GO_ON: &str = "/run/lab/go-on";

/// Starts a script: it runs while [`GO_ON`] exists.
fn repeat<'w>(world: &'w World, body: &str) -> Result<Process<'w>> {
    world.write(GO_ON, "")?;
    let script = format!("while [ -e {GO_ON} ]; do {body}\ndone");
    world.spawn_guest(&["sh", "-ec", &script, FILE], &[])
}

/// Lets it come to its end, with all it has started.
fn end(world: &World, script: &Process) -> Result<()> {
    ensure!(
        script.wait(Duration::ZERO)?.is_none(),
        "it has ended: {}",
        script.stderr()?
    );
    std::fs::remove_file(world.path(GO_ON))?;
    script.finish(LIMIT)?.ok().map(drop)
}

/// A program that writes the same file, whole, without end, while the address
/// changes: in the end both have had their way.
fn another_writer(world: &World) -> Result<()> {
    let agent = world.start_agent("")?;
    agent.has_written(FIRST)?;
    let writer = repeat(
        world,
        "i=$((i + 1)); sed '/^THEIRS=/d' $0 > /etc/wslmesh/new; \
         echo \"THEIRS=$i\" >> /etc/wslmesh/new; mv /etc/wslmesh/new $0",
    )?;
    for round in 0..6 {
        let address = if round % 2 == 0 { SECOND } else { FIRST };
        world.change_address(&format!("{address}/20"))?;
        std::thread::sleep(Duration::from_millis(80));
    }
    end(world, &writer)?;
    // The writer may have put back an old address last; the agent gets no event.
    agent.process().signal(HUP)?;
    agent.has_written(FIRST)?;
    ensure!(
        world.read(FILE)?.contains("\nTHEIRS="),
        "their line is lost"
    );
    agent.healthy()?;
    agent.stop()
}

/// What a reader saw: address, network and gateway of one moment. The values
/// of the two moments share none of the three.
fn reader<'w>(world: &'w World) -> Result<Process<'w>> {
    let script = "while :; do ( . $0; echo \"$WSL_IP $WSL_NETWORK $WSL_GATEWAY\" ); done";
    world.spawn_guest(&["sh", "-c", script, FILE], &[])
}

const STATES: [(&str, &str); 2] = [
    ("172.28.16.5/20", "172.28.16.5 172.28.16.0/20 172.28.16.1"),
    ("10.77.0.9/16", "10.77.0.9 10.77.0.0/16 10.77.0.1"),
];

fn whole_states(seen: &str) -> Result<usize> {
    // The last line may be half written.
    let lines: Vec<&str> = seen
        .rsplit_once('\n')
        .map_or("", |(whole, _)| whole)
        .lines()
        .collect();
    for line in &lines {
        ensure!(
            STATES.iter().any(|(_, state)| state == line),
            "a mixture: {line:?}"
        );
    }
    let changes = lines
        .windows(2)
        .filter(|pair| pair.first() != pair.last())
        .count();
    Ok(changes)
}

fn flip(world: &World, round: usize) -> Result<()> {
    let (address, _) = STATES.get(round % 2).context("two states")?;
    world.change_address(address)
}

fn readers_see_whole_files(world: &World) -> Result<()> {
    let agent = world.start_agent("")?;
    agent.has_written(FIRST)?;
    let reader = reader(world)?;
    for round in 1..=10 {
        flip(world, round)?;
        let (address, state) = STATES.get(round % 2).context("two states")?;
        agent.has_written(address.split('/').next().unwrap_or_default())?;
        until("a reader of the new file", LIMIT, || {
            let seen = reader.stdout()?;
            Ok(seen.trim_end().ends_with(state).then_some(()))
        })?;
    }
    ensure!(reader.wait(Duration::ZERO)?.is_none());
    let changes = whole_states(&reader.stdout()?)?;
    ensure!(changes >= 9, "the reader saw {changes} changes only");
    ensure!(reader.stderr()?.is_empty(), "{}", reader.stderr()?);
    agent.stop()
}

/// Both addresses in turn without end, each as a new start of WSL gives it. The
/// pause lets the agent read addresses and routes of the same moment: there and
/// back between two of its questions no program could notice.
const FLIPPER: &str = "for a in 10.77.0.9/16:10.77.0.1 172.28.16.5/20:172.28.16.1; do
printf 'addr flush dev eth0\naddr add %s dev eth0\nroute add default via %s\n' ${a%:*} ${a#*:} | ip -4 -batch -
sleep 0.01
done";

/// SIGKILL at 30 moments, or more until the reader has seen changes, while the agent writes without end.
fn killed_at_any_moment(world: &World) -> Result<()> {
    // No quiet time: every event is a pass, and nearly every pass a write.
    let config = "[network]\nsettle = \"0ms\"\n";
    world.start_agent(config)?.has_written(FIRST)?;
    let reader = reader(world)?;
    let flipper = repeat(world, FLIPPER)?;
    let setup = Setup {
        early: true,
        ..Setup::default()
    };
    let mut left_behind = 0;
    let begun = Instant::now();
    let mut changes = 0;
    for round in 1_u64.. {
        if round > 30 && (changes >= 2 || begun.elapsed() > LIMIT) {
            break;
        }
        let agent = world.start_agent_with(config, &setup)?;
        // Another moment each time, 0 to 20 ms after the start, in no order; later
        // ones where the machine is too slow for a write until then.
        let latest = 20_000 * (1 + round / 30);
        std::thread::sleep(Duration::from_micros((round * 7919) % latest));
        agent.kill()?;
        left_behind = left_behind.max(temporary(world)?);
        if round >= 30 {
            changes = whole_states(&reader.stdout()?)?;
        }
    }
    end(world, &flipper)?;
    ensure!(reader.wait(Duration::ZERO)?.is_none());
    let changes = whole_states(&reader.stdout()?)?;
    ensure!(changes >= 2, "the reader saw {changes} changes only");
    ensure!(reader.stderr()?.is_empty(), "{}", reader.stderr()?);
    // As the last killed write would have left it, if none did.
    world.write("/etc/wslmesh/.wslmesh-wsl-network.conf.aB3xY9", "WSL_IP=")?;
    // A last one in peace: it converges, and its write takes the leftovers along.
    flip(world, 1)?;
    let agent = world.start_agent(config)?;
    agent.has_written("10.77.0.9")?;
    flip(world, 2)?;
    agent.has_written(FIRST)?;
    agent.healthy()?;
    until("the end of all temporary files", LIMIT, || {
        Ok((temporary(world)? == 0).then_some(()))
    })
    .with_context(|| format!("{left_behind} were seen"))?;
    agent.stop()
}

fn temporary(world: &World) -> Result<usize> {
    Ok(world
        .names("/etc/wslmesh")?
        .iter()
        .filter(|name| name.starts_with(".wslmesh-"))
        .count())
}
