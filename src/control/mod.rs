//! The one way to a running agent: `org.wslmesh.Agent1` on the system bus.
//!
//! Commands use [`Client`]; the agent's end of it is [`RequestQueue`], which `bus`
//! fills by an [`AgentHandle`]. Without a bus there is a fallback for each: the
//! status document for [`status`], SIGHUP for [`reload`].

mod client;
mod reload;
mod request;
mod signal;
mod status;

pub use client::{Client, ControlError, Subscription, Update};
pub use reload::{Reload, agent_pid, reload, reload_of};
pub use request::{AgentHandle, RequestError, RequestQueue, Requested, requests};
pub use signal::{NAME, PATH, Signal};
pub use status::{Status, status};
