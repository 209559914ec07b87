//! From the start of the process to its end: signals, configuration, leadership,
//! then the event loop.

use std::time::{Duration, Instant};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{
    election::{Election, Leadership, elect},
    error::AgentError,
    event_loop::EventLoop,
    standby::Standby,
    timer::Timer,
};
use crate::{
    bus::Bus,
    config::{Settings, Source},
    control::{RequestQueue, requests},
    host::relay::Pipes,
    interop,
    model::micros,
    paths::Paths,
    report::{Manager, remove_status},
};

/// Between the end of a leader and the next election. Short enough to take over
/// within a second, long enough not to spin where a leader drops its standbys.
const BETWEEN_ELECTIONS: Duration = Duration::from_millis(250);

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// See [`AgentError`]. Once the first pass is made, only the loss of the
/// kernel's event stream ends the loop with an error.
pub async fn run(source: Source, paths: Paths) -> Result<(), AgentError> {
    let catch = |kind| signal(kind).map_err(AgentError::system("catch signals"));
    let mut terminate = catch(SignalKind::terminate())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut stop = async || {
        select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    let mut reload = catch(SignalKind::hangup())?;
    let settings = Settings::load(&source)?;
    // Before any thread is started. Where the kernel cannot, the unit does what it can.
    interop::confine(&paths.lib).unwrap_or_default();
    let mut manager = Manager::default();
    let (handle, mut queue) = requests(source.clone());
    let bus = Bus::new(handle);
    let mut left = Pipes::left();
    let mut standby = Standby::new(settings, &paths, &source, &bus);
    let leadership = select! {
        leadership = lead(&mut standby, &mut manager, &mut reload, &mut queue, &mut left) => Some(leadership?),
        () = stop() => None,
    };
    let (settings, mut inherited) = standby.into_parts();
    let Some(leadership) = leadership else {
        manager.stopping();
        inherited.metrics.stop().await;
        remove_status(&paths.runtime);
        tracing::info!(event = "stop", "stopped while on standby");
        return Ok(());
    };
    let begin = Instant::now();
    log_start(&settings);
    let mut event_loop = EventLoop::new(settings, source, &paths, bus, leadership, left)?;
    event_loop.inherit(inherited);
    let result = select! {
        result = event_loop.run(&mut manager, reload, queue) => result,
        // Whatever the pass was waiting for is dropped: each effect is whole or not begun.
        () = stop() => Ok(()),
    };
    manager.stopping();
    event_loop.stop().await;
    remove_status(&paths.runtime);
    tracing::info!(
        event = "stop",
        duration_us = micros(begin.elapsed()),
        "stopped; Windows forwards stay"
    );
    result
}

fn log_start(settings: &Settings) {
    let files = settings.files.iter().map(|file| file.display().to_string());
    let mut files = files.collect::<Vec<_>>().join(", ");
    if files.is_empty() {
        files.push_str("defaults");
    }
    tracing::info!(
        event = "start",
        version = env!("CARGO_PKG_VERSION"),
        "started; configuration: {files}"
    );
}

/// Leads at once, or is on standby until the leader ends: its own relay has the ports
/// then, and the relays that an earlier process of this service left end.
async fn lead(
    standby: &mut Standby<'_>,
    manager: &mut Manager,
    reload: &mut Signal,
    queue: &mut RequestQueue,
    left: &mut Vec<Pipes>,
) -> Result<Leadership, AgentError> {
    let mut watchdog = Timer::every(Manager::watchdog())
        .map_err(AgentError::system("make the watchdog's timer"))?;
    loop {
        let elected = elect().await;
        let leader =
            match elected.map_err(AgentError::system("take part in the leader election"))? {
                Election::Won(leadership) => return Ok(leadership),
                Election::Lost(leader) => leader,
            };
        for pipes in left.drain(..) {
            Pipes::forget(pipes.role);
        }
        standby
            .follow(leader, manager, &mut watchdog, reload, queue)
            .await;
        sleep(BETWEEN_ELECTIONS).await;
    }
}
