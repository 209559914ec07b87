//! The grants that the configured forwards need.

use super::policy::{Grant, gap};
use crate::config::Forward;

/// Why no policy can allow all forwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The elevated side gets ports, never addresses.
    #[error(
        "forwards {first:?} and {second:?} have the same protocol and ports and differ in listen-address, which the elevated side cannot distinguish: give one of them another port, or make one of both with listen-address 0.0.0.0"
    )]
    SamePorts {
        /// A forward.
        first: String,
        /// The other.
        second: String,
    },
    /// A list of that length is not read before it is approved.
    #[error(
        "the forwards need {0} separate grants, more than the {MOST} that can be approved: give neighbours neighbouring ports, or name ranges that hold them, such as --ports tcp:8000-8999"
    )]
    TooMany(usize),
}

/// Most grants of a policy, a limit of the elevated side.
const MOST: usize = 200;

/// One grant for each forward that needs one, joined where neighbouring ports
/// agree in everything else; then what was named beside the configuration.
///
/// # Errors
/// See [`PolicyError`].
pub fn grants(forwards: &[Forward], named: &[Grant]) -> Result<Vec<Grant>, PolicyError> {
    let single: Vec<Grant> = forwards.iter().map(grant).collect();
    if let Some(forward) = forwards
        .iter()
        .find(|forward| gap(&single, forward).is_some())
    {
        let first = forwards
            .iter()
            .find(|other| grant(other).has_ports_of(forward))
            .unwrap_or(forward);
        return Err(PolicyError::SamePorts {
            first: first.name.clone(),
            second: forward.name.clone(),
        });
    }
    let mut ranges: Vec<Grant> = Vec::new();
    for grant in named {
        if !ranges.contains(grant) {
            ranges.push(*grant);
        }
    }
    let uncovered = |grant: &&Grant| !ranges.iter().any(|range| range.includes(grant));
    let needed: Vec<Grant> = single.iter().filter(uncovered).copied().collect();
    // The shortest first. A joined grant, or one that was left to a range, may
    // come after another one with the same ports; single ones never do.
    let candidates = [
        [joined(needed), ranges.clone()].concat(),
        [joined(single.clone()), ranges.clone()].concat(),
        [single, ranges].concat(),
    ];
    let fits = |grants: &Vec<Grant>| {
        forwards
            .iter()
            .all(|forward| gap(grants, forward).is_none())
    };
    let grants = candidates.into_iter().find(fits).unwrap_or_default();
    if grants.len() > MOST {
        return Err(PolicyError::TooMany(grants.len()));
    }
    Ok(grants)
}

fn grant(forward: &Forward) -> Grant {
    Grant {
        protocol: forward.protocol,
        listen_address: forward.listen_address,
        listen_ports: forward.listen_port.into(),
        connect_ports: forward.connect_port.into(),
        firewall: forward.firewall,
    }
}

/// Joins neighbours. The ports of a joined grant are those of its forwards, and
/// no other; which of them leads to which is left open.
fn joined(mut grants: Vec<Grant>) -> Vec<Grant> {
    grants.sort_unstable();
    let mut joined: Vec<Grant> = Vec::new();
    for grant in grants {
        match joined
            .last_mut()
            .and_then(|last| Some((join(last, &grant)?, last)))
        {
            Some((both, last)) => *last = both,
            None => joined.push(grant),
        }
    }
    joined
}

/// Both as one, where the second's ports follow the first's.
fn join(first: &Grant, second: &Grant) -> Option<Grant> {
    let listen_ports = first
        .listen_ports
        .with(second.listen_ports)
        .filter(|_| first.is_like(second))?;
    let connect_ports = if first.connect_ports == second.connect_ports {
        first.connect_ports
    } else {
        first.connect_ports.with(second.connect_ports)?
    };
    Some(Grant {
        listen_ports,
        connect_ports,
        ..*first
    })
}

#[cfg(test)]
mod tests;
