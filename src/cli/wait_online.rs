//! `wslmesh wait-online`

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::Args;
use tokio::{
    select,
    time::{self, sleep},
};

use super::output::{Exit, print, prose};
use crate::{
    backoff::until,
    config::{Settings, Source},
    control::{Client, Subscription, agent_pid},
    model::{DeviceReading, HostMemory, InterfaceName, ModeState, Observation, Patterns},
    netlink::{Netlink, Watch},
    observe::{self, Devices, expected_tunnels, now_unix},
    paths::Paths,
    plan::{Online, online, silent_peers},
    report::read_status,
    wireguard::send_into,
};

/// Between a change of the network and the look at it, which more changes may follow.
const SETTLE: Duration = Duration::from_millis(50);
/// No event tells of a handshake: it is looked for after this time, and then after twice the
/// time before.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// As long as WireGuard waits for an answer (REKEY_TIMEOUT of its paper, section 6.1).
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Most peers of a device that are sent a packet.
const PEERS: usize = 64;

/// In the help.
pub(super) const EXAMPLES: &str = "Exit status: 0 online, 1 not online in time, or a failure, 2 usage error.\nExample: wslmesh wait-online --interface wg0 --timeout 30";

/// Wait until the node has an address and its tunnels can be used
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Wait for this tunnel, instead of those that are configured; may be repeated
    #[arg(short, long = "interface", value_name = "NAME", value_parser = interface)]
    interfaces: Vec<InterfaceName>,
    /// One tunnel that can be used is enough
    #[arg(long)]
    any: bool,
    /// Longest wait in seconds; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u32,
    /// Print nothing: the exit status tells
    #[arg(short, long)]
    quiet: bool,
}

fn interface(text: &str) -> Result<InterfaceName, &'static str> {
    InterfaceName::new(text).ok_or("an interface's name has at most 15 characters, such as wg0")
}

pub(super) async fn wait_online(
    command: Command,
    source: Source,
    paths: Paths,
) -> anyhow::Result<Exit> {
    let begin = Instant::now();
    let limit = Duration::from_secs(command.timeout.into());
    let deadline = (command.timeout > 0).then(|| begin + limit);
    let settings = Settings::load(&source)?;
    let tunnels = match command.interfaces.is_empty() {
        true => expected_tunnels(Path::new("/"), &settings),
        false => {
            let named = command.interfaces.iter().cloned();
            named.map(|name| (name, "--interface".to_owned())).collect()
        }
    };
    let mut waiting = Waiting::new(settings, tunnels, paths).await?;
    loop {
        let found = waiting.look().await?;
        if found.is_reached(command.any) {
            if !command.quiet {
                print(&prose(&reached(&found, begin.elapsed())))?;
            }
            return Ok(Exit::Fine);
        }
        let next = async {
            select! {
                event = waiting.event() => event,
                () = until(deadline) => Ok(()),
            }
        };
        next.await?;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let found = waiting.look().await?;
            if found.is_reached(command.any) {
                continue;
            }
            if command.quiet {
                return Ok(Exit::Failed);
            }
            bail!(waiting.missing(&found, command.timeout));
        }
    }
}

/// What can be used now, on one line.
fn reached(found: &Online, took: Duration) -> String {
    let node = found.node.iter().cloned();
    let usable = found.tunnels.iter().filter_map(|(name, tunnel)| {
        let tunnel = tunnel.as_ref().ok()?;
        Some(format!("{name} {tunnel}"))
    });
    let all: Vec<String> = node.chain(usable).collect();
    let none = match found.tunnels.is_empty() {
        true => "; no tunnel is configured",
        false => "",
    };
    format!(
        "online after {:.1} s: {}{none}",
        took.as_secs_f64(),
        all.join("; ")
    )
}

/// What is looked at, and what tells when to look again.
struct Waiting {
    settings: Settings,
    /// The tunnels, each with the reason why it is waited for.
    tunnels: BTreeMap<InterfaceName, String>,
    paths: Paths,
    netlink: Netlink,
    devices: Devices,
    watch: Watch,
    /// The agent's signals, where there is a bus.
    agent: Option<Subscription>,
    /// Until the next look without an event.
    pause: Duration,
}

impl Waiting {
    async fn new(
        mut settings: Settings,
        tunnels: BTreeMap<InterfaceName, String>,
        paths: Paths,
    ) -> anyhow::Result<Self> {
        // By these the devices are chosen that are read; nothing is changed here.
        settings.mtu_interfaces = Patterns::new(&[Patterns::WIREGUARD]);
        let agent = async { Client::connect().await.ok()?.subscribe().await.ok() };
        Ok(Self {
            settings,
            tunnels,
            netlink: Netlink::connect()?,
            devices: Devices::default(),
            // Before the first look, so that no change is missed.
            watch: Watch::subscribe()?,
            agent: agent.await,
            paths,
            pause: FIRST_LOOK,
        })
    }

    /// Whether the agent maintains the network file here: one on standby does not.
    fn has_file(&self) -> bool {
        let document = read_status(&self.paths.runtime).ok().flatten();
        !document.is_some_and(|document| document.role == "standby" && document.is_alive())
    }

    async fn look(&self) -> anyhow::Result<Online> {
        let (settings, mode) = (&self.settings, ModeState::Pending);
        let host = HostMemory::default();
        let runtime = &self.paths.runtime;
        let seen = observe::observe(settings, &self.netlink, &self.devices, mode, host, runtime);
        let (seen, now) = (seen.await?, now_unix());
        let names: Vec<InterfaceName> = self.tunnels.keys().cloned().collect();
        self.provoke(&seen, now)?;
        Ok(online(settings, &names, self.has_file(), &seen, now))
    }

    /// Sends a packet to each peer that does not answer: without one there is no handshake.
    /// What cannot be sent is as good as lost.
    fn provoke(&self, seen: &Observation, now: u64) -> anyhow::Result<()> {
        let is_root = rustix::process::geteuid().is_root();
        for name in self.tunnels.keys() {
            match seen.wireguard.get(name) {
                Some(DeviceReading::Device(device)) => {
                    for peer in silent_peers(device, now).iter().take(PEERS) {
                        if let Some(to) = device.address_of(peer) {
                            send_into(name, to).unwrap_or_default();
                        }
                    }
                }
                Some(DeviceReading::Unreadable(why)) if !is_root => {
                    bail!("{why}: run it as root, who alone sees WireGuard's peers")
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Waits for a change of the network, for news of the agent, or for the next look.
    async fn event(&mut self) -> io::Result<()> {
        let agent = async {
            match &mut self.agent {
                Some(agent) => agent.next().await.is_some(),
                None => std::future::pending().await,
            }
        };
        let happened = select! {
            changed = self.watch.changed() => changed.map(|()| true)?,
            followed = agent => {
                if !followed {
                    self.agent = None;
                }
                true
            }
            () = sleep(self.pause) => false,
        };
        if happened {
            self.pause = FIRST_LOOK;
            let end = time::Instant::now() + SETTLE;
            while let Ok(changed) = time::timeout_at(end, self.watch.changed()).await {
                changed?;
            }
        } else {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// What is missing, why it is waited for, and how to see more.
    fn missing(&self, found: &Online, waited: u32) -> String {
        let mut lines = vec![format!("not online after {waited} s")];
        let mut more = vec!["wslmesh doctor".to_owned()];
        if let Err(why) = &found.node {
            let agent = match agent_pid(&self.paths) {
                Some(_) => "",
                None => " (the agent is not running: systemctl start wslmesh)",
            };
            lines.push(format!("the node: {why}{agent}"));
            more.push("journalctl -b -u wslmesh".to_owned());
        }
        for (name, tunnel) in &found.tunnels {
            let Err(why) = tunnel else { continue };
            let because = self.tunnels.get(name).map_or("", String::as_str);
            lines.push(format!("the tunnel {name}: {why} (waited for: {because})"));
            let unit = because.strip_suffix(" is enabled");
            more.extend(unit.map(|unit| format!("systemctl status {unit}")));
        }
        lines.push(format!("more: {}", more.join("; ")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
