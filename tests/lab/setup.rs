//! `wslmesh host` and `wslmesh forward` as a person calls them, on a Windows where
//! others have things of their own.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::agent::{CONFIG, LIMIT};
use crate::contract::{Backend, Firewall, Grant, Policy, Protocol};
use crate::control::{Start, Status};
use crate::double::machine::{FirewallKind, FirewallRule, ME, OTHER};
use crate::events::Probe;
use crate::options::AGENT;
use crate::probe::now;
use crate::process::Output;
use crate::snapshot::{Entry, Snapshot};
use crate::topology::Place;
use crate::world::{TIMEOUT, World};

/// What a standard Windows user's folder has after a call that changed nothing.
const LEFT: &str = "/mnt/c/Users/me/AppData/Local/wslmesh";

/// A forward from port 2222 to the service that every world has, for the local
/// subnet.
pub(crate) const OPEN: &str =
    "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n";

/// A grant on all addresses, for the local subnet.
pub(crate) fn grant(protocol: Protocol, listen: (u16, u16), connect: (u16, u16)) -> Grant {
    Grant {
        protocol,
        listen_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        listen_ports: listen,
        connect_ports: connect,
        firewall: Firewall::Local,
        backend: Backend::Auto,
    }
}

/// The same by the port proxy alone.
pub(crate) fn proxied(listen: (u16, u16), connect: (u16, u16)) -> Grant {
    Grant {
        backend: Backend::Portproxy,
        ..grant(Protocol::Tcp, listen, connect)
    }
}

/// A policy with these grants, for trusted networks.
pub(crate) fn policy(grants: Vec<Grant>) -> Policy {
    Policy {
        grants,
        ..crate::installed::policy()
    }
}

/// A firewall rule of another tool.
pub(crate) fn firewall_rule(allow: bool, port: Option<u16>) -> FirewallRule {
    FirewallRule {
        kind: FirewallKind::Windows,
        group: None,
        enabled: true,
        allow,
        protocol: Some(Protocol::Tcp),
        ports: port.map(|port| (port, port)),
        local: None,
        program: None,
        service: None,
        local_only: false,
        profiles: vec!["private".to_owned()],
    }
}

/// Portproxy and firewall rules of other programs, and what another Windows user
/// has installed. No call is elevated from then on.
pub(crate) fn others(world: &World) -> Result<()> {
    let windows = world.windows();
    crate::rules::foreign(world)?;
    windows.put_firewall("NAS", Some(firewall_rule(true, Some(8080))))?;
    let mut theirs = firewall_rule(true, Some(7000));
    theirs.group = Some("wslmesh".to_owned());
    windows.put_firewall("wslmesh-by-hand", Some(theirs))?;
    let policy = policy(vec![proxied((7001, 7001), (22, 22))]);
    windows.set(|situation| situation.user = OTHER.to_owned())?;
    windows.install(&policy)?;
    windows.set(|situation| situation.user = ME.to_owned())?;
    let rule = firewall_rule(true, Some(7001));
    let name = format!("wslmesh-{OTHER}-tcp-7001-portproxy");
    windows.alter(|machine| {
        let target = "172.28.16.9/22".to_owned();
        machine
            .rules
            .insert("0.0.0.0/7001".to_owned(), target.clone());
        machine.firewall.insert(name.clone(), rule);
        machine.note(OTHER, "tcp/0.0.0.0/7001", Some(&target));
        machine.note(OTHER, &format!("firewall/{name}"), Some("windows"));
    })
}

/// Everything that Windows keeps, but for an empty folder of the user's own.
pub(crate) fn all(world: &World) -> Result<Snapshot> {
    let mut all = world.windows().snapshot()?;
    let inside = format!("{LEFT}/");
    if !all.files.keys().any(|path| path.starts_with(&inside)) {
        all.files.remove(LEFT);
    }
    Ok(all)
}

/// The files of the Windows drive that are not folders.
pub(crate) fn files(snapshot: &Snapshot) -> BTreeMap<&String, &Entry> {
    let files = snapshot.files.iter();
    files
        .filter(|(_, entry)| **entry != Entry::Folder)
        .collect()
}

impl World {
    /// `wslmesh --config CONFIG ...`, without a terminal.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.wslmesh(&[&["--config", CONFIG], arguments].concat())
    }

    /// The same on a terminal, where a person types this; standard output and
    /// standard error are one there.
    pub(crate) fn cli_at_terminal(&self, arguments: &str, typed: &str) -> Result<Output> {
        let command = format!("{AGENT} --config {CONFIG} {arguments}");
        let process = self.spawn_with(Start {
            place: Place::Guest,
            argv: ["script", "-qec", &command, "/dev/null"]
                .map(str::to_owned)
                .to_vec(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            stdin: typed.as_bytes().to_vec(),
        })?;
        process.finish(TIMEOUT)
    }

    /// Waits until a client on the home network is answered through this port of
    /// Windows.
    pub(crate) fn reached(&self, port: u16) -> Result<()> {
        let probe = self.probe(format!("192.168.50.10:{port}").parse()?)?;
        let found = probe.success_after(now(), LIMIT);
        found.map(drop).with_context(|| format!("port {port}"))
    }

    /// Fails unless a client on the home network is refused at this port.
    pub(crate) fn unreachable(&self, port: u16) -> Result<()> {
        let probe: Probe = self.probe(format!("192.168.50.10:{port}").parse()?)?;
        crate::world::until("a refused connection", LIMIT, || {
            let tries = probe.attempts()?;
            ensure!(tries.iter().all(|one| !one.ok), "port {port} answers");
            Ok((tries.len() >= 3).then_some(()))
        })
    }
}

/// Fails unless it ended so and said this somewhere.
pub(crate) fn said(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    ensure!(output.status == Status::Code(code), "{output:?}");
    let text = [output.stdout.as_str(), &output.stderr].concat();
    for word in words {
        ensure!(text.contains(word), "{word:?} is not in {output:?}");
    }
    Ok(())
}
