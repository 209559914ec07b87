//! Reads the machine and changes nothing. Each source has a deadline: a Windows drive
//! or a daemon that hangs costs its own checks only.

mod clock;
mod dns;
mod files;
mod local;
mod machine;
mod pollers;
mod root;
mod units;
mod windows;

use std::{env, path::Path, time::Duration};

use tokio::{join, time::timeout};

pub(super) use self::root::Root;
use super::facts::{Facts, Systemd, Text, Wsl};
use crate::{
    blocking::{Permit, run_blocking},
    config::{Settings, Source},
    interop::{self, ini::Ini},
    model::{HostFacts, HostMemory, Mode, ModeState, Observation},
    netlink::Netlink,
    observe::{self, Devices, Peers},
    paths::Paths,
    report::{Document, LinkEntry, WireguardEntry, read_status},
};

/// Longest wait for one source. The sources are read side by side.
const DEADLINE: Duration = Duration::from_secs(2);

/// What may be done beyond reading this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Query a name server that is in no private network.
    pub network: bool,
}

/// Reads everything.
pub async fn gather(source: &Source, paths: &Paths, options: Options) -> Facts {
    let settings = Settings::load(source).map_err(|error| error.to_string());
    let document = read_status(&paths.runtime).ok().flatten();
    let agent = document.filter(Document::is_alive);
    let wsl = interop::mode_at_once().is_none();
    let own = files::own(settings.as_ref().ok(), paths);
    let local = async {
        let home = env::var("HOME").ok();
        let read = bounded(move || local::read(&system(), &own, home.as_deref()));
        let mut facts = read
            .await
            .unwrap_or_else(|| Facts::unread(&late("this machine")));
        facts.resolver.answer = dns::query_first(&facts.resolver.text, options.network).await;
        facts
    };
    let network = async {
        let observation = observation(settings.as_ref().ok(), agent.as_ref()).await;
        let peers = match &observation {
            Ok(observation) => peers(observation).await,
            Err(_) => Vec::new(),
        };
        (observation, peers)
    };
    let version = async {
        let version = timeout(DEADLINE, interop::ask_wsl_version());
        if wsl { version.await.ok()? } else { None }
    };
    let ((observation, peers), units, version, facts, interop, (wslconfig, installed)) = join!(
        network,
        units::read(),
        version,
        local,
        bounded(move || windows::interop(&system(), wsl)),
        drive(wsl),
    );
    Facts {
        root: rustix::process::geteuid().is_root(),
        now_unix: clock::now_unix(),
        wsl: Wsl {
            is: wsl,
            version,
            ..facts.wsl
        },
        settings,
        observation,
        peers,
        agent,
        systemd: Systemd {
            units,
            ..facts.systemd
        },
        wslconfig,
        installed,
        // Looking for powershell.exe may hang with the drive.
        interop: interop.unwrap_or_else(|| Facts::unread(&late("the Windows drive")).interop),
        ..facts
    }
}

fn system() -> Root {
    Root::new(Path::new("/"))
}

fn late(who: &str) -> String {
    format!("{who} did not answer within {} s", DEADLINE.as_secs())
}

/// A blocking reader in a thread of its own; `None` where it does not end in time.
async fn bounded<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    run_blocking(Permit::default(), DEADLINE, read).await.ok()
}

/// Windows' .wslconfig, and whether `wslmesh host install` was run there.
async fn drive(wsl: bool) -> (Text<Ini>, bool) {
    if !wsl {
        return (Text::Missing, false);
    }
    let read = bounded(|| {
        let mounts = interop::automount_root();
        windows::drive(&system(), &mounts.to_string_lossy())
    });
    read.await
        .unwrap_or_else(|| (Text::Unreadable(late("the Windows drive")), false))
}

/// WireGuard's peers, which only root can read.
async fn peers(observation: &Observation) -> Vec<WireguardEntry> {
    let devices = &observation.wireguard;
    if devices.values().all(|reading| reading.device().is_none()) {
        return Vec::new();
    }
    let links = observation.links.iter();
    let ours = links.filter(|link| devices.contains_key(&link.name));
    let links: Vec<LinkEntry> = ours.map(LinkEntry::from).collect();
    let peers = Peers::default();
    timeout(DEADLINE, peers.of(&links))
        .await
        .unwrap_or_default()
}

/// What a pass of the agent would observe.
async fn observation(
    settings: Option<&Settings>,
    agent: Option<&Document>,
) -> Result<Observation, String> {
    let settings = settings.ok_or_else(|| "the configuration has errors".to_owned())?;
    let netlink = Netlink::connect().map_err(|error| error.to_string())?;
    let host = HostMemory {
        facts: HostFacts {
            windows_address: agent.and_then(|document| document.windows_address),
            ..HostFacts::default()
        },
        ..HostMemory::default()
    };
    let devices = Devices::default();
    let observe = observe::observe(settings, &netlink, &devices, ModeState::Pending, host);
    let (mode, observed) = join!(mode(agent), timeout(DEADLINE, observe));
    let observation = observed.map_err(|_| late("rtnetlink"))?;
    let observation = observation.map_err(|error| error.to_string())?;
    Ok(Observation {
        mode,
        ..observation
    })
}

/// The mode as the agent knows it, which cannot have changed since; else as WSL
/// answers now.
async fn mode(agent: Option<&Document>) -> ModeState {
    match agent.and_then(|document| Mode::parse(&document.mode)) {
        Some(mode) => ModeState::Known(mode),
        None => timeout(DEADLINE, interop::ask_mode())
            .await
            .unwrap_or_else(|_| ModeState::Unknown(late("wslinfo"))),
    }
}
