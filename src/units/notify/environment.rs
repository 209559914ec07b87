//! The environment of a hook (docs/dependents.md).

use std::net::IpAddr;

use crate::model::{Change, FollowedEvent, ModeState, or_empty};

/// What a hook learns of a change from `old`.
pub(super) fn environment(
    change: &Change,
    old: &str,
    mode: &ModeState,
    gateway: Option<IpAddr>,
) -> Vec<String> {
    let Change {
        key,
        interface,
        new,
        ..
    } = change;
    let event = key.event();
    let mode = mode.known().map(|mode| mode.to_string());
    let mode = mode.unwrap_or_else(|| "unknown".to_owned());
    let mut lines = vec![
        format!("WSLMESH_EVENT={}", event.name()),
        format!("WSLMESH_INTERFACE={interface}"),
    ];
    lines.extend(match event {
        FollowedEvent::Address => vec![
            format!("WSLMESH_ADDRESS_OLD={old}"),
            format!("WSLMESH_ADDRESS_NEW={new}"),
            format!("WSLMESH_MODE={mode}"),
            format!("WSLMESH_GATEWAY={}", or_empty(gateway)),
        ],
        FollowedEvent::Mesh => vec![
            format!("WSLMESH_KEY={key}"),
            format!("WSLMESH_OLD={old}"),
            format!("WSLMESH_NEW={new}"),
            format!("WSLMESH_MODE={mode}"),
        ],
    });
    lines
}

#[cfg(test)]
mod tests;
