//! Calls powershell.exe as the agent would, so that the lab can be tried
//! without the agent.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use wslmesh::host::scripts::Script;

use crate::contract::Answer;
use crate::control::Start;
use crate::interop::{OPTIONS, POWERSHELL};
use crate::process::{Output, Process};
use crate::topology::Place;
use crate::world::World;

/// Where the trials put the script.
pub(crate) const SCRIPT: &str = "/run/wslmesh/refresh.ps1";

/// A request of the contract: forwards as `(listen port, connect port)` on
/// 0.0.0.0.
pub(crate) fn request(connect: &str, forwards: &[(u16, u16)]) -> Value {
    let forwards: Vec<Value> = forwards
        .iter()
        .map(|(listen, connect)| forward("0.0.0.0", *listen, *connect))
        .collect();
    json!({"version": 1, "action": "sync", "mode": "nat", "connect-address": connect, "forwards": forwards})
}

/// One forward of a request: TCP by Windows' port proxy, no firewall rule.
pub(crate) fn forward(listen: &str, port: u16, connect: u16) -> Value {
    json!({
        "protocol": "tcp", "listen-address": listen, "listen-port": port, "connect-port": connect,
        "served-by": "portproxy", "firewall": "none",
    })
}

/// The arguments of the contract's call by a command.
pub(crate) fn command() -> Vec<String> {
    let options = OPTIONS.iter().map(|o| (*o).to_owned());
    let command = ["-Command".to_owned(), Script::Refresh.command()];
    options.chain(command).collect()
}

/// The arguments of the contract's call, for the script at `path`.
pub(crate) fn arguments(world: &World, path: &str) -> Result<Vec<String>> {
    let windows = wslpath(world, path)?;
    Ok(OPTIONS
        .iter()
        .map(|o| (*o).to_owned())
        .chain(["-File".to_owned(), windows])
        .collect())
}

/// `wslpath -w`, through /usr/bin or by the name of `/init`.
pub(crate) fn wslpath(world: &World, path: &str) -> Result<String> {
    let command = if world.tools() {
        "wslpath -w \"$0\""
    } else {
        "exec -a wslpath /init -w \"$0\""
    };
    let output = world.guest(&["bash", "-c", command, path])?.ok()?;
    Ok(output.trim_end().to_owned())
}

/// Starts powershell.exe: through binfmt_misc where there is an entry and
/// `direct` is not asked for, else as `/init EXE ARGV0 ARGS`.
pub(crate) fn start<'w>(
    world: &'w World,
    direct: bool,
    arguments: &[String],
    stdin: &[u8],
) -> Result<Process<'w>> {
    let program = if direct || !world.binfmt() {
        vec!["/init", POWERSHELL, "powershell.exe"]
    } else {
        vec![POWERSHELL]
    };
    world.spawn_with(Start {
        place: Place::Guest,
        argv: program
            .into_iter()
            .map(str::to_owned)
            .chain(arguments.iter().cloned())
            .collect(),
        env: Vec::new(),
        cwd: "/mnt/c/Windows/System32".to_owned(),
        stdin: stdin.to_vec(),
    })
}

/// Begins a call of the contract with the shipped script.
pub(crate) fn begin<'w>(world: &'w World, direct: bool, request: &Value) -> Result<Process<'w>> {
    world.write(SCRIPT, Script::Refresh.text())?;
    let arguments = arguments(world, SCRIPT)?;
    start(world, direct, &arguments, format!("{request}\n").as_bytes())
}

/// The same, to its end.
pub(crate) fn call(world: &World, direct: bool, request: &Value) -> Result<Output> {
    begin(world, direct, request)?.finish(Duration::from_secs(10))
}

/// One sync that must be answered.
pub(crate) fn sync(world: &World, connect: &str, forwards: &[(u16, u16)]) -> Result<Answer> {
    let text = call(world, false, &request(connect, forwards))?.ok()?;
    serde_json::from_str(&text).with_context(|| format!("the answer {text:?}"))
}
