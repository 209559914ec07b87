//! `wslmesh tunnel`

mod proxy;

use std::{io, net::IpAddr, path::PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde::Serialize;

use super::{
    output::{self, Exit, print, prose},
    style,
};
use crate::{
    model::{TUNNEL_LINK, TunnelCounters, TunnelState, TunnelWay, counted, span},
    observe::now_unix,
    paths::Paths,
    report,
    tunnel::{self, Options, Tap},
    units::{Systemd, TUNNEL_UNIT, TunnelMark, TunnelUnitState, UnitsError},
};

/// In the help.
pub(super) const EXAMPLES: &str = "Exit status: 0 success, 1 failure, 2 usage error, 3 the tunnel is not up.\nExample: sudo wslmesh tunnel up && wslmesh tunnel status";

/// A network by a program on Windows, for when Windows' NAT is broken
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start the tunnel: connections of this distribution go by it from now on
    ///
    /// It starts wslmesh-tunnel.service and waits until packets can pass. [tunnel] when has the
    /// agent do it by itself.
    Up,
    /// Stop the tunnel: the routes are those of before
    Down,
    /// Show whether the tunnel is up, its routes, counters and last failure
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Be the tunnel (what wslmesh-tunnel.service does)
    Run(Run),
    /// Have ports that are published in another network namespace appear on localhost
    ///
    /// What Rancher Desktop's guest agent sends to its wsl-proxy is understood: JSON with the
    /// published ports, on a Unix socket. TCP and UDP go to the namespace's address.
    #[command(after_help = proxy::EXAMPLES)]
    Proxy(proxy::Command),
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Connect to this Unix socket, behind which a switch listens, instead of starting it on
    /// Windows
    #[arg(long, value_name = "PATH")]
    connect: Option<PathBuf>,
    /// Listen on this Unix socket too until that switch, on this machine, has connected to it;
    /// packets go there then, as they go by vsock to Windows
    #[arg(
        long,
        value_name = "PATH",
        requires = "connect",
        conflicts_with = "tap"
    )]
    second_way: Option<PathBuf>,
    /// Carry Ethernet frames by a tap of this name, as QEMU's sockets do, to a program such as
    /// gvproxy or passt
    #[arg(long, value_name = "NAME", requires = "connect", requires = "address")]
    tap: Option<String>,
    /// Address of the tap
    #[arg(long, value_name = "ADDRESS/PREFIX", requires = "tap")]
    address: Option<IpNet>,
    /// Default route of the tap
    #[arg(long, value_name = "ADDRESS", requires = "tap")]
    gateway: Option<IpAddr>,
    /// MTU of the tap
    #[arg(long, value_name = "BYTES", requires = "tap", default_value_t = 1500)]
    mtu: u32,
}

pub(super) async fn tunnel(command: Command, paths: Paths) -> anyhow::Result<Exit> {
    match command {
        Command::Up => up(&paths).await,
        Command::Down => down().await,
        Command::Status { json } => status(&paths, json).await,
        Command::Run(run) => self::run(run, paths).await,
        Command::Proxy(command) => proxy::proxy(command, paths).await,
    }
}

async fn run(run: Run, paths: Paths) -> anyhow::Result<Exit> {
    report::start_journal();
    match (run.tap, run.connect, run.address) {
        (Some(name), Some(connect), Some(address)) => {
            let (gateway, mtu) = (run.gateway, run.mtu);
            tunnel::run_tap(Tap {
                name,
                connect,
                address,
                gateway,
                mtu,
            })
            .await?;
        }
        (_, connect, _) => {
            let second_way = run.second_way;
            let options = Options {
                connect,
                second_way,
            };
            tunnel::run(options, paths).await?;
        }
    }
    Ok(Exit::Fine)
}

async fn systemd() -> anyhow::Result<Systemd> {
    Systemd::connect().await.map_err(|error| match error {
        UnitsError::Unreachable(_) => anyhow!(
            "{error}. Set it up with `sudo wslmesh wslconf set boot.systemd true` and `wsl.exe --shutdown` on Windows, or run `sudo wslmesh tunnel run` in a terminal"
        ),
        error => error.into(),
    })
}

async fn up(paths: &Paths) -> anyhow::Result<Exit> {
    let systemd = systemd().await?;
    // The agent leaves running what it has not started.
    TunnelMark::new(&paths.runtime)
        .clear()
        .context("cannot take the tunnel over from the agent; run it with sudo")?;
    let started = systemd.start_tunnel().await;
    let state = started.map_err(|error| match error {
        UnitsError::Refused(why) => anyhow!("{why}; see `journalctl -u {TUNNEL_UNIT} -n 20`"),
        error => error.into(),
    })?;
    match state {
        TunnelUnitState::Running => print(&style::good("the tunnel is up"))?,
        state => bail!("{TUNNEL_UNIT}: {state}; see `journalctl -u {TUNNEL_UNIT} -n 20`"),
    }
    Ok(Exit::Fine)
}

async fn down() -> anyhow::Result<Exit> {
    match systemd().await?.stop_tunnel().await? {
        TunnelUnitState::Inactive | TunnelUnitState::Failed => print("the tunnel is down")?,
        state => bail!("{TUNNEL_UNIT}: {state}"),
    }
    Ok(Exit::Fine)
}

/// `wslmesh tunnel status --json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    /// Whether packets pass.
    up: bool,
    /// The unit's, in words; why it is unknown where it is.
    unit: String,
    interface: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelState>,
}

async fn status(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let unit = match Systemd::connect().await {
        Ok(systemd) => systemd.tunnel().await.map(|state| state.to_string()),
        Err(error) => Err(error),
    };
    let state = report::read_tunnel(&paths.runtime).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow!("{error}; run it with sudo"),
        _ => error.into(),
    })?;
    let shown = Shown {
        up: state.as_ref().is_some_and(|state| state.up),
        unit: unit.unwrap_or_else(|error| error.to_string()),
        interface: TUNNEL_LINK,
        tunnel: state,
    };
    if json {
        output::print_json(&shown)?;
    } else {
        show(&shown)?;
    }
    Ok(Exit::unless(!shown.up))
}

fn show(shown: &Shown) -> io::Result<()> {
    let Some(state) = &shown.tunnel else {
        print(&format!(
            "tunnel  not running ({TUNNEL_UNIT}: {})",
            shown.unit
        ))?;
        return print(&prose("start it with `sudo wslmesh tunnel up`"));
    };
    let since = now_unix().saturating_sub(state.since_unix);
    let since = span(since);
    let ipv6 = if state.ipv6 { "" } else { ", without IPv6" };
    match state.up {
        true => print(&style::good(&format!(
            "tunnel  up for {since} by the switch {}{ipv6}",
            state.switch
        )))?,
        false => print(&style::bad(&format!("tunnel  down for {since}")))?,
    }
    print(&format!("unit    {}", shown.unit))?;
    if !state.addresses.is_empty() {
        let addresses = state.addresses.join(", ");
        print(&format!("link    {TUNNEL_LINK}, {addresses}, MTU 1500"))?;
        let routes = if state.ipv6 {
            "default for IPv4 and IPv6"
        } else {
            "default for IPv4"
        };
        print(&format!("routes  {routes}"))?;
        let list = |servers: &[IpAddr]| servers.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        let mut servers = list(&state.nameservers);
        let by_port = list(&state.nameservers_by_port).into_iter();
        servers
            .extend(by_port.map(|server| format!("{server} (port 53 alone: it is the gateway)")));
        let servers = match servers.is_empty() {
            true => "as before: no name server leads through the tunnel".to_owned(),
            false => format!("Windows answers for {}", servers.join(", ")),
        };
        print(&format!("dns     {servers}"))?;
    }
    if let Some(way) = state.way {
        let why = match (&state.way_reason, way) {
            (Some(why), _) => format!(": {why}"),
            (None, TunnelWay::StandardStreams) => ": another way is being tried".to_owned(),
            (None, _) => String::new(),
        };
        print(&format!("way     {way}{why}"))?;
    }
    if let Some(counters) = &state.counters {
        print(&format!("counts  {}", in_words(counters)))?;
    }
    if state.restarts > 0 {
        print(&format!(
            "starts  {}",
            counted(state.restarts as usize, "restart")
        ))?;
    }
    if let Some(error) = &state.last_error {
        let when = if state.up { "last failure" } else { "reason" };
        print(&prose(&format!("{when}: {error}")))?;
        if let Some(code) = state.code().filter(|_| !state.up) {
            print(&prose(&format!("fix: {}", code.remediation())))?;
        }
    }
    Ok(())
}

fn in_words(counters: &TunnelCounters) -> String {
    let TunnelCounters {
        tcp_active,
        tcp_opened,
        tcp_failed,
        udp_active,
        dns_queries,
        bytes_in,
        bytes_out,
        dropped,
        invalid,
        ..
    } = counters;
    format!(
        "{tcp_active} TCP connections of {tcp_opened} ({tcp_failed} failed), {udp_active} UDP flows, {dns_queries} names, {bytes_in} bytes out, {bytes_out} bytes in, {} packets dropped",
        dropped + invalid
    )
}
