//! `wslmesh setup`: the first run.

mod choice;

use std::{net::IpAddr, time::Duration};

use anyhow::{anyhow, bail};
use clap::Args;
use tokio::time::{Instant, sleep};

use self::choice::{NONE, Reach, Wanted, forwards, parse_list, parse_reach, proposed};
use super::{
    ask::{answer, confirm, has_terminal},
    doctor,
    host::{self, Approval, Install, print_block, reloaded},
    members,
    output::{Exit, print, print_error, prose},
    wsl_files,
};
use crate::{
    config::{Backend, DropIn, Forward, Settings, Source, add_wireguard},
    control::reload_of,
    doctor::{
        Facts, Tunnel, TunnelKind, gather, lacks_systemd, services, stops_when_idle, tunnels,
    },
    interop::WslFile,
    model::{ForwardState, InterfaceName},
    paths::Paths,
    report::read_status,
};

/// For the end of the help.
pub(super) const EXAMPLES: &str = "Examples:
  sudo wslmesh setup
  sudo wslmesh setup --yes --forward udp:51820 --forward tcp:2222:22 --reach lan
  wslmesh setup --dry-run

Exit status: that of the doctor page at the end, 0 or 3; 1 if a step failed or
the answer was no; 2 usage error, or no terminal to ask at.";

#[derive(Debug, Args)]
pub(super) struct Setup {
    /// Forward this port of Windows: udp:51820, or tcp:2222:22 to another port here
    /// [default: asked; with --yes the port of each WireGuard device]
    #[arg(long = "forward", value_name = "PROTO:PORT[:HERE]")]
    wanted: Vec<Wanted>,
    /// Who may connect to them [default: asked; with --yes lan, or lan6 where this
    /// distribution has IPv6 alone]
    #[arg(long)]
    reach: Option<Reach>,
    /// Do not have Windows' administrator approve the forwards
    #[arg(long)]
    no_install: bool,
    /// Leave .wslconfig as it is, although WSL stops this distribution when it is idle
    #[arg(long)]
    no_keep_running: bool,
    /// Show what it found and what it would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask: yes to every question (Windows still asks)
    #[arg(long)]
    yes: bool,
}

pub(super) async fn setup(arguments: Setup, source: Source, paths: Paths) -> anyhow::Result<Exit> {
    let is_root = rustix::process::geteuid().is_root();
    if source == Source::System && !is_root && !arguments.dry_run {
        bail!("it writes the system's configuration: sudo wslmesh setup");
    }
    // Before anything is asked: a configuration with errors cannot be added to.
    let settings = Settings::load(&source)?;
    if !arguments.yes && !arguments.dry_run && !has_terminal() {
        print_error(&anyhow!(
            "there is no terminal to ask at, and nothing was changed: look with --dry-run, then use --yes, with --forward and --reach for what you want"
        ));
        return Ok(Exit::Usage);
    }
    let facts = gather(&source, &paths, false).await;
    let tunnels = tunnels(&facts).map_err(|why| anyhow!("cannot look for tunnels: {why}"))?;
    show_found(&facts, &tunnels, &settings)?;
    let usual = match facts.has_ipv6_alone() {
        true => "lan6",
        false => "lan",
    };
    let Some(chosen) = choose(&arguments, usual, &tunnels, &settings)? else {
        print("nothing was changed")?;
        return Ok(Exit::Failed);
    };
    let uncovered = uncovered(&tunnels, &facts, &settings);
    show_chosen(&chosen, &uncovered)?;
    if arguments.dry_run {
        print("\nNothing was changed.")?;
        return Ok(Exit::Fine);
    }
    let is_new = !chosen.is_empty() || !uncovered.is_empty();
    if is_new && !arguments.yes && !confirm("Write this configuration?")? {
        print("nothing was changed")?;
        return Ok(Exit::Failed);
    }
    let settings = write(&source, settings, &chosen, &uncovered)?;
    let steps = [
        reloaded(&reload_of(&source, &paths).await)?,
        windows_side(&arguments, &settings, &facts, &paths).await?,
        wsl_files(&arguments, &facts, &paths).await?,
    ];
    settled(&settings, &paths).await;
    print("\nDoctor:")?;
    let page = doctor::doctor(doctor::Command::default(), source, paths).await?;
    Ok(match steps.contains(&Exit::Failed) {
        true => Exit::Failed,
        false => page,
    })
}

/// What was found.
fn show_found(facts: &Facts, tunnels: &[Tunnel], settings: &Settings) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for tunnel in tunnels {
        let port = tunnel.port.map(|port| format!(", UDP port {port}"));
        let state = match &tunnel.fix {
            None => "up".to_owned(),
            Some(fix) => format!("not up: {fix}"),
        };
        lines.push(format!(
            "{} {}: {state}{}",
            tunnel.kind,
            tunnel.name,
            port.unwrap_or_default()
        ));
    }
    if tunnels.is_empty() {
        lines.push("no WireGuard, Tailscale or NetBird".to_owned());
    }
    let services: Vec<String> = services(facts).iter().map(u16::to_string).collect();
    if !services.is_empty() {
        lines.push(format!("services on TCP port {}", services.join(", ")));
    }
    lines.extend(settings.forwards.iter().map(line));
    Ok(print_block("Found:", &lines)?)
}

/// Where a forward leads.
fn line(forward: &Forward) -> String {
    let (protocol, listen, connect) = (forward.protocol, forward.listen_port, forward.connect_port);
    format!(
        "forward {}: {protocol} {listen} of Windows to {connect} here",
        forward.name
    )
}

/// The forwards to make; `None` where the person ended the questions.
fn choose(
    arguments: &Setup,
    usual: &str,
    tunnels: &[Tunnel],
    settings: &Settings,
) -> anyhow::Result<Option<Vec<Forward>>> {
    let proposed = proposed(tunnels, settings);
    let asks = !arguments.yes && !arguments.dry_run;
    let make = |wanted: &[Wanted], reach| forwards(wanted, reach, tunnels, settings);
    let wanted = match arguments.wanted.as_slice() {
        [] if asks => {
            print(
                "\nA port of Windows can lead to this distribution: udp:51820, or tcp:2222:22\nwhere the port here is another. Several have blanks between them.",
            )?;
            let default: Vec<String> = proposed.iter().map(ToString::to_string).collect();
            let default = match default.as_slice() {
                [] => NONE.to_owned(),
                ports => ports.join(" "),
            };
            let read = |text: &str| {
                let wanted = parse_list(text)?;
                // Whether they can be had does not depend on who may connect.
                make(&wanted, Reach::Lan).map(|_| wanted)
            };
            let Some(wanted) = answer("Ports to forward, or none?", &default, read)? else {
                return Ok(None);
            };
            wanted
        }
        [] => proposed,
        wanted => wanted.to_vec(),
    };
    let reach = match arguments.reach {
        Some(reach) => reach,
        None if asks && !wanted.is_empty() => {
            let question = "Who may connect: lan (Windows' local subnet), lan6 (by IPv6 too) or windows (this machine only)?";
            let Some(reach) = answer(question, usual, parse_reach)? else {
                return Ok(None);
            };
            reach
        }
        None => parse_reach(usual).map_err(|why| anyhow!(why))?,
    };
    Ok(Some(make(&wanted, reach).map_err(|why| anyhow!(why))?))
}

/// WireGuard devices that the configuration does not cover. NetBird sets keepalives itself.
fn uncovered(tunnels: &[Tunnel], facts: &Facts, settings: &Settings) -> Vec<InterfaceName> {
    let wireguard = tunnels
        .iter()
        .filter(|tunnel| tunnel.kind == TunnelKind::WireGuard);
    let names = wireguard.map(|tunnel| &tunnel.name);
    let covered = |name: &InterfaceName| facts.is_covered(name, settings);
    names.filter(|name| !covered(name)).cloned().collect()
}

fn show_chosen(chosen: &[Forward], uncovered: &[InterfaceName]) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for forward in chosen {
        let who = match forward.listen_address {
            address if address.is_loopback() => "for this Windows alone",
            IpAddr::V4(_) => "for the local subnet",
            IpAddr::V6(_) => "for the local subnet, IPv6 too",
        };
        lines.push(format!("{}, {who}", line(forward)));
    }
    for name in uncovered {
        lines.push(format!("keepalives for the peers of {name}"));
    }
    if lines.is_empty() {
        lines.push("nothing to add".to_owned());
    }
    Ok(print_block("\nConfiguration:", &lines)?)
}

/// Writes the configuration, a file for each forward: whatever ends this, each is there
/// whole or not at all, and the next run goes on.
fn write(
    source: &Source,
    mut settings: Settings,
    chosen: &[Forward],
    uncovered: &[InterfaceName],
) -> anyhow::Result<Settings> {
    if !uncovered.is_empty() {
        let (path, with) = add_wireguard(source, uncovered)?;
        print(&format!("written: {}", path.display()))?;
        settings = with;
    }
    for forward in chosen {
        let drop_in = DropIn::of(source, &forward.name)?;
        (_, settings) = drop_in.add(forward)?;
        print(&format!("written: {}", drop_in.path().display()))?;
    }
    Ok(settings)
}

/// Has Windows' administrator approve the forwards, where that is needed.
async fn windows_side(
    arguments: &Setup,
    settings: &Settings,
    facts: &Facts,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    let backed = |forward: &&Forward| settings.backend_of(forward) != Backend::None;
    let forwards: Vec<&Forward> = settings.forwards.iter().filter(backed).collect();
    let unneeded = match () {
        () if !facts.is_wsl() => Some("this is not WSL"),
        () if forwards.is_empty() => Some("no forward is configured"),
        () if arguments.no_install => Some("--no-install; later: wslmesh host install"),
        () => None,
    };
    if let Some(why) = unneeded {
        print(&prose(&format!("nothing to approve on Windows: {why}")))?;
        return Ok(Exit::Fine);
    }
    match host::approval(&forwards, settings, paths).await {
        Ok(Approval::Given) => {
            print("the forwards are approved on Windows")?;
            Ok(Exit::Fine)
        }
        Ok(Approval::NotInstalled | Approval::Lacks(_)) => {
            if let Some(there) = members::install_elsewhere(paths) {
                print(&format!("to have the forwards approved, {there}"))?;
                return Ok(Exit::Degraded);
            }
            let install = Install::as_configured(arguments.yes);
            host::install(&install, settings, paths).await
        }
        Err(error) => {
            print_error(&error);
            Ok(Exit::Degraded)
        }
    }
}

/// Sets what this distribution needs in WSL's own files, where the person agrees.
async fn wsl_files(arguments: &Setup, facts: &Facts, paths: &Paths) -> anyhow::Result<Exit> {
    let mut wanted = Vec::new();
    if lacks_systemd(facts) {
        let why =
            "WSL starts this distribution without systemd, which runs the agent and the tunnels.";
        wanted.push((WslFile::Conf, "boot.systemd", "true", why.to_owned()));
    }
    if let Some(why) = stops_when_idle(facts).filter(|_| !arguments.no_keep_running) {
        let key = "general.instanceIdleTimeout";
        wanted.push((WslFile::Config, key, "-1", format!("{why}.")));
    }
    let mut exit = Exit::Fine;
    for (file, key, value, why) in wanted {
        print(&prose(&format!("\n{why}")))?;
        if arguments.yes || confirm(&format!("Set {key} to {value} in {file}?"))? {
            let set = wsl_files::set(file, None, key, value, paths).await;
            exit = exit.or(set.unwrap_or_else(|error| {
                print_error(&error);
                Exit::Failed
            }));
        }
    }
    Ok(exit)
}

/// How long Windows may take to make the forwards.
const WINDOWS: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// Waits until the agent has dealt with each forward, so that the page shows what is.
async fn settled(settings: &Settings, paths: &Paths) {
    let end = Instant::now() + WINDOWS;
    while Instant::now() < end {
        let document = read_status(&paths.runtime).ok().flatten();
        let Some(document) = document.filter(|document| document.is_alive()) else {
            return;
        };
        let is_settled = |forward: &Forward| {
            let mut served = document.served.iter();
            served.any(|one| one.name == forward.name && one.state != ForwardState::Pending)
        };
        if document.mode != "pending" && settings.forwards.iter().all(is_settled) {
            return;
        }
        sleep(LOOK).await;
    }
}
