//! The agent as a trial starts and watches it: what it sends systemd, what it
//! publishes and what it says.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::notify::Notify;
use crate::options::AGENT;
use crate::process::{HUP, KILL, Output, Process};
use crate::status::{Health, Status};
use crate::world::{World, until};

/// How long a trial waits for what the agent does within moments on a machine
/// that has time. Its retries after a fault fit in.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);
/// The configuration of an agent that a trial starts.
pub(crate) const CONFIG: &str = "/etc/wslmesh/wslmesh.toml";
/// The network file, unless the configuration names another.
pub(crate) const FILE: &str = "/etc/wslmesh/wsl-network.conf";
/// One forward, 2222 to 22: the service that every world has.
pub(crate) const SSH: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\nfirewall = \"none\"\n";

/// The head of a configuration whose TCP goes by the port proxy.
pub(crate) const PROXY: &str = "[host]\nbackend = \"portproxy\"\n";

/// One forward as the configuration has it.
pub(crate) fn forward(name: &str, listen: u16, connect: u16) -> String {
    format!(
        "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-port = {listen}\nconnect-port = {connect}\nfirewall = \"none\"\n"
    )
}

/// A configuration that names [`FILE`], with `more` after it.
pub(crate) fn config(more: &str) -> String {
    format!("[network]\nconfig-file = \"{FILE}\"\n{more}")
}

/// How to start an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup<'a> {
    /// Environment besides the usual.
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Its folder below /run; `wslmesh` where empty.
    pub(crate) runtime: &'a str,
    /// Not to wait for its first pass (READY=1), only for its first line.
    pub(crate) early: bool,
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
        let process = self.spawn_guest(&[AGENT, "run", "--config", CONFIG], &env)?;
        let agent = Agent {
            world: self,
            runtime,
            notify,
            process,
        };
        if setup.early {
            agent.says("started")?;
        } else {
            agent.notified("READY=1")?;
        }
        Ok(agent)
    }

    /// Runs the agent's program to its end.
    pub(crate) fn wslmesh(&self, arguments: &[&str]) -> Result<Output> {
        self.agent(arguments)?.finish(crate::world::TIMEOUT)
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
        let address: IpAddr = address.parse()?;
        self.wait(&format!("the agent at {address}"), |status| {
            status.address == Some(address)
                && status.problems().is_empty()
                && match &status.forwards {
                    Some(forwards) => IpAddr::V4(forwards.connect_address) == address,
                    None => status.relay.as_ref().is_some_and(|relay| relay.applied),
                }
        })
    }

    /// Waits for a finding.
    pub(crate) fn raised(&self, code: &str) -> Result<Health> {
        let status = self.wait(code, |status| status.finding(code).is_some())?;
        status.finding(code).cloned().context("no finding")
    }

    /// Waits until a finding has cleared.
    pub(crate) fn cleared(&self, code: &str) -> Result<Status> {
        self.wait(&format!("the end of {code}"), |status| {
            status.finding(code).is_none()
        })
    }

    /// Waits until nothing is wrong.
    pub(crate) fn healthy(&self) -> Result<Status> {
        self.wait("health", |status| status.problems().is_empty())
    }

    /// Waits until this is the only thing that is wrong, and is logged with its
    /// fix in one line of the log.
    pub(crate) fn ill(&self, code: &str) -> Result<Health> {
        let status = self.wait(code, |status| status.problems() == [code])?;
        let found = status.finding(code).context("no finding")?;
        let logged = |line: &str| line.contains(code) && line.contains(&found.remediation);
        until(&format!("a line with {code} and its fix"), LIMIT, || {
            Ok(self.log()?.lines().any(logged).then_some(()))
        })
        .with_context(|| format!("it said:\n{}", self.log().unwrap_or_default()))?;
        Ok(found.clone())
    }

    /// Waits until a shell finds this address in the network file.
    pub(crate) fn has_written(&self, address: &str) -> Result<()> {
        let found = self.world.states("WSL_IP", address);
        found.with_context(|| format!("it said:\n{}", self.log().unwrap_or_default()))
    }

    /// Waits for a pass after `passes` of them.
    pub(crate) fn pass_after(&self, passes: u64) -> Result<Status> {
        self.wait("a pass", |status| status.passes > passes)
    }

    /// The most memory that it had so far, in kB.
    pub(crate) fn peak(&self) -> Result<u64> {
        let status = self
            .world
            .read(format!("/proc/{}/status", self.process.pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        Ok(peak.context("no VmHWM")?.parse()?)
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
        self.notify.heard()
    }

    /// Waits until systemd has heard this line.
    pub(crate) fn notified(&self, line: &str) -> Result<()> {
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

    /// SIGKILL, and the end.
    pub(crate) fn kill(&self) -> Result<()> {
        self.process.signal(KILL)?;
        self.process.wait(LIMIT)?.context("it lives").map(drop)
    }

    /// SIGTERM; it must end well, and have said so to systemd.
    pub(crate) fn stop(&self) -> Result<()> {
        self.stop_within(LIMIT)
    }

    /// The same with a limit.
    pub(crate) fn stop_within(&self, limit: Duration) -> Result<()> {
        let output = self.process.stop(limit)?;
        ensure!(output.success(), "{output:?}");
        // The reader of the socket may be a moment behind.
        until("STOPPING=1", LIMIT, || {
            let heard = self.heard();
            Ok(heard.iter().any(|l| l == "STOPPING=1").then_some(()))
        })
    }
}
