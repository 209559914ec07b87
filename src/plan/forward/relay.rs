//! What the relay should serve, and what it answers of its listeners.

use std::net::IpAddr;

use super::status;
use crate::{
    config::{Firewall, Forward},
    model::{
        Admit, Code, FailureKind, Finding, ForwardBackend, ForwardState, ForwardStatus, Listen,
        Protocol, RelayForward, RelayLocation, RelayMemory, RelaySet,
    },
};

/// A forward's name and how the relay should serve it.
pub(super) type Named = (String, RelayForward);

/// A forward as the relay should serve it.
pub(super) fn forward(
    forward: &Forward,
    at: Listen,
    connect_address: IpAddr,
    admit: Admit,
) -> Named {
    let relayed = RelayForward {
        listen: at,
        connect_address,
        connect_port: forward.connect_port.first(),
        admit,
        proxy_protocol: forward.proxy_protocol,
    };
    (forward.name.clone(), relayed)
}

/// Whom a relay accepts that lets in no more than the forward's firewall would.
pub(super) fn admit(firewall: Firewall) -> Admit {
    match firewall {
        Firewall::None => Admit::Host,
        Firewall::Local => Admit::Local,
        Firewall::Full => Admit::Any,
    }
}

/// What the relay should serve; nothing without a location or a forward.
pub(super) fn set(location: Option<RelayLocation>, forwards: Vec<Named>) -> Option<RelaySet> {
    let location = location.filter(|_| !forwards.is_empty())?;
    Some(RelaySet { location, forwards })
}

/// The state of a forward of the relay, and what is wrong with it.
pub(super) fn judge(
    forward: &Forward,
    at: Listen,
    location: &RelayLocation,
    memory: &RelayMemory,
) -> (ForwardStatus, Option<Finding>) {
    let mut status = status(forward, Some(ForwardBackend::Relay), ForwardState::Pending);
    status.listen = at;
    let Some(failure) = memory.failed.get(&at) else {
        if memory.applied && memory.listening.contains(&at) {
            status.state = ForwardState::Up;
        } else if memory.has_failed() {
            status.state = ForwardState::Down;
        }
        let alone = status.state == ForwardState::Up && memory.ipv4_alone.contains(&at);
        let alone = alone.then(|| {
            let text = format!("{at} takes IPv4 alone: the system has no IPv6");
            Finding::new(Code::ForwardNoAddress, forward.name.as_str(), text)
        });
        return (status, alone);
    };
    // WSL itself leads 127.0.0.1 to the guest's TCP ports of the same number
    // (wslrelay.exe): then there is nothing left to do here.
    if matches!(location, RelayLocation::Unpacked(_))
        && at.protocol == Protocol::Tcp
        && at.listen_address.is_loopback()
        && failure.kind == FailureKind::InUse
        && forward.listen_port == forward.connect_port
    {
        (status.backend, status.state) = (Some(ForwardBackend::Guest), ForwardState::Up);
        return (status, None);
    }
    status.state = ForwardState::Down;
    let (code, text) = match failure.kind {
        FailureKind::InUse => (Code::ForwardTaken, format!("{at} is in use")),
        FailureKind::Forbidden => (Code::ForwardExcluded, format!("{at} cannot be bound")),
        FailureKind::NoAddress => (
            Code::ForwardNoAddress,
            format!("no interface has {}", at.listen_address),
        ),
        FailureKind::Other => (Code::ForwardNotListening, format!("{at} failed")),
    };
    let text = format!("{text} (error {})", failure.code);
    let finding = Finding::new(code, forward.name.as_str(), text);
    (status, Some(finding))
}
