//! What the agent reports: the registry of events, the journal, the status document,
//! the numbers and the service manager.

mod clock;
mod event;
mod journal;
mod manager;
mod metrics;
mod numbers;
mod resume;
mod status;
mod tracker;
mod tunnel;

pub use clock::{ClockHistory, ClockSample, SampleCause};
pub use event::{EVENTS, Event, LIBRARY, message_id};
pub use journal::start as start_journal;
pub use manager::Manager;
pub use metrics::{Kind, Metric, render as render_metrics};
pub use numbers::{ClockNumbers, Durations, INTEROP_FAILURES, Numbers};
pub use resume::RecoveryEntry;
pub use status::{
    DnsEntry, Document, Forwards, LifetimeEntry, LinkEntry, MemberEntry, PeerEntry, PortEntry,
    RelayEntry, RestoredEntry, TunnelEntry, VERSION as STATUS_VERSION, WireguardEntry, ZoneEntry,
    read as read_status, remove as remove_status, write as write_status,
};
pub use tracker::{Changes, Tracker};
pub use tunnel::{read as read_tunnel, remove as remove_tunnel, write as write_tunnel};

#[cfg(test)]
mod tests;
