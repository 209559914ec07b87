//! The agent's own folders in bad states: what could not be put back is not
//! changed, and the rest of the work is done.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, Setup};
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
