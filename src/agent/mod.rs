//! The agent: wait, observe, plan, apply, publish.

mod clock;
mod dependents;
mod dns;
mod election;
mod endpoints;
mod error;
mod event_loop;
mod ledger;
mod lifetime;
mod listeners;
mod machine;
mod members;
mod metrics;
mod oneshot;
mod peers;
mod publish;
mod reconcile;
mod relay;
mod resume;
mod standby;
mod startup;
mod tailscale;
mod timer;
mod tunnel;
mod verify;
mod windows;

pub use self::{
    election::{Election, Leadership, elect},
    error::AgentError,
    oneshot::{apply_once, dry_run, installed_rules},
    reconcile::Done,
    startup::run,
    windows::withdraw,
};
