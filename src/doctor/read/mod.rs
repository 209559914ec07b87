//! Reads the machine and changes nothing. Each source has a deadline: a Windows drive
//! or a daemon that hangs costs its own checks only.

mod files;
mod forward;
mod limits;
mod local;
mod machine;
mod path;
mod pollers;
mod port;
mod processes;
mod root;
mod units;
mod windows;

use std::{env, path::Path, time::Duration};

use tokio::{join, time::timeout};

pub(super) use self::root::Root;
pub use self::{
    forward::{ForwardError, read_forward, test_here},
    path::{PathError, measure_path},
    port::{connect, read_port},
};
use super::{facts::Facts, verdict::NOT_WSL};
use crate::{
    blocking::{Permit, run_blocking},
    config::{Settings, Source, TunnelWhen},
    interop,
    model::{HostFacts, HostMemory, Link, Mode, ModeState, NatLook, Observation},
    netlink::Netlink,
    observe::{self, DNS_DEADLINE, Devices, Peers},
    paths::Paths,
    plan,
    report::{ClockHistory, Document, LinkEntry, WireguardEntry, read_status},
};

/// Longest wait for one source. The sources are read side by side. The kernel and WireGuard's
/// devices have limits of their own for each question: a limit for all of them together would
/// end early where the machine is busy.
const DEADLINE: Duration = Duration::from_secs(2);

/// Reads everything. `public` has the name server queried even if it is in no private
/// network.
pub async fn gather(source: &Source, paths: &Paths, public: bool) -> Facts {
    let settings = Settings::load(source).map_err(|error| error.to_string());
    let document = read_status(&paths.runtime).ok().flatten();
    let agent = document.filter(Document::is_alive);
    let wsl = interop::is_wsl();
    let own = files::own(settings.as_ref().ok(), paths);
    let local = async {
        let home = env::var("HOME").ok();
        let read = move |root: &Root| local::read(root, &own, home.as_deref());
        let mut local = within("this machine", read).await?;
        let servers = local.dns.resolver.servers();
        local.dns.answer = observe::query_first(servers, public, DNS_DEADLINE).await;
        Ok(local)
    };
    let network = async {
        let settings = settings.as_ref().ok();
        let observation = observation(settings, agent.as_ref(), &paths.runtime).await;
        let (peers, nat) = match (&observation, settings) {
            (Ok(observation), Some(settings)) => {
                join!(peers(observation), nat(settings, observation, public))
            }
            _ => (Vec::new(), None),
        };
        (observation, peers, nat)
    };
    let windows = async {
        if !wsl {
            let not = || NOT_WSL.to_owned();
            return (None, Err(not()), Err(not()));
        }
        let version = timeout(DEADLINE, interop::ask_wsl_version());
        let drive = |root: &Root| windows::drive(root, &interop::Drives::read());
        let (version, drive, interop) = join!(
            version,
            within("the Windows drive", drive),
            // Looking for powershell.exe may hang with the drive.
            within("the Windows drive", windows::interop),
        );
        (version.ok().flatten(), drive, interop)
    };
    let ((observation, peers, nat), units, local, (wsl_version, drive, interop)) =
        join!(network, units::read(), local, windows);
    let drive = drive.unwrap_or_else(windows::Drive::unread);
    Facts {
        root: rustix::process::geteuid().is_root(),
        now_unix: observe::now_unix(),
        wsl,
        wsl_version,
        settings,
        observation,
        nat,
        peers,
        clock_history: ClockHistory::read(&paths.runtime, observe::clocks().boot_ms),
        agent,
        units,
        wslconfig: drive.wslconfig,
        idle: drive.idle,
        wslconfig_near: drive.near,
        installed: drive.installed,
        windows_disk: drive.disk,
        interop,
        local,
    }
}

fn late(who: &str) -> String {
    format!("{who} did not answer within {} s", DEADLINE.as_secs())
}

/// Reads files of this machine in a thread of its own.
///
/// # Errors
/// `who` did not answer in time.
async fn within<T: Send + 'static>(
    who: &str,
    read: impl FnOnce(&Root) -> T + Send + 'static,
) -> Result<T, String> {
    let read = move || read(&Root("/".into()));
    let done = run_blocking(Permit::default(), DEADLINE, read).await;
    done.map_err(|_| late(who))
}

/// WireGuard's peers, which only root can read.
async fn peers(observation: &Observation) -> Vec<WireguardEntry> {
    let readable = |link: &&Link| {
        let reading = observation.wireguard.get(&link.name);
        reading.is_some_and(|reading| reading.device().is_some())
    };
    let links = observation.links.iter().filter(readable);
    let links: Vec<LinkEntry> = links.map(LinkEntry::from).collect();
    Peers::default().of(&links).await
}

/// What a look at Windows' NAT finds; nothing in other modes, or without a gateway.
async fn nat(settings: &Settings, seen: &Observation, public: bool) -> Option<NatLook> {
    let node = plan::node(settings, seen).ok()?;
    let underlay = node
        .underlay()
        .filter(|_| seen.mode.known() == Some(Mode::Nat))?;
    let netlink = Netlink::connect().ok()?;
    // Who has the agent look has it query public servers, too.
    let public = public || settings.tunnel_when == TunnelWhen::NatBroken;
    Some(observe::look_at_nat(&netlink, underlay, seen.tunnel(), public).await)
}

/// What a pass of the agent would observe.
async fn observation(
    settings: Option<&Settings>,
    agent: Option<&Document>,
    runtime: &Path,
) -> Result<Observation, String> {
    let settings = settings.ok_or_else(|| "the configuration has errors".to_owned())?;
    let netlink = Netlink::connect().map_err(|error| error.to_string())?;
    let host = HostMemory {
        facts: HostFacts {
            windows_address: agent.and_then(|document| document.windows_address),
            lowest_mtu: agent.and_then(|document| document.lowest_mtu.clone()),
            ..HostFacts::default()
        },
        ..HostMemory::default()
    };
    let devices = Devices::default();
    let pending = ModeState::Pending;
    let observe = observe::observe(settings, &netlink, &devices, pending, host, runtime);
    let (mode, observed) = join!(mode(agent), observe);
    let mut observation = observed.map_err(|error| error.to_string())?;
    observation.mode = mode;
    Ok(observation)
}

/// The mode as the agent knows it, which cannot have changed since; else as WSL
/// answers now.
async fn mode(agent: Option<&Document>) -> ModeState {
    if let Some(mode) = agent.and_then(|document| Mode::parse(&document.mode)) {
        return ModeState::Known(mode);
    }
    let mode = timeout(DEADLINE, interop::ask_mode()).await;
    mode.unwrap_or_else(|_| ModeState::Unknown(late("wslinfo")))
}
