//! One pass by hand.

use super::{
    AgentError,
    pass::{Agent, Done},
    relay::Supervisor,
    windows::{News, Windows},
};
use crate::{
    config::Settings,
    interop,
    paths::Paths,
    report::{Manager, remove_status},
};

/// Passes after which a machine that still changes is left to the agent.
const MOST_PASSES: usize = 4;

/// Makes a pass, waits for Windows' answer, and looks again until nothing is
/// left to do.
///
/// # Errors
/// No rtnetlink socket.
pub async fn once(settings: Settings, paths: Paths) -> Result<Done, AgentError> {
    let runtime = paths.runtime.clone();
    let mut windows = Windows::new(&paths, Supervisor::absent());
    let mut agent = Agent::on_this_machine(settings, paths)?;
    let mut manager = Manager::default();
    agent.take(News::Mode(interop::ask_mode().await));
    let mut all = Done::default();
    for _ in 0..MOST_PASSES {
        let done = agent.pass(&mut windows, &mut manager).await;
        let quiet = done.changes.is_empty() && windows.idle();
        all.changes.extend(done.changes);
        all.findings = done.findings;
        if quiet {
            break;
        }
        while !windows.idle() {
            let news = windows.news().await;
            if let News::Forwards(outcome) = &news {
                all.changes.extend(outcome.changed.clone());
            }
            agent.take(news);
        }
    }
    // What it published meanwhile is the status of no running agent.
    remove_status(&runtime);
    Ok(all)
}
