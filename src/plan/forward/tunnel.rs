//! Forwards by way of the tunnel's switch: it listens on Windows and leads to this machine's
//! constant address in the tunnel, so that nothing here depends on the mode or the node.

use std::borrow::Cow;

use super::{Decision, listen, relay, status};
use crate::{
    config::{Backend, Forward, Settings},
    model::{
        Code, Finding, ForwardBackend, ForwardState, ForwardStatus, Observation, RelayLocation,
        RelayMemory, TunnelForward, TunnelListeners, some_of,
    },
};

/// Whether the tunnel serves it.
fn is_ours(settings: &Settings, forward: &Forward) -> bool {
    settings.backend_of(forward) == Backend::Tunnel
}

/// The settings without the tunnel's forwards.
pub(super) fn without(settings: &Settings) -> Cow<'_, Settings> {
    let mut others = Cow::Borrowed(settings);
    if (settings.forwards.iter()).any(|forward| is_ours(settings, forward)) {
        let keep = |forward: &Forward| !is_ours(settings, forward);
        others.to_mut().forwards.retain(keep);
    }
    others
}

/// What the switch is to listen for.
pub(super) fn wanted(settings: &Settings) -> Vec<TunnelForward> {
    let all = settings.forwards.iter();
    let ours = all.filter(|forward| is_ours(settings, forward));
    ours.map(|forward| TunnelForward {
        listen: listen(forward),
        guest: None,
        guest_port: forward.connect_port.first(),
    })
    .collect()
}

/// Adds the tunnel's forwards to the others that were decided, in the order of the settings.
pub(super) fn add(decision: &mut Decision, settings: &Settings, seen: &Observation) {
    let mut others = std::mem::take(&mut decision.forwards).into_iter();
    let mut down = Vec::new();
    for forward in &settings.forwards {
        if !is_ours(settings, forward) {
            decision.forwards.extend(others.next());
            continue;
        }
        let Some(listeners) = &seen.host.tunnel else {
            down.push(forward.name.clone());
            decision.add(forward, Some(ForwardBackend::Tunnel), ForwardState::Down);
            continue;
        };
        let (status, finding) = judge(forward, listeners);
        decision.forwards.push(status);
        decision.findings.extend(finding);
    }
    down.dedup();
    if !down.is_empty() {
        let text = format!(
            "the tunnel is not up, which is to serve {}",
            some_of(down.into_iter())
        );
        decision.find(Code::ForwardTunnelDown, "", text);
    }
}

/// As the relay's, which fails in the same ways.
fn judge(forward: &Forward, listeners: &TunnelListeners) -> (ForwardStatus, Option<Finding>) {
    let at = listen(forward);
    let Some(answer) = listeners.iter().find(|one| one.listen == at) else {
        let state = ForwardState::Pending;
        return (status(forward, Some(ForwardBackend::Tunnel), state), None);
    };
    let memory = RelayMemory {
        applied: true,
        listening: [at].into_iter().collect(),
        failed: answer
            .failure
            .map(|failure| (at, failure))
            .into_iter()
            .collect(),
        ipv4_alone: answer.ipv4_alone.then_some(at).into_iter().collect(),
        ..RelayMemory::default()
    };
    let (status, finding) = relay::judge(forward, at, &RelayLocation::Guest, &memory);
    let backend = Some(ForwardBackend::Tunnel);
    (ForwardStatus { backend, ..status }, finding)
}
