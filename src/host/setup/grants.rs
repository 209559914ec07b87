//! The grants that the configured forwards need.

use std::net::IpAddr;

use super::policy::{self, Grant};
use crate::{
    config::{Backend, Forward, Protocol, Settings},
    host::contract::PolicyGap,
    model::SyncMode,
};

/// Why no policy can allow all forwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The elevated side gets ports, never addresses.
    #[error(
        "forwards {first:?} and {second:?} have the same protocol and ports and differ in listen-address, which the elevated side cannot distinguish: give one of them another port, or make one of both with listen-address 0.0.0.0, or :: for IPv6 too"
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

/// One grant for each forward that has a backend, joined where neighbouring ports
/// agree in everything else; then what was named beside the configuration, and what may
/// be discovered.
///
/// # Errors
/// See [`PolicyError`].
pub fn grants(settings: &Settings, named: &[Grant]) -> Result<Vec<Grant>, PolicyError> {
    let forwards = settings.forwards.iter();
    let forwards = forwards.map(|forward| (forward, settings.backend_of(forward)));
    let forwards: Vec<(&Forward, Backend)> = forwards
        .filter(|(forward, backend)| can_serve(*backend, forward.protocol, forward.listen_address))
        .collect();
    let single: Vec<Grant> = forwards.iter().map(grant).collect();
    if let Some((forward, _)) =
        (forwards.iter()).find(|(forward, backend)| gap(&single, forward, *backend).is_some())
    {
        let mut others = forwards.iter().zip(&single);
        let first = others.find(|(_, grant)| grant.has_ports_of(forward));
        let first = first.map_or(*forward, |((first, _), _)| first);
        return Err(PolicyError::SamePorts {
            first: first.name.clone(),
            second: forward.name.clone(),
        });
    }
    let mut ranges: Vec<Grant> = Vec::new();
    for grant in named.iter().copied().chain(discovery(settings)) {
        if !ranges.contains(&grant) {
            ranges.push(grant);
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
        (forwards.iter()).all(|(forward, backend)| gap(grants, forward, *backend).is_none())
    };
    let grants = candidates.into_iter().find(fits).unwrap_or_default();
    if grants.len() > MOST {
        return Err(PolicyError::TooMany(grants.len()));
    }
    Ok(grants)
}

/// The same for the forwards of all distributions, without those of others that no policy
/// can allow beside the rest: these leave `forwards`, and are given back with the reason.
///
/// # Errors
/// See [`PolicyError`].
pub fn grants_of_all(
    all: &mut Settings,
    named: &[Grant],
) -> Result<(Vec<Grant>, Vec<PolicyError>), PolicyError> {
    let mut left = Vec::new();
    loop {
        match grants(all, named) {
            Err(PolicyError::SamePorts { first, second }) if second.contains('/') => {
                all.forwards.retain(|forward| forward.name != second);
                left.push(PolicyError::SamePorts { first, second });
            }
            grants => return Ok((grants?, left)),
        }
    }
}

/// Whether a forward can have this backend: the port proxy has TCP and IPv4 alone.
fn can_serve(backend: Backend, protocol: Protocol, listen_address: IpAddr) -> bool {
    match backend {
        // The switch asks for no policy.
        Backend::None | Backend::Tunnel => false,
        Backend::Portproxy => protocol == Protocol::Tcp && listen_address.is_ipv4(),
        Backend::Auto | Backend::Relay => true,
    }
}

/// What may be discovered.
fn discovery(settings: &Settings) -> impl Iterator<Item = Grant> {
    let (discovery, backend) = (&settings.discovery, settings.backend);
    let served = move |protocol: &Protocol| can_serve(backend, *protocol, discovery.listen_address);
    let protocols = [Protocol::Tcp, Protocol::Udp].into_iter().filter(served);
    protocols.flat_map(move |protocol| {
        let ports = discovery.ports(protocol).into_iter();
        ports.map(move |ports| Grant {
            protocol,
            listen_address: discovery.listen_address,
            listen_ports: ports,
            connect_ports: ports,
            firewall: discovery.firewall,
            backend,
        })
    })
}

/// Where the relay may run.
fn gap(grants: &[Grant], forward: &Forward, backend: Backend) -> Option<PolicyGap> {
    policy::gap(grants, forward, backend, SyncMode::Nat, false)
}

fn grant((forward, backend): &(&Forward, Backend)) -> Grant {
    Grant {
        protocol: forward.protocol,
        listen_address: forward.listen_address,
        listen_ports: forward.listen_port,
        connect_ports: forward.connect_port,
        firewall: forward.firewall,
        backend: *backend,
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
