//! Reconciling by hand, without the event loop.

use super::{
    dns::Dns,
    error::AgentError,
    listeners,
    machine::{Linux, Machine},
    reconcile::{Agent, Done},
    relay::Supervisor,
    windows::{HostEvent, Windows},
};
use crate::{
    blocking::Permit,
    config::Settings,
    interop,
    model::{Action, HostFacts, HostMemory, Mode, ModeState, Plan, RuleSet},
    netlink::NetlinkError,
    paths::Paths,
    plan::{self, Group},
    report::{Manager, remove_status},
};

/// Passes after which a machine that still changes is left to the agent.
const MOST_PASSES: usize = 4;

/// Observes and plans for all these distributions, without changing anything.
///
/// # Errors
/// The kernel's network tables are out of reach.
pub async fn dry_run(
    settings: &Settings,
    group: &Group,
    paths: &Paths,
) -> Result<Plan, NetlinkError> {
    let machine = Linux::new(paths)?;
    let mode = interop::ask_mode().await;
    let host = HostMemory {
        requested_mode: interop::requested_mode(Permit::default()).await,
        ..machine.host_memory()
    };
    let group = with_discovered(group, settings, &mode);
    let seen = machine.observe(settings, mode, host).await?;
    Ok(plan::plan_group(settings, &group, &seen))
}

/// What a single pass serves besides what is configured.
fn with_discovered(group: &Group, settings: &Settings, mode: &ModeState) -> Group {
    Group {
        discovered: listeners::now(settings, mode.known()),
        ..group.clone()
    }
}

/// The rules that Windows should have of ours behind NAT where it is installed there, as
/// `facts` say; `None` where there are none: in another mode, or without an address.
///
/// # Errors
/// The kernel's network tables are out of reach.
pub async fn installed_rules(
    settings: &Settings,
    paths: &Paths,
    facts: HostFacts,
) -> Result<Option<RuleSet>, NetlinkError> {
    let mode = interop::ask_mode().await;
    if mode != ModeState::Known(Mode::Nat) {
        return Ok(None);
    }
    // Rules that may remain are asked about even if none is wanted.
    let host = HostMemory {
        facts,
        rules_remain: true,
        ..HostMemory::default()
    };
    let group = with_discovered(&Group::default(), settings, &mode);
    let seen = Linux::new(paths)?.observe(settings, mode, host).await?;
    let mut actions = plan::plan_group(settings, &group, &seen)
        .actions
        .into_iter();
    Ok(actions.find_map(|action| match action {
        Action::SyncForwards(rules) => Some(rules),
        _ => None,
    }))
}

/// Reconciles, waits for Windows' answer, and starts over until nothing is left
/// to do.
///
/// # Errors
/// No rtnetlink socket.
pub async fn apply_once(settings: Settings, paths: Paths) -> Result<Done, AgentError> {
    let mut windows = Windows::new(&paths, Supervisor::default(), Supervisor::default());
    let mut agent = Agent::on_this_machine(settings, &paths)?;
    let mut manager = Manager::default();
    agent.handle_event(HostEvent::Mode(interop::ask_mode().await));
    let requested = interop::requested_mode(Permit::default()).await;
    agent.handle_event(HostEvent::RequestedMode(requested));
    agent.group = with_discovered(&agent.group, &agent.settings, &agent.mode.state);
    let mut all = Done::default();
    for _ in 0..MOST_PASSES {
        let done = agent.reconcile(&mut windows, &mut manager).await;
        let quiet = done.changes.is_empty() && windows.idle();
        all.changes.extend(done.changes);
        all.findings = done.findings;
        if quiet {
            break;
        }
        while !windows.idle() {
            let event = windows.event().await;
            if let HostEvent::Forwards(outcome) = &event {
                all.changes.extend(outcome.changed.clone());
            }
            agent.handle_event(event);
        }
    }
    let mut dns = Dns::new(&paths);
    dns.once(&agent.settings, &agent.dns_plan).await;
    all.changes.extend_from_slice(&dns.looked().changes);
    all.findings.extend_from_slice(&dns.looked().findings);
    // What it published meanwhile is the status of no running agent.
    remove_status(&paths.runtime);
    Ok(all)
}
