//! Reads the machine for the examination and changes nothing. Each source has a
//! deadline: a drive of Windows or a daemon that hangs costs its own checks only.

mod local;
mod root;
mod units;

use std::{path::Path, time::Duration};

use tokio::{join, task::spawn_blocking, time::timeout};

use self::local::Local;
use super::facts::{Facts, Systemd, Text, Wsl};
use crate::{
    config::{Settings, Source},
    model::{HostFacts, HostMemory, Mode, ModeState, Observation},
    netlink::Netlink,
    observe::{self, Devices},
    paths::Paths,
    report::{Document, read_status},
};

/// Longest wait for one source. The sources are read side by side.
const DEADLINE: Duration = Duration::from_secs(2);

/// Reads everything.
pub async fn gather(source: &Source, paths: &Paths) -> Facts {
    let settings = Settings::load(source).map_err(|error| error.to_string());
    let document = read_status(&paths.runtime).ok().flatten();
    let agent = document.filter(Document::is_alive);
    let wsl = observe::mode_at_once().is_none();
    let local = bounded(|| Local::read(Path::new("/")));
    let (seen, units, version, local) = join!(
        seen(settings.as_ref().ok(), agent.as_ref()),
        units::read(),
        version(wsl),
        local,
    );
    let hangs = || format!("did not answer within {} s", DEADLINE.as_secs());
    let local = local.unwrap_or_else(|| Local::unreadable(&hangs()));
    Facts {
        wsl: Wsl {
            is: wsl,
            release: local.release,
            version,
        },
        settings,
        seen,
        agent,
        systemd: Systemd {
            running: local.systemd,
            units,
        },
        wsl_conf: local.wsl_conf,
        sockets: local.sockets,
        sysctls: local.sysctls,
    }
}

/// A blocking reader off the loop; `None` where it does not end in time.
async fn bounded<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    timeout(DEADLINE, spawn_blocking(read)).await.ok()?.ok()
}

async fn version(wsl: bool) -> Option<String> {
    if !wsl {
        return None;
    }
    timeout(DEADLINE, observe::ask_wsl_version()).await.ok()?
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
        None => match timeout(DEADLINE, observe::ask_mode()).await {
            Ok(state) => state,
            Err(_) => ModeState::Unknown(format!(
                "wslinfo did not answer within {} s",
                DEADLINE.as_secs()
            )),
        },
    }
}

/// A text that there is no time for.
fn unreadable<T>(why: &str) -> Text<T> {
    Text::Unreadable(why.to_owned())
}
