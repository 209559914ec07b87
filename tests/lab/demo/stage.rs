//! The agent, the client and the lab's own eyes, scene by scene.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::screen::{Row, Screen, Who};
use crate::agent::{CONFIG, FILE, PROXY, SSH};
use crate::events::Probe;
use crate::installed::{policy, proxied};
use crate::probe::now;
use crate::process::{HUP, Process};
use crate::world::World;

/// Two sysctls are left alone: a namespace has none of its own.
const SETTINGS: &str = "\
[sysctl]
\"net.core.rmem_max\" = false
\"net.core.wmem_max\" = false
";
const CLIENT: &str = "192.168.50.10:2222";

/// How long a scene may take.
const SCENE_TIMEOUT: Duration = Duration::from_secs(20);
/// A scene ends after this long without events.
const QUIET: Duration = Duration::from_millis(400);

/// What must have come about at the end of a scene.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Behind the forward, and reached by the client.
    pub(super) address: Option<&'static str>,
    /// In the file, too.
    pub(super) file: bool,
    /// By the relay.
    pub(super) by_relay: bool,
    /// A link and its MTU.
    pub(super) mtu: Option<(&'static str, u32)>,
}

impl Expected {
    /// This address everywhere, behind the relay.
    pub(super) fn address(address: &'static str) -> Self {
        Self {
            by_relay: true,
            ..Self::proxied(address)
        }
    }

    /// This address everywhere, behind the port proxy.
    pub(super) fn proxied(address: &'static str) -> Self {
        Self {
            address: Some(address),
            file: true,
            ..Self::default()
        }
    }

    /// This MTU.
    pub(super) fn mtu(link: &'static str, mtu: u32) -> Self {
        Self {
            mtu: Some((link, mtu)),
            ..Self::default()
        }
    }
}

/// When the parts of a scene came about, in ns, see [`now`].
#[derive(Debug, Default)]
struct Seen {
    /// The file's content before.
    before: String,
    file: Option<u64>,
    forward: Option<u64>,
    client: Option<u64>,
    mtu: Option<u64>,
}

impl Seen {
    /// What of the expected is still missing.
    fn missing(&self, expected: &Expected) -> Vec<String> {
        let mut missing = Vec::new();
        if let Some(address) = expected.address {
            for (part, seen) in [
                (
                    "in wsl-network.conf",
                    self.file.or((!expected.file).then_some(0)),
                ),
                ("behind Windows' forward", self.forward),
                ("reached by the client", self.client),
            ] {
                if seen.is_none() {
                    missing.push(format!("{address} {part}"));
                }
            }
        }
        if let (Some((link, mtu)), None) = (expected.mtu, self.mtu) {
            missing.push(format!("MTU {mtu} on {link}"));
        }
        missing
    }
}

/// The world with its actors.
pub(super) struct Stage<'w, 's> {
    pub(super) world: &'w World,
    screen: &'s mut Screen,
    agent: Option<Process<'w>>,
    client: Probe<'w>,
    /// How much of what the agent said was shown.
    shown: usize,
    notes: Vec<String>,
}

impl<'w, 's> Stage<'w, 's> {
    /// The Windows side is installed, and the client tries from the beginning; the agent
    /// is started by a scene.
    pub(super) fn new(world: &'w World, screen: &'s mut Screen) -> Result<Self> {
        world.windows().install(&policy())?;
        world.write(CONFIG, format!("{SETTINGS}{SSH}"))?;
        // As systemd makes them for the service.
        for folder in ["/run/wslmesh", "/var/lib/wslmesh"] {
            std::fs::create_dir_all(world.path(folder))?;
        }
        Ok(Self {
            world,
            screen,
            agent: None,
            client: world.probe(CLIENT.parse()?)?,
            shown: 0,
            notes: Vec::new(),
        })
    }

    /// Starts the agent.
    pub(super) fn start(&mut self) -> Result<()> {
        self.agent = Some(self.world.agent(&["run", "--config", CONFIG])?);
        Ok(())
    }

    /// Installs the Windows side for the port proxy and has the agent use that.
    pub(super) fn switch_to_portproxy(&mut self) -> Result<()> {
        self.world.windows().install(&proxied())?;
        self.world
            .write(CONFIG, format!("{SETTINGS}{PROXY}{SSH}"))?;
        let agent = self.agent.as_ref().context("no agent was started")?;
        agent.signal(HUP)
    }

    /// Something to say at the head of the next scene.
    pub(super) fn note(&mut self, text: &str) -> Result<()> {
        self.notes.push(text.to_owned());
        Ok(())
    }

    /// Lets something happen and shows what follows, until it is all as
    /// expected and nothing more comes.
    pub(super) fn scene(
        &mut self,
        what: &str,
        change: impl FnOnce(&mut Self) -> Result<()>,
        expected: &Expected,
    ) -> Result<Row> {
        self.screen.scene(what)?;
        for note in std::mem::take(&mut self.notes) {
            self.screen.event(0, Who::Lab, &note)?;
        }
        let mut seen = Seen {
            before: self.world.read(FILE).unwrap_or_default(),
            ..Seen::default()
        };
        let begun = now();
        let had_client = self.client.attempts()?.last().is_some_and(|a| a.ok);
        change(self).with_context(|| what.to_owned())?;
        let (mut did, mut last) = (Vec::new(), now());
        loop {
            let lines = self.show_lines(begun)?;
            if !lines.is_empty() {
                last = now();
            }
            did.extend(lines);
            if self.look(expected, &mut seen, begun)? {
                last = now();
            }
            let missing = seen.missing(expected);
            if missing.is_empty() && now() - last > nanos(QUIET) {
                break;
            }
            if now() - begun > nanos(SCENE_TIMEOUT) {
                bail!(
                    "{what}: after {SCENE_TIMEOUT:?} still not: {}",
                    missing.join(", ")
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let outage = self.outage(begun)?;
        if outage == 0 && had_client {
            self.say(begun, Who::Client, "was never cut off")?;
        }
        let after = |at: Option<u64>| at.map(|at| millis(at - begun));
        Ok(Row {
            change: what.to_owned(),
            did: summary(&did),
            file: after(seen.file),
            forward: after(seen.forward),
            outage: had_client.then_some(outage),
        })
    }

    fn say(&mut self, begun: u64, who: Who, text: &str) -> Result<()> {
        self.screen.event(millis(now() - begun), who, text)
    }

    /// Shows what the agent has said since the last time, and returns it.
    fn show_lines(&mut self, begun: u64) -> Result<Vec<String>> {
        let Some(agent) = &self.agent else {
            return Ok(Vec::new());
        };
        let text = agent.stderr()?;
        let new = text.get(self.shown..).unwrap_or_default();
        // The last line may be half written.
        let whole = new.rfind('\n').map_or(0, |end| end + 1);
        let new = new.get(..whole).unwrap_or_default();
        self.shown += whole;
        if new.is_empty() && agent.wait(Duration::ZERO)?.is_some() {
            bail!("the agent ended: {text}");
        }
        let lines: Vec<String> = new
            .lines()
            .map(|line| line.trim_start_matches("wslmesh: ").to_owned())
            .collect();
        for line in &lines {
            let problem = line.starts_with("warning: ") || line.starts_with("error: ");
            let who = if problem { Who::Problem } else { Who::Agent };
            self.say(begun, who, &without_sysctls(line))?;
        }
        Ok(lines)
    }

    /// Looks with other eyes than the agent's, and shows what is new.
    fn look(&mut self, expected: &Expected, seen: &mut Seen, begun: u64) -> Result<bool> {
        let world = self.world;
        if let (Some((link, mtu)), None) = (expected.mtu, seen.mtu) {
            let text = world.read(format!("/sys/class/net/{link}/mtu"));
            if text.is_ok_and(|text| text.trim() == mtu.to_string()) {
                seen.mtu = Some(now());
                self.say(begun, Who::Lab, &format!("{link} has MTU {mtu}"))?;
                return Ok(true);
            }
        }
        if seen.file.is_none() && (expected.file || expected.address.is_none()) {
            let text = world.read(FILE).unwrap_or_default();
            let line = |address| format!("WSL_IP=\"{address}\"\n");
            if text != seen.before && expected.address.is_none_or(|a| text.contains(&line(a))) {
                seen.file = Some(now());
                self.say(begun, Who::Lab, "wsl-network.conf is replaced")?;
                return Ok(true);
            }
        }
        let Some(address) = expected.address else {
            return Ok(false);
        };
        if expected.file && seen.file.is_none() {
            return Ok(false);
        }
        if seen.forward.is_none() {
            if self.leads_to(address, expected.by_relay)? {
                seen.forward = Some(now());
                self.say(begun, Who::Lab, &format!("Windows forwards to {address}"))?;
                return Ok(true);
            }
        } else if seen.client.is_none() {
            let since = seen.forward.unwrap_or(begun);
            let attempts = self.client.attempts()?;
            if let Some(first) = attempts.iter().find(|a| a.ok && a.end > since) {
                seen.client = Some(first.end);
                let text = match self.outage(begun)? {
                    0 => "reaches the service".to_owned(),
                    ms => format!("is back, after {ms} ms"),
                };
                self.say(begun, Who::Client, &text)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether Windows has this address for the forward, in its table or in a command of the
    /// relay; each address comes once.
    fn leads_to(&self, address: &str, by_relay: bool) -> Result<bool> {
        let windows = self.world.windows();
        if by_relay {
            let relay = windows.relay()?;
            let mut commands = relay.iter().flat_map(|relay| &relay.commands);
            return Ok(commands.any(|command| command.contains(&format!("\"{address}\""))));
        }
        let there = |target: &Option<String>| target.as_deref() == Some(address);
        let table = windows.table()?;
        Ok(table.iter().any(|rule| there(&rule.connect_address)))
    }

    /// For how long the client has been cut off since `begun`, in ms.
    fn outage(&self, begun: u64) -> Result<u64> {
        let outages = self.client.outages()?;
        let mine = outages.iter().filter(|outage| outage.to > begun);
        Ok(millis(mine.map(|o| nanos(o.length())).sum()))
    }

    /// Ends the agent as systemd would.
    pub(super) fn end(&mut self) -> Result<()> {
        let agent = self.agent.take().context("no agent was started")?;
        let output = agent.stop(Duration::from_secs(5))?;
        if !output.success() {
            bail!(
                "the agent ended with {:?}: {}",
                output.status,
                output.stderr
            );
        }
        Ok(())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(ns: u64) -> u64 {
    ns / 1_000_000
}

/// One line of the agent, with its sysctls counted instead of listed.
fn without_sysctls(line: &str) -> String {
    let (text, took) = match line.rsplit_once(" (") {
        Some((text, tail)) if tail.ends_with(" ms)") => (text, Some(tail)),
        _ => (line, None),
    };
    let (sysctls, mut parts): (Vec<&str>, Vec<&str>) = text
        .split("; ")
        .partition(|part| part.starts_with("net.") && part.contains(" -> "));
    let count = format!("{} sysctls set", sysctls.len());
    if !sysctls.is_empty() {
        parts.push(&count);
    }
    let took = took.map_or_else(String::new, |tail| format!(" ({tail}"));
    parts.join("; ") + &took
}

/// The agent's lines as a table can hold them: one part each, without folders,
/// durations and counts.
fn summary(lines: &[String]) -> Vec<String> {
    let mut parts = Vec::new();
    for line in lines {
        let line = without_sysctls(line);
        let line = line
            .rsplit_once(" (")
            .filter(|(_, tail)| tail.ends_with(" ms)"))
            .map_or(line.as_str(), |(text, _)| text);
        let line = line.split(": 1 set").next().unwrap_or(line);
        for part in line.split("; ") {
            let part = part.replace("/etc/wslmesh/", "");
            let dull = ["started", "configuration", "networking mode"]
                .iter()
                .any(|start| part.starts_with(start));
            if !dull && !parts.contains(&part) {
                parts.push(part);
            }
        }
    }
    parts
}
