//! A world with an agent to measure.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub(super) use crate::agent::{CONFIG, FILE, SSH};
use crate::options::AGENT;
use crate::process::Process;
use crate::status::Status;
use crate::world::{World, until};

/// How long anything may take before measuring is given up.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Writes the configuration and makes the folders as systemd would.
pub(super) fn prepare(world: &World, config: &str) -> Result<()> {
    ensure!(world.has_agent(), "there is no agent to measure");
    world.write(CONFIG, config)?;
    for folder in ["/run/wslmesh", "/var/lib/wslmesh"] {
        fs::create_dir_all(world.path(folder))?;
    }
    Ok(())
}

/// Starts the agent and waits until its first pass is made.
pub(super) fn start<'w>(world: &'w World, env: &[(&str, &str)]) -> Result<Process<'w>> {
    let agent = world.spawn_guest(&[AGENT, "run", "--config", CONFIG], env)?;
    let ready = || Ok((passes(world).unwrap_or(0) > 0).then_some(()));
    until("the agent's first pass", LIMIT, ready).with_context(|| {
        let said = agent.stderr().unwrap_or_default();
        format!("the agent said: {said}")
    })?;
    Ok(agent)
}

/// The status document.
pub(super) fn status(world: &World) -> Result<Status> {
    let text = world.read("/run/wslmesh/status.json")?;
    Ok(serde_json::from_str(&text)?)
}

/// How many passes the agent has made.
pub(super) fn passes(world: &World) -> Result<u64> {
    Ok(status(world)?.passes)
}

/// Waits until no pass was made for `quiet`. Returns how many there were.
pub(super) fn calm(world: &World, quiet: Duration) -> Result<u64> {
    let mut last = passes(world)?;
    let mut since = std::time::Instant::now();
    until("an agent that is calm", LIMIT, || {
        let now = passes(world)?;
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
        Ok((since.elapsed() >= quiet).then_some(now))
    })
}

/// Whether a network file states this address.
pub(super) fn states(text: &str, address: Ipv4Addr) -> bool {
    text.contains(&format!("WSL_IP=\"{address}\"\n"))
}

/// How many rules of Windows lead to this address.
pub(super) fn forwards_to(world: &World, address: Ipv4Addr) -> Result<usize> {
    let address = address.to_string();
    let leads = |target: &Option<String>| target.as_ref() == Some(&address);
    let table = world.windows().table()?;
    Ok(table.iter().filter(|r| leads(&r.connect_address)).count())
}
