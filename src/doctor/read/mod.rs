//! Reads the machine for the examination and changes nothing. Each source has a
//! deadline: a drive of Windows or a daemon that hangs costs its own checks only.

mod clock;
mod dns;
mod files;
mod local;
mod machine;
mod pollers;
mod processes;
mod root;
mod units;
mod windows;

use std::{env, path::Path, time::Duration};

use tokio::{join, time::timeout};

use self::{local::Local, root::Root, windows::Drive};
use super::facts::{Facts, Interop, Resolver, Systemd, Text, Way, Wsl};
use crate::{
    blocking::{Permit, run_blocking},
    config::{Settings, Source},
    interop,
    model::{Code, HostFacts, HostMemory, Mode, ModeState, Observation},
    netlink::Netlink,
    observe::{self, Devices, Peers},
    paths::Paths,
    report::{Document, LinkEntry, WireguardEntry, read_status},
};

/// Longest wait for one source. The sources are read side by side.
const DEADLINE: Duration = Duration::from_secs(2);

/// What the examination may do beyond reading this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Ask a name server although it is a stranger's.
    pub network: bool,
}

/// Reads everything.
pub async fn gather(source: &Source, paths: &Paths, wish: Wish) -> Facts {
    let settings = Settings::load(source).map_err(|error| error.to_string());
    let document = read_status(&paths.runtime).ok().flatten();
    let agent = document.filter(Document::is_alive);
    let wsl = interop::mode_at_once().is_none();
    let own = files::own(settings.as_ref().ok(), paths);
    let local = bounded(move || {
        let home = env::var("HOME").ok();
        Local::read(Path::new("/"), &own, home.as_deref())
    });
    let local = async {
        let local = local.await;
        let local = local.unwrap_or_else(|| Local::unreadable(&hangs()));
        let answer = dns::ask(&local.resolver.text, wish.network).await;
        (local, answer)
    };
    let network = async {
        let seen = seen(settings.as_ref().ok(), agent.as_ref()).await;
        let peers = match &seen {
            Ok(seen) => peers(seen).await,
            Err(_) => Vec::new(),
        };
        (seen, peers)
    };
    let ((seen, peers), units, version, (local, answer), interop, drive) = join!(
        network,
        units::read(),
        version(wsl),
        local,
        interop(wsl),
        drive(wsl),
    );
    Facts {
        root: rustix::process::geteuid().is_root(),
        now_unix: clock::now_unix(),
        wsl: Wsl {
            is: wsl,
            release: local.release,
            version,
        },
        settings,
        seen,
        peers,
        routes: local.routes,
        agent,
        systemd: Systemd {
            running: local.systemd,
            units,
        },
        wsl_conf: local.wsl_conf,
        wslconfig: drive.wslconfig,
        installed: drive.installed,
        sockets: local.sockets,
        sysctls: local.sysctls,
        resolver: Resolver {
            text: local.resolver.text,
            link: local.resolver.link,
            immutable: local.resolver.immutable,
            answer,
        },
        clock: local.clock,
        interop,
        processes: local.processes,
        guarded: local.guarded,
        hidden_keys: local.hidden_keys,
        pollers: local.pollers,
        resources: local.resources,
        kernel: local.kernel,
    }
}

fn hangs() -> String {
    format!("did not answer within {} s", DEADLINE.as_secs())
}

/// The way to Windows programs. Looking for powershell.exe may hang with the drive.
async fn interop(wsl: bool) -> Interop {
    let look = bounded(move || windows::interop(&Root::new(Path::new("/")), wsl));
    look.await.unwrap_or_else(|| Interop {
        entry: None,
        init: true,
        way: Way::None(
            Code::InteropTimeout,
            format!("the Windows drive {}", hangs()),
        ),
        named: None,
    })
}

async fn drive(wsl: bool) -> Drive {
    if !wsl {
        return Drive {
            wslconfig: Text::Missing,
            installed: false,
        };
    }
    let look = bounded(|| {
        let mounts = interop::automount_root();
        Drive::read(&Root::new(Path::new("/")), &mounts.to_string_lossy())
    });
    look.await.unwrap_or_else(|| Drive {
        wslconfig: unreadable(&format!("the Windows drive {}", hangs())),
        installed: false,
    })
}

/// WireGuard's peers. Asking is root's.
async fn peers(seen: &Observation) -> Vec<WireguardEntry> {
    if !seen
        .wireguard
        .values()
        .any(|reading| reading.device().is_some())
    {
        return Vec::new();
    }
    let ours = seen
        .links
        .iter()
        .filter(|link| seen.wireguard.contains_key(&link.name));
    let links: Vec<LinkEntry> = ours.map(LinkEntry::from).collect();
    let peers = Peers::default();
    timeout(DEADLINE, peers.of(&links))
        .await
        .unwrap_or_default()
}

/// A blocking reader off the loop; `None` where it does not end in time.
async fn bounded<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    run_blocking(Permit::default(), DEADLINE, read).await.ok()
}

async fn version(wsl: bool) -> Option<String> {
    if !wsl {
        return None;
    }
    timeout(DEADLINE, interop::ask_wsl_version()).await.ok()?
}

/// What a pass of the agent would see.
async fn seen(
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
    let look = observe::observe(settings, &netlink, &devices, ModeState::Pending, host);
    let (mode, seen) = join!(mode(agent), timeout(DEADLINE, look));
    match seen {
        Ok(Ok(mut seen)) => {
            seen.mode = mode;
            Ok(seen)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the kernel did not list its network in time".to_owned()),
    }
}

/// The mode as the agent knows it, which cannot have changed since; else as WSL
/// answers now.
async fn mode(agent: Option<&Document>) -> ModeState {
    let known = agent.and_then(|document| Mode::parse(&document.mode));
    match known {
        Some(mode) => ModeState::Known(mode),
        None => timeout(DEADLINE, interop::ask_mode())
            .await
            .unwrap_or_else(|_| ModeState::Unknown(format!("wslinfo {}", hangs()))),
    }
}

/// A text that there is no time for.
fn unreadable<T>(why: &str) -> Text<T> {
    Text::Unreadable(why.to_owned())
}
