//! The agent as the trials of faults start and watch it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::control::Start;
use crate::options::AGENT;
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// The configuration of these trials.
pub(crate) const CONFIG: &str = "/etc/wslmesh/wslmesh.toml";
/// The network file.
pub(crate) const FILE: &str = "/etc/wslmesh/wsl-network.conf";
/// How long anything may take; nothing does on a machine with time.
pub(crate) const LONG: Duration = Duration::from_secs(15);

/// One forward as the configuration has it.
pub(crate) fn forward(name: &str, listen: u16, connect: u16) -> String {
    format!(
        "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-port = {listen}\nconnect-port = {connect}\nfirewall = \"none\"\n"
    )
}

/// The running agent.
#[derive(Debug)]
pub(crate) struct Agent<'w> {
    world: &'w World,
    process: Process<'w>,
}

impl<'w> Agent<'w> {
    /// Starts it with this configuration and waits for its first pass.
    pub(crate) fn start(world: &'w World, config: &str) -> Result<Self> {
        Self::start_with(world, config, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_with(world: &'w World, config: &str, env: &[(&str, &str)]) -> Result<Self> {
        world.write(CONFIG, config)?;
        // systemd makes it (RuntimeDirectory=).
        std::fs::create_dir_all(world.path("/run/wslmesh"))?;
        // What an agent that was killed has left is not this one's.
        let document = world.path("/run/wslmesh/status.json");
        if document.exists() {
            std::fs::remove_file(document)?;
        }
        let process = world.spawn_with(Start {
            place: Place::Guest,
            argv: [AGENT, "run", "--config", CONFIG]
                .map(str::to_owned)
                .to_vec(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            cwd: "/".to_owned(),
            stdin: Vec::new(),
        })?;
        let agent = Self { world, process };
        until("the agent's first line", LONG, || {
            Ok(agent.log()?.contains("started").then_some(()))
        })?;
        Ok(agent)
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process<'w> {
        &self.process
    }

    /// All it has said.
    pub(crate) fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// The status document, as soon as there is one.
    pub(crate) fn status(&self) -> Result<Value> {
        let text = until("the status document", LONG, || {
            Ok(self.world.read("/run/wslmesh/status.json").ok())
        })?;
        serde_json::from_str(&text).with_context(|| format!("the status {text:?}"))
    }

    /// The findings above "info": code, subject, detail, cure.
    pub(crate) fn health(&self) -> Result<Vec<Health>> {
        let status = self.status()?;
        let entries = status
            .get("health")
            .and_then(Value::as_array)
            .context("no health")?;
        let text = |entry: &Value, field: &str| {
            entry
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(entries
            .iter()
            .filter(|entry| text(entry, "severity") != "info")
            .map(|entry| Health {
                code: text(entry, "code"),
                subject: text(entry, "subject"),
                detail: text(entry, "detail"),
                cure: text(entry, "cure"),
            })
            .collect())
    }

    /// Waits until nothing is wrong.
    pub(crate) fn healthy(&self) -> Result<()> {
        self.wait_for("health", |health| health.is_empty())
    }

    /// Waits for this code as the only one and checks that it is told with its
    /// cure in one line of the log.
    pub(crate) fn ill(&self, code: &str) -> Result<Health> {
        self.wait_for(code, |health| matches!(health, [one] if one.code == code))?;
        let found = self.health()?;
        let one = found.first().context("it is over already")?.clone();
        let log = self.log()?;
        ensure!(
            log.lines()
                .any(|line| line.contains(code) && line.contains(&one.cure)),
            "no line of the log has {code} and its cure: {log}"
        );
        Ok(one)
    }

    fn wait_for(&self, what: &str, is: impl Fn(&[Health]) -> bool) -> Result<()> {
        until(what, LONG, || Ok(is(&self.health()?).then_some(())))
            .with_context(|| format!("{:?}\n{}", self.health(), self.log().unwrap_or_default()))
    }

    /// Waits until the log has this line so many times.
    pub(crate) fn says(&self, text: &str, times: usize) -> Result<()> {
        until(text, LONG, || {
            Ok((self.log()?.matches(text).count() >= times).then_some(()))
        })
        .with_context(|| self.log().unwrap_or_default())
    }

    /// Waits until a shell finds this address in the network file.
    pub(crate) fn has_written(&self, address: &str) -> Result<()> {
        let line = format!("WSL_IP=\"{address}\"");
        until("the address in the network file", LONG, || {
            let text = self.world.read(FILE).unwrap_or_default();
            Ok(text.lines().any(|found| found == line).then_some(()))
        })
        .with_context(|| self.log().unwrap_or_default())
    }

    /// SIGTERM; it must end well and soon.
    pub(crate) fn stop(&self) -> Result<()> {
        let output = self.process.stop(LONG)?;
        ensure!(output.success(), "{output:?}");
        Ok(())
    }
}

/// A finding of the status document.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    /// Its code.
    pub(crate) code: String,
    /// On what.
    pub(crate) subject: String,
    /// The facts.
    pub(crate) detail: String,
    /// What to do.
    pub(crate) cure: String,
}
