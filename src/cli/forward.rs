//! `wslmesh forward`

mod list;
mod test;

use std::net::{IpAddr, Ipv4Addr};

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde::de::DeserializeOwned;

use super::{
    host::{self, Approval, Install, reloaded},
    members::{self, INSTALL},
    output::{Exit, print, print_error},
};
use crate::{
    config::{
        Added, Backend, DropIn, Firewall, Forward, Protocol, ProxyProtocol, Remarks, Settings,
        Source, connect_ports, located, loopback_address, parse_listen_address,
    },
    control::{Client, ControlError, Reload, reload_of},
    model::{PortRange, from_word},
    paths::Paths,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Forward a port of Windows to this distribution
    ///
    /// The agent writes a drop-in beside the configuration; without an agent on the
    /// system bus root writes it. Where the policy on Windows does not allow it, `host
    /// install` follows, which asks.
    Add(Add),
    /// Remove a forward that `forward add` made
    Remove {
        /// Its name
        name: String,
    },
    /// Test a forward hop by hop, from its service to Windows' port, and name what fails
    ///
    /// Connects to the service, from here and from Windows, and changes nothing. A service
    /// behind `proxy-protocol`, or one that closes a connection without it, gets its header; a
    /// UDP service gets an empty datagram. Any user may run it; only root sees whose the
    /// processes of other users are.
    #[command(after_help = test::EXIT_STATUS)]
    Test(test::Test),
    /// List the configured forwards with each forward's backend and state
    ///
    /// With whether a service answers, and the relay's counters.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
// As clap would have it, on two lines: one has more columns than a terminal.
#[command(
    override_usage = "wslmesh forward add [OPTIONS] --protocol <PROTOCOL>\n       --listen-port <PORT> <NAME>"
)]
pub(super) struct Add {
    /// A name for it: letters, digits, dots, dashes and underscores, at most 64
    name: String,
    /// tcp or udp
    #[arg(long, value_parser = named::<Protocol>(&["tcp", "udp"]))]
    protocol: Protocol,
    /// Windows' port, 1 to 65535, or a range such as 8000-8010
    #[arg(long, value_name = "PORT")]
    listen_port: PortRange,
    /// The port in this distribution, or a range as long [default: the same]
    #[arg(long, value_name = "PORT")]
    connect_port: Option<PortRange>,
    /// 127.0.0.1 for a service that listens there alone, which often asks for no password
    #[arg(long, value_name = "ADDRESS", value_parser = loopback_address)]
    connect_address: Option<Ipv4Addr>,
    /// Windows' address to listen on; 0.0.0.0 is all of IPv4, :: all of IPv4 and IPv6
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0", value_parser = parse_listen_address)]
    listen_address: IpAddr,
    /// Whom Windows' firewall lets in: none (no rule), the local subnet, or all
    #[arg(long, default_value = "local", value_parser = named::<Firewall>(&["none", "local", "full"]))]
    firewall: Firewall,
    /// What serves this one [default: what the configuration says]
    #[arg(long, value_parser = named::<Backend>(&["auto", "relay", "portproxy", "tunnel"]))]
    backend: Option<Backend>,
    /// Tell the service who its client is, by the PROXY protocol of this version
    #[arg(long, value_name = "VERSION", value_parser = named::<ProxyProtocol>(&["v2"]))]
    proxy_protocol: Option<ProxyProtocol>,
    /// Change the configuration only; do not ask Windows' administrator
    #[arg(long)]
    no_install: bool,
    /// Do not ask before changing the policy on Windows
    #[arg(long)]
    yes: bool,
}

/// One of these names, as the configuration has them.
fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name: String| from_word(&name))
}

pub(super) async fn forward(
    command: Command,
    source: Source,
    paths: Paths,
) -> anyhow::Result<Exit> {
    match command {
        Command::Add(arguments) => add(arguments, &source, &paths).await,
        Command::Remove { name } => remove(&name, &source, &paths).await,
        Command::Test(arguments) => test::test(arguments, &source, &paths).await,
        Command::List { json } => list::list(&source, &paths, json).await,
    }
}

/// Changes the system's configuration through the agent on the bus, which decides who
/// may. `None` without an agent, and for another configuration.
async fn by_agent(
    source: &Source,
    change: impl AsyncFnOnce(Client) -> Result<String, ControlError>,
) -> anyhow::Result<Option<String>> {
    if *source != Source::System {
        return Ok(None);
    }
    let changed = async { change(Client::connect().await?).await };
    match changed.await {
        Ok(path) => Ok(Some(path)),
        Err(ControlError::Absent(_) | ControlError::Denied) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A forward's drop-in. Without an agent on the bus the system's configuration is root's.
fn drop_in(source: &Source, name: &str, what: &str) -> anyhow::Result<DropIn> {
    if *source == Source::System && !rustix::process::geteuid().is_root() {
        let folder = source.drop_ins();
        let folder = folder.display();
        anyhow::bail!("only root changes {folder}: sudo wslmesh forward {what} ...");
    }
    Ok(DropIn::of(source, name)?)
}

async fn add(arguments: Add, source: &Source, paths: &Paths) -> anyhow::Result<Exit> {
    let (listen, connect) = (arguments.listen_port, arguments.connect_port);
    let connect_port =
        connect_ports(listen, connect).map_err(|why| anyhow::anyhow!("--connect-port {why}"))?;
    let forward = Forward {
        protocol: arguments.protocol,
        listen_address: arguments.listen_address,
        listen_port: listen,
        connect_address: arguments.connect_address,
        connect_port,
        firewall: arguments.firewall,
        backend: arguments.backend,
        proxy_protocol: arguments.proxy_protocol,
        remarks: Remarks::default(),
        name: arguments.name.clone(),
    };
    let added = by_agent(source, async |client| client.add_forward(&forward).await).await?;
    let (settings, reload) = match added {
        Some(path) => {
            print(&format!("written: {path}"))?;
            (Settings::load(source)?, Reload::Done)
        }
        None => {
            let drop_in = drop_in(source, &forward.name, "add")?;
            let (added, settings) = drop_in.add(&forward)?;
            let path = drop_in.path().display();
            print(&match added {
                Added::Written => format!("written: {path}"),
                Added::Already => format!("{path} already has it"),
            })?;
            (settings, reload_of(source, paths).await)
        }
    };
    let exit = reloaded(&reload)?;
    let agreed = agree(&arguments, &forward, &settings, paths).await?;
    Ok(agreed.or(exit))
}

/// Has Windows' policy changed where it does not allow the forward. The forward
/// is configured by now, so that nothing of this is a failure of adding it.
async fn agree(
    arguments: &Add,
    forward: &Forward,
    settings: &Settings,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    if settings.backend == Backend::None {
        print("[host] backend is \"none\": no forward is made on Windows")?;
        return Ok(Exit::Fine);
    }
    let lacks = match host::approval(&[forward], settings, paths).await {
        Ok(Approval::Given) => return Ok(Exit::Fine),
        Ok(Approval::NotInstalled) => {
            print(
                "not installed on Windows: run `wslmesh host install` to open the port to the LAN",
            )?;
            return Ok(Exit::Fine);
        }
        Ok(Approval::Lacks(what)) => what,
        Err(error) => {
            print_error(&error);
            return Ok(Exit::Degraded);
        }
    };
    print(&format!("the policy on Windows {lacks}"))?;
    if let Some(there) = members::install_elsewhere(paths) {
        print(&format!("to allow it, {there}"))?;
        return Ok(Exit::Degraded);
    }
    if arguments.no_install {
        print(&format!("to allow it, run: {INSTALL}"))?;
        return Ok(Exit::Degraded);
    }
    let arguments = Install::as_configured(arguments.yes);
    let exit = host::install(&arguments, settings, paths).await?;
    // Otherwise the forward is configured and not served.
    Ok(Exit::unless(exit != Exit::Fine))
}

async fn remove(name: &str, source: &Source, paths: &Paths) -> anyhow::Result<Exit> {
    let removed = by_agent(source, async |client| client.remove_forward(name).await).await?;
    let (left, reload) = match removed {
        Some(path) => {
            print(&format!("removed: {path}"))?;
            let mut files = located(source)?.into_iter();
            (files.find(|file| file.name == name), Reload::Done)
        }
        None => {
            let drop_in = drop_in(source, name, "remove")?;
            let left = drop_in.remove()?;
            print(&format!("removed: {}", drop_in.path().display()))?;
            (left, reload_of(source, paths).await)
        }
    };
    let exit = reloaded(&reload)?;
    let Some(left) = left else {
        return Ok(exit);
    };
    print_error(&anyhow::anyhow!(
        "a forward {name:?} at {}:{} is in force again: remove its block with an editor, then: systemctl reload wslmesh",
        left.file.display(),
        left.line
    ));
    Ok(Exit::Failed)
}
