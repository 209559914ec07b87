//! The loop: wait, observe, plan, apply, publish.

mod bus;
mod dependents;
mod described;
mod leader;
mod ledger;
mod machine;
mod once;
mod pass;
mod publish;
mod relay;
mod timer;
mod windows;

use std::{
    future::pending,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout_at},
};

pub use self::bus::{Asker, Refusal};
pub(crate) use self::bus::{Desk, desk};
pub use self::described::described;
pub use self::leader::{Election, Holder, Leadership, elect};
pub use self::once::once;
pub use self::pass::{Done, look};
pub use self::windows::withdraw;
use self::{
    dependents::Dependents,
    machine::Linux,
    pass::Agent,
    relay::Supervisor,
    timer::Timer,
    windows::{News, Windows},
};
use crate::{
    backoff::until,
    bus::Bus,
    config::{ConfigError, Settings, Source},
    interop,
    model::{Code, Finding},
    netlink::{NetlinkError, Watch},
    paths::Paths,
    report::{Changes, Manager, remove_status},
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
    asked: Asked,
}

/// What a signal may ask of an agent that runs.
struct Asked {
    /// SIGHUP: read the configuration, ask Windows anew.
    reload: Signal,
    /// SIGUSR1: ask the relay for its counters.
    counters: Signal,
}

impl Signals {
    fn catch() -> Result<Self, AgentError> {
        let catch = |kind| signal(kind).map_err(system("catch signals"));
        Ok(Self {
            stop: [
                catch(SignalKind::terminate())?,
                catch(SignalKind::interrupt())?,
            ],
            asked: Asked {
                reload: catch(SignalKind::hangup())?,
                counters: catch(SignalKind::user_defined1())?,
            },
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
    Counters,
    /// Something was asked on the bus, or of it.
    Bus,
    Due,
    Windows(Box<News>),
    Dependents,
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
    let (bus, mut desk) = desk(source.clone());
    let leadership = tokio::select! {
        leadership = lead(&mut manager, &paths, &bus) => Some(leadership?),
        () = Signals::stop(&mut signals.stop) => None,
    };
    let Some(leadership) = leadership else {
        manager.stopping();
        remove_status(&paths.runtime);
        tracing::info!(event = "stop", "stopped; it stood by");
        return Ok(());
    };
    leadership
        .serve()
        .map_err(system("serve the standby agents"))?;
    let begin = Instant::now();
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
    agent.tell(bus);
    let Signals {
        mut stop,
        mut asked,
    } = signals;
    let result = select! {
        result = work(&mut agent, &source, &paths, &mut manager, &mut asked, &mut desk) => result,
        // Whatever the pass was waiting for is let go: each effect is whole or not begun.
        () = Signals::stop(&mut stop) => Ok(()),
    };
    manager.stopping();
    remove_status(&paths.runtime);
    tracing::info!(
        event = "stop",
        duration_us = micros(begin.elapsed()),
        "stopped; Windows forwards stay"
    );
    result
}

/// A duration as the journal has it.
fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Between the end of a leader and the next election. Short enough to take over
/// within a second, long enough not to spin where a leader drops its standbys.
const BETWEEN_ELECTIONS: Duration = Duration::from_millis(250);

/// Leads at once, or stands by until the leader is gone.
async fn lead(manager: &mut Manager, paths: &Paths, bus: &Bus) -> Result<Leadership, AgentError> {
    let mut told = None;
    let mut watchdog = watchdog()?;
    loop {
        let leader =
            match elect().map_err(system("ask for leadership of this network namespace"))? {
                Election::Won(leadership) => return Ok(leadership),
                Election::Lost(leader) => leader,
            };
        if told.as_ref() != Some(&leader.holder) {
            say_standby(&leader.holder, manager, paths, bus);
            told = Some(leader.holder.clone());
        }
        let over = async {
            leader.ended().await;
            sleep(BETWEEN_ELECTIONS).await;
        };
        tokio::pin!(over);
        loop {
            select! {
                () = &mut over => break,
                () = fired(&mut watchdog) => manager.alive(),
            }
        }
    }
}

fn say_standby(holder: &Holder, manager: &mut Manager, paths: &Paths, bus: &Bus) {
    let finding = match holder {
        Holder::Agent { .. } => Finding::new(Code::Standby, "", holder.to_string()),
        Holder::Stranger { .. } | Holder::Nobody => {
            Finding::new(Code::LeaderStranger, "", holder.to_string())
        }
    };
    publish::say_health(&Changes {
        raised: vec![finding.clone()],
        cleared: Vec::new(),
    });
    manager.status(&format!("standby: {holder}"));
    manager.ready();
    publish::publish_standby(paths, &finding, bus);
    bus.start();
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
    asked: &mut Asked,
    desk: &mut Desk,
) -> Result<(), AgentError> {
    let mut watch = Watch::subscribe()?;
    let mut clock = Timer::clock_set().map_err(system("watch the wall clock"))?;
    let mut watchdog = watchdog()?;
    let mut windows = Windows::new(paths, Supervisor::new(paths));
    let mut dependents = Dependents::new(&paths.runtime, source.folder());
    match interop::mode_at_once() {
        Some(mode) => agent.take(News::Mode(mode)),
        None => windows.ask_mode(),
    }
    agent.pass(&mut windows, manager).await;
    manager.ready();
    desk.open();
    loop {
        // After the pass, so that they find the new address everywhere.
        dependents.follow(&agent.settings, agent.place.as_ref());
        let wake = select! {
            changed = watch.changed() => {
                if changed.is_err() {
                    watch = subscribe_again().await?;
                }
                Wake::Network
            }
            () = clock.fired() => Wake::ClockSet,
            _ = asked.reload.recv() => Wake::Reload,
            _ = asked.counters.recv() => Wake::Counters,
            () = desk.asked() => Wake::Bus,
            () = until(agent.next_due()) => Wake::Due,
            news = windows.news() => Wake::Windows(Box::new(news)),
            () = dependents.news() => Wake::Dependents,
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
                try_everything_again(agent, &mut windows, &mut dependents);
            }
            Wake::Windows(news) => agent.take(*news),
            Wake::Dependents => agent.dependents = dependents.findings(),
            Wake::Counters => match windows.ask_counters() {
                Some(news) => agent.take(news),
                None => continue,
            },
            Wake::Reload => {
                reload(agent, source, &mut windows, &mut dependents).unwrap_or_default();
                desk.retry();
            }
            Wake::Bus => {
                let wanted = desk.take();
                if wanted.reload {
                    desk.reloaded(reload(agent, source, &mut windows, &mut dependents));
                }
                if wanted.reapply {
                    try_everything_again(agent, &mut windows, &mut dependents);
                }
                agent.name_on_the_bus(desk.finding());
            }
        }
        let done = agent.pass(&mut windows, manager).await;
        desk.answer(&done);
    }
}

fn try_everything_again(
    agent: &mut Agent<Linux>,
    windows: &mut Windows,
    dependents: &mut Dependents,
) {
    agent.try_everything_again();
    windows.retry_relay();
    dependents.retry();
}

/// Reads the configuration again and asks Windows anew; gives back the refusal.
fn reload(
    agent: &mut Agent<Linux>,
    source: &Source,
    windows: &mut Windows,
    dependents: &mut Dependents,
) -> Result<(), String> {
    let result = reload_settings(agent, source);
    windows.retry_relay();
    dependents.look_again();
    if !agent.knows_mode() {
        windows.ask_mode();
    }
    result
}

/// The event stream ended, which no kernel does by itself. What happened in
/// between is found by the pass that follows.
async fn subscribe_again() -> Result<Watch, AgentError> {
    sleep(Duration::from_secs(1)).await;
    Ok(Watch::subscribe()?)
}

/// Waits until the network has been quiet, but not for ever.
async fn settle(agent: &Agent<Linux>, watch: &mut Watch) -> Result<(), AgentError> {
    let (quiet, most) = agent.settle_times();
    // A timer that is over at once still costs up to two milliseconds.
    if quiet.is_zero() {
        return Ok(());
    }
    let end = tokio::time::Instant::now() + most;
    loop {
        let deadline = end.min(tokio::time::Instant::now() + quiet);
        match timeout_at(deadline, watch.changed()).await {
            Err(_) => return Ok(()),
            Ok(Err(_)) => *watch = subscribe_again().await?,
            Ok(Ok(())) if tokio::time::Instant::now() >= end => return Ok(()),
            Ok(Ok(())) => {}
        }
    }
}

/// A bad new configuration is refused as a whole and the old one stays.
fn reload_settings(agent: &mut Agent<Linux>, source: &Source) -> Result<(), String> {
    let begin = Instant::now();
    match Settings::load(source) {
        Ok(settings) => {
            tracing::info!(
                event = "reload",
                duration_us = micros(begin.elapsed()),
                "configuration reloaded"
            );
            agent.adopt(settings);
            Ok(())
        }
        Err(error) => {
            agent.refuse(&error, &path_of(source));
            agent.ask_windows_anew();
            Err(error.to_string())
        }
    }
}

fn path_of(source: &Source) -> PathBuf {
    match source {
        Source::System => PathBuf::from("/etc/wslmesh/wslmesh.toml"),
        Source::File(path) => path.clone(),
    }
}
