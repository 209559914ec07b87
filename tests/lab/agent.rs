//! The agent as a trial meets it: what it tells systemd, what it publishes,
//! what it says and what it writes.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::control::Start;
use crate::options::AGENT;
use crate::process::{HUP, Output, Process};
use crate::registry::Rule;
use crate::topology::Place;
use crate::world::{World, until};

/// How long a trial waits for what the agent does within moments.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// The configuration of an agent that a trial starts.
pub(crate) const CONFIG: &str = "/run/lab/wslmesh.toml";
/// The file that [`config`] lets it keep.
pub(crate) const FILE: &str = "/run/lab/wsl-network.conf";
/// One forward, 2222 to 22: the service that every world has.
pub(crate) const SSH: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\nfirewall = \"none\"\n";

/// A configuration that keeps [`FILE`], with `more` after it.
pub(crate) fn config(more: &str) -> String {
    format!("[network]\nconfig-file = \"{FILE}\"\n{more}")
}

/// The status document, as a monitoring system would read it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Status {
    pub(crate) version: u32,
    pub(crate) pid: u32,
    pub(crate) role: String,
    pub(crate) mode: String,
    pub(crate) interface: Option<String>,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) forwards: Option<Forwards>,
    pub(crate) windows_address: Option<Ipv4Addr>,
    pub(crate) passes: u64,
    pub(crate) health: Vec<Health>,
}

/// Forwards that Windows confirmed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Forwards {
    pub(crate) count: usize,
    pub(crate) connect_address: Ipv4Addr,
}

/// One finding.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Health {
    pub(crate) code: String,
    pub(crate) severity: String,
    pub(crate) subject: String,
    pub(crate) detail: String,
    pub(crate) cure: String,
}

impl Status {
    /// The first finding of this code.
    pub(crate) fn finding(&self, code: &str) -> Option<&Health> {
        self.health.iter().find(|entry| entry.code == code)
    }

    /// Warnings and errors.
    pub(crate) fn troubles(&self) -> Vec<&str> {
        let trouble = |entry: &&Health| entry.severity != "info";
        self.health
            .iter()
            .filter(trouble)
            .map(|entry| entry.code.as_str())
            .collect()
    }
}

/// How to start an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup<'a> {
    /// Environment besides the usual.
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Its folder below /run; `wslmesh` where empty.
    pub(crate) runtime: &'a str,
}

/// What systemd would have heard.
#[derive(Debug)]
struct Notify {
    socket: UnixDatagram,
    heard: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

/// A running agent; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Agent<'w> {
    world: &'w World,
    runtime: String,
    notify: Notify,
    process: Process<'w>,
}

impl World {
    /// Writes the configuration, starts `wslmesh run` and waits for READY=1.
    pub(crate) fn start_agent(&self, config: &str) -> Result<Agent<'_>> {
        self.start_agent_with(config, &Setup::default())
    }

    /// The same with an environment made to order.
    pub(crate) fn start_agent_with(&self, config: &str, setup: &Setup) -> Result<Agent<'_>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.write(CONFIG, config)?;
        let socket = format!("/run/lab/notify-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let notify = Notify::listen(self, &socket)?;
        let name = if setup.runtime.is_empty() {
            "wslmesh"
        } else {
            setup.runtime
        };
        let runtime = format!("/run/{name}");
        std::fs::create_dir_all(self.path(&runtime))?;
        let mut env = vec![
            ("NOTIFY_SOCKET", socket.as_str()),
            ("RUNTIME_DIRECTORY", runtime.as_str()),
        ];
        env.extend(setup.env);
        let process = self.spawn_with(Start {
            place: Place::Guest,
            argv: [AGENT, "run", "--config", CONFIG].map(str::to_owned).into(),
            env: env
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            cwd: "/".to_owned(),
            stdin: Vec::new(),
        })?;
        let agent = Agent {
            world: self,
            runtime,
            notify,
            process,
        };
        agent.hears("READY=1")?;
        Ok(agent)
    }

    /// Takes eth0's link-local IPv6 address away: the kernel has a late event for
    /// it, when nobody else turns out to have it. For trials that count passes.
    pub(crate) fn no_late_events(&self) -> Result<()> {
        self.guest(&["ip", "-6", "addr", "flush", "dev", "eth0"])?
            .ok()
            .map(drop)
    }

    /// Runs the agent's program to its end.
    pub(crate) fn wslmesh(&self, arguments: &[&str]) -> Result<Output> {
        self.agent(arguments)?.finish(crate::world::PATIENCE)
    }

    /// Reads keys of the network file as its readers do, by sourcing it in `sh`.
    pub(crate) fn sourced(&self, keys: &[&str]) -> Result<Vec<String>> {
        let show = keys.iter().map(|key| format!("\"${key}\""));
        let command = format!(
            ". {FILE} && printf '%s\\n' {}",
            show.collect::<Vec<_>>().join(" ")
        );
        let text = self.guest(&["sh", "-c", &command])?.ok()?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Waits until the network file states this.
    pub(crate) fn states(&self, key: &str, value: &str) -> Result<()> {
        let mut found = String::new();
        let what = format!("{key}={value:?}");
        until(&what, LIMIT, || {
            // Cheap first; a shell only once the line is there.
            let text = self.read(FILE).unwrap_or_default();
            let line = format!("{key}=\"{value}\"");
            found = text
                .lines()
                .filter(|l| l.starts_with(key))
                .collect::<Vec<_>>()
                .join(" ");
            Ok(text.lines().any(|l| l == line).then_some(()))
        })
        .with_context(|| format!("the file says {found:?}"))?;
        ensure!(
            self.sourced(&[key])? == [value],
            "sh does not read {key} as {value:?}"
        );
        Ok(())
    }

    /// An interface's MTU as `ip` shows it.
    pub(crate) fn mtu(&self, name: &str) -> Result<u32> {
        let text = self.guest(&["ip", "-o", "link", "show", name])?.ok()?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
        Ok(words.nth(1).context("no mtu")?.parse()?)
    }

    /// Waits until an interface has this MTU.
    pub(crate) fn has_mtu(&self, name: &str, mtu: u32) -> Result<()> {
        until(&format!("MTU {mtu} on {name}"), LIMIT, || {
            Ok((self.mtu(name)? == mtu).then_some(()))
        })
    }

    /// Makes a link that is named like a tunnel.
    pub(crate) fn add_tunnel(&self, name: &str) -> Result<()> {
        let peer = format!("far-{name}");
        self.guest(&[
            "ip", "link", "add", name, "type", "veth", "peer", "name", &peer,
        ])?
        .ok()
        .map(drop)
    }

    /// A kernel parameter as `sysctl` shows it, white space made single.
    pub(crate) fn sysctl(&self, key: &str) -> Result<String> {
        let text = self.guest(&["sysctl", "-n", key])?.ok()?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Waits until Windows' table, ours and others', has these rules alone:
    /// listen port on every address, target, target port.
    pub(crate) fn forwards(&self, wanted: &[(u16, &str, u16)]) -> Result<()> {
        let wanted: Vec<Rule> = wanted
            .iter()
            .map(|(listen, to, port)| Rule::new(("0.0.0.0", *listen), (to, *port)))
            .collect::<Result<_>>()?;
        let mut found = Vec::new();
        until("Windows' forwards", LIMIT, || {
            found = self.windows().table()?;
            Ok((found == wanted).then_some(()))
        })
        .with_context(|| format!("{found:?} is not {wanted:?}"))
    }

    /// The command lines of all processes.
    pub(crate) fn command_lines(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.path("/proc"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().parse::<u32>().is_ok() {
                // A process may end while it is looked at.
                let bytes = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                lines.push(String::from_utf8_lossy(&bytes).replace('\0', " "));
            }
        }
        Ok(lines)
    }
}

impl Agent<'_> {
    /// Its process.
    pub(crate) fn process(&self) -> &Process<'_> {
        &self.process
    }

    /// The status document; `None` where there is none.
    pub(crate) fn status(&self) -> Result<Option<Status>> {
        let path = self.world.path(format!("{}/status.json", self.runtime));
        match std::fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the agent's own status is as wanted.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        self.wait_for(what, LIMIT, wanted)
    }

    /// The same with a limit.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let found = until(what, limit, || {
            Ok(self
                .status()?
                .filter(|status| status.pid == self.process.pid() && wanted(status)))
        });
        match found {
            Ok(status) => Ok(status),
            Err(error) => bail!("{error:#}; {:?}; it said:\n{}", self.status()?, self.log()?),
        }
    }

    /// Waits until it is at this address, its forwards with it, and healthy.
    pub(crate) fn settled(&self, address: &str) -> Result<Status> {
        let address: Ipv4Addr = address.parse()?;
        self.wait(&format!("the agent at {address}"), |status| {
            status.address == Some(address)
                && status.troubles().is_empty()
                && status
                    .forwards
                    .as_ref()
                    .is_some_and(|forwards| forwards.connect_address == address)
        })
    }

    /// Waits for a finding.
    pub(crate) fn raised(&self, code: &str) -> Result<Health> {
        let status = self.wait(code, |status| status.finding(code).is_some())?;
        status.finding(code).cloned().context("no finding")
    }

    /// Waits until a finding is over.
    pub(crate) fn cleared(&self, code: &str) -> Result<Status> {
        self.wait(&format!("the end of {code}"), |status| {
            status.finding(code).is_none()
        })
    }

    /// Waits for a pass after `passes` of them.
    pub(crate) fn pass_after(&self, passes: u64) -> Result<Status> {
        self.wait("a pass", |status| status.passes > passes)
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// Waits for a log line with this text.
    pub(crate) fn says(&self, text: &str) -> Result<String> {
        let found = until(&format!("a line with {text:?}"), LIMIT, || {
            Ok(self
                .log()?
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned))
        });
        found.with_context(|| format!("it said:\n{}", self.log().unwrap_or_default()))
    }

    /// Everything systemd has heard so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        let heard = self.notify.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until systemd has heard this line.
    pub(crate) fn hears(&self, line: &str) -> Result<()> {
        let found = until(line, LIMIT, || {
            if let Some(status) = self.process.wait(Duration::ZERO)? {
                bail!("the agent ended: {status:?}")
            }
            Ok(self.heard().iter().any(|l| l == line).then_some(()))
        });
        found.with_context(|| format!("it said:\n{}", self.log().unwrap_or_default()))
    }

    /// Writes a new configuration and sends SIGHUP.
    pub(crate) fn reload(&self, config: &str) -> Result<()> {
        self.world.write(CONFIG, config)?;
        self.process.signal(HUP)
    }
}

impl Notify {
    fn listen(world: &World, path: &str) -> Result<Self> {
        let socket = UnixDatagram::bind(world.path(path)).context("listening like systemd")?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        // A full queue would block the agent, so it is always emptied.
        let (reader, list) = (socket.try_clone()?, Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            // Zero bytes: the other clone was shut down.
            while let Ok(read @ 1..) = reader.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
                list.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(text.lines().map(str::to_owned));
            }
        });
        Ok(Self {
            socket,
            heard,
            thread: Some(thread),
        })
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        drop(self.socket.shutdown(std::net::Shutdown::Both));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
