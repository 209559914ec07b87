//! The loop: wait, observe, plan, apply, publish.

mod backoff;
mod leader;
mod ledger;
mod machine;
mod once;
mod pass;
mod publish;
mod timer;
mod windows;

use std::{future::pending, io, path::PathBuf, time::Instant};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep_until, timeout_at},
};

pub use self::leader::{Election, Leadership, elect};
pub use self::once::once;
pub use self::pass::{Done, look};
use self::{
    machine::Linux,
    pass::Agent,
    timer::Timer,
    windows::{News, Windows},
};
use crate::{
    config::{ConfigError, Settings, Source},
    model::Finding,
    netlink::{NetlinkError, Watch},
    observe,
    paths::Paths,
    report::{Code, Manager, remove_status},
};

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration has errors.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kernel's network tables are out of reach.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Signals, timers or the leader's socket.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> AgentError {
    move |source| AgentError::System { what, source }
}

struct Signals {
    stop: [Signal; 2],
    reload: Signal,
}

impl Signals {
    fn catch() -> Result<Self, AgentError> {
        let catch = |kind| signal(kind).map_err(system("catch signals"));
        Ok(Self {
            stop: [
                catch(SignalKind::terminate())?,
                catch(SignalKind::interrupt())?,
            ],
            reload: catch(SignalKind::hangup())?,
        })
    }

    async fn stop(stop: &mut [Signal; 2]) {
        let [terminate, interrupt] = stop;
        select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    }
}

/// Why the loop woke up.
enum Wake {
    Network,
    ClockSet,
    Reload,
    Due,
    Windows(News),
    Alive,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// See [`AgentError`]. Once the first pass is made, only the loss of the
/// kernel's event stream ends the loop with an error.
pub async fn run(source: Source, paths: Paths) -> Result<(), AgentError> {
    let mut signals = Signals::catch()?;
    let settings = Settings::load(&source)?;
    let mut manager = Manager::default();
    let leadership = tokio::select! {
        leadership = lead(&mut manager, &paths) => Some(leadership?),
        () = Signals::stop(&mut signals.stop) => None,
    };
    let Some(leadership) = leadership else {
        manager.stopping();
        remove_status(&paths.runtime);
        return Ok(());
    };
    leadership
        .serve()
        .map_err(system("serve the standby agents"))?;
    let files: Vec<String> = settings
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    tracing::info!(
        event = "start",
        version = env!("CARGO_PKG_VERSION"),
        "started; configuration: {}",
        if files.is_empty() {
            "defaults".to_owned()
        } else {
            files.join(", ")
        }
    );
    let mut agent = Agent::on_this_machine(settings, paths.clone())?;
    let Signals {
        mut stop,
        mut reload,
    } = signals;
    let result = select! {
        result = work(&mut agent, &source, &paths, &mut manager, &mut reload) => result,
        // Whatever the pass was waiting for is let go: each effect is whole or not begun.
        () = Signals::stop(&mut stop) => Ok(()),
    };
    manager.stopping();
    remove_status(&paths.runtime);
    tracing::info!(event = "stop", "stopped; Windows forwards stay");
    result
}

/// Leads at once, or stands by until the leader is gone.
async fn lead(manager: &mut Manager, paths: &Paths) -> Result<Leadership, AgentError> {
    loop {
        let leader =
            match elect().map_err(system("ask for leadership of this network namespace"))? {
                Election::Won(leadership) => return Ok(leadership),
                Election::Lost(leader) => leader,
            };
        let finding = Finding::new(Code::Standby, "", format!("{} leads", leader.describe()));
        tracing::info!(event = "standby", health = %finding.code, "{finding}");
        manager.status(&format!("standby: {} leads", leader.describe()));
        manager.ready();
        publish::publish_standby(paths, &finding);
        stand_by(leader, manager).await?;
    }
}

async fn stand_by(leader: leader::Leader, manager: &Manager) -> Result<(), AgentError> {
    let mut watchdog = watchdog()?;
    let ended = leader.ended();
    tokio::pin!(ended);
    loop {
        select! {
            result = &mut ended => return result.map_err(system("watch the leading agent")),
            () = fired(&mut watchdog) => manager.alive(),
        }
    }
}

fn watchdog() -> Result<Option<Timer>, AgentError> {
    Manager::watchdog()
        .map(Timer::every)
        .transpose()
        .map_err(system("make the watchdog's timer"))
}

async fn fired(timer: &mut Option<Timer>) {
    match timer {
        Some(timer) => timer.fired().await,
        None => pending().await,
    }
}

async fn work(
    agent: &mut Agent<Linux>,
    source: &Source,
    paths: &Paths,
    manager: &mut Manager,
    reload: &mut Signal,
) -> Result<(), AgentError> {
    let mut watch = Watch::subscribe()?;
    let mut clock = Timer::clock_set().map_err(system("watch the wall clock"))?;
    let mut watchdog = watchdog()?;
    let mut windows = Windows::new(&paths.state);
    match observe::mode_at_once() {
        Some(mode) => agent.take(News::Mode(mode)),
        None => windows.ask_mode(),
    }
    agent.pass(&mut windows, manager).await;
    manager.ready();
    loop {
        let wake = select! {
            changed = watch.changed() => { if changed.is_err() { watch = Watch::subscribe()?; } Wake::Network }
            () = clock.fired() => Wake::ClockSet,
            _ = reload.recv() => Wake::Reload,
            () = until(agent.next_due()) => Wake::Due,
            news = windows.news() => Wake::Windows(news),
            () = fired(&mut watchdog) => Wake::Alive,
        };
        match wake {
            Wake::Alive => {
                manager.alive();
                continue;
            }
            Wake::Network => settle(agent, &mut watch).await?,
            Wake::Due => {
                if agent.mode_is_due() {
                    windows.ask_mode();
                }
            }
            Wake::ClockSet => {
                // WSL's time synchronisation may step the clock often.
                tracing::debug!(event = "clock", "the wall clock was set");
                agent.try_everything_again();
            }
            Wake::Windows(news) => agent.take(news),
            Wake::Reload => {
                reload_settings(agent, source);
                windows.ask_mode();
            }
        }
        agent.pass(&mut windows, manager).await;
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// Waits until the network has been quiet, but not for ever.
async fn settle(agent: &Agent<Linux>, watch: &mut Watch) -> Result<(), AgentError> {
    let (quiet, most) = agent.settle_times();
    let end = tokio::time::Instant::now() + most;
    loop {
        let deadline = end.min(tokio::time::Instant::now() + quiet);
        match timeout_at(deadline, watch.changed()).await {
            Err(_) => return Ok(()),
            Ok(Err(_)) => *watch = Watch::subscribe()?,
            Ok(Ok(())) if tokio::time::Instant::now() >= end => return Ok(()),
            Ok(Ok(())) => {}
        }
    }
}

/// A bad new configuration is refused as a whole and the old one stays.
fn reload_settings(agent: &mut Agent<Linux>, source: &Source) {
    match Settings::load(source) {
        Ok(settings) => {
            tracing::info!(event = "reload", "configuration reloaded");
            agent.adopt(settings);
        }
        Err(error) => agent.refuse(&error, &path_of(source)),
    }
}

fn path_of(source: &Source) -> PathBuf {
    match source {
        Source::System => PathBuf::from("/etc/wslmesh/wslmesh.toml"),
        Source::File(path) => path.clone(),
    }
}
