//! What the relay says of its listeners.

use super::{entry, listen};
use crate::{
    config::Forward,
    model::{
        Code, FailureKind, Finding, HostMemory, Listen, Protocol, RelayForward, RelayPlace, Served,
        ServedBy, ServedState,
    },
};

/// A forward as the relay is to serve it.
pub(super) fn wish(
    forward: &Forward,
    at: Listen,
    node: std::net::Ipv4Addr,
) -> (String, RelayForward) {
    let forwarded = RelayForward {
        listen: at,
        connect_address: node,
        connect_port: forward.connect_port,
    };
    (forward.name.clone(), forwarded)
}

/// How the relay's forward stands, and what is wrong with it.
pub(super) fn judge(
    forward: &Forward,
    at: Listen,
    place: &RelayPlace,
    host: &HostMemory,
) -> (Served, Option<Finding>) {
    let memory = &host.relay;
    let mut served = entry(forward, Some(ServedBy::Relay), ServedState::Pending);
    served.instead = (at != listen(forward)).then_some(at.listen_address);
    let failed = memory.failed.iter().find(|(place, _)| *place == at);
    let Some((_, failure)) = failed else {
        if memory.applied && memory.listening.contains(&at) {
            served.state = ServedState::Up;
        }
        return (served, None);
    };
    // WSL itself leads 127.0.0.1 to the guest's TCP ports of the same number
    // (wslrelay.exe): then there is nothing left to do here.
    if matches!(place, RelayPlace::Unpacked(_))
        && at.protocol == Protocol::Tcp
        && at.listen_address.is_loopback()
        && failure.kind == FailureKind::InUse
        && forward.listen_port == forward.connect_port
    {
        (served.by, served.state) = (Some(ServedBy::Guest), ServedState::Up);
        return (served, None);
    }
    served.state = ServedState::Down;
    let (code, text) = match failure.kind {
        FailureKind::InUse => (Code::ForwardTaken, format!("{at} is in use")),
        FailureKind::Forbidden => (Code::ForwardExcluded, format!("{at} may not be had")),
        FailureKind::NoAddress => (
            Code::ForwardNoAddress,
            format!("{} is not there", at.listen_address),
        ),
        FailureKind::Other => (Code::ForwardNotListening, format!("{at} failed")),
    };
    let text = format!("{text} (error {})", failure.code);
    (
        served,
        Some(Finding::new(code, forward.name.as_str(), text)),
    )
}
