//! Forwards from Windows.

use std::{collections::BTreeSet, net::IpAddr, num::NonZeroU16};

use super::agent::{about_firewall, about_windows, finding};
use crate::{
    config::{Firewall, Forward, Settings},
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, error, info, list, ok, skipped, warning},
    },
    interop::ini::boolean,
    model::{
        ForwardState, Listening, Mode, PortRange, Protocol, Severity, Socket, counted, some_ports,
    },
};

/// The configured forwards; skips the check where there is none.
fn forwards(facts: &Facts) -> Result<&[Forward], Verdict> {
    match facts.settings()?.forwards.as_slice() {
        [] => Err(skipped("no forward is configured")),
        forwards => Ok(forwards),
    }
}

pub(crate) fn listening(facts: &Facts) -> Judged {
    let discovery = facts.settings()?.discovery.is_on();
    let served = facts.agent.iter().flat_map(|agent| &agent.served);
    let discovered = served
        .filter(|forward| forward.discovered.is_some() && forward.distribution.is_none())
        .count();
    let forwards = match forwards(facts) {
        Err(_) if discovered > 0 => &[],
        Err(_) if discovery && facts.agent.is_none() => {
            let text =
                "no forward is configured, and the agent, which discovers them, is not running";
            return Err(skipped(text));
        }
        forwards => forwards?,
    };
    let passed_on = facts.local()?.passes_on;
    let sockets = facts.sockets()?;
    let node = facts.node()?.address();
    let found = forwards.iter().filter_map(|forward| {
        let (name, protocol, ports) = (&forward.name, forward.protocol, forward.connect_port);
        let own = forward.connect_address.map_or(node, IpAddr::from);
        // Behind a range services come and go: it is well with one of them.
        match Listening::at(sockets, own, protocol, ports) {
            Listening::Yes => None,
            Listening::No if passed_on => Some(
                info(format!("{name}: no service listens on {protocol} port {ports}, unless a rule passes it on to a container"))
                    .fix("Check that the container is running and publishes the port (`docker ps`, `podman ps`)"),
            ),
            Listening::No => Some(warning(format!(
                "{name}: no service listens on {protocol} port {ports}"
            ))),
            Listening::Elsewhere(at) => {
                let detail = format!("{name}: the service listens on {protocol} {at} only, which packets to {own} do not reach");
                Some(warning(detail).fix("Let the service listen on 0.0.0.0 (ListenAddress 0.0.0.0 in sshd_config)"))
            }
        }
    });
    // One that was discovered is there while its service listens.
    let more = match discovered {
        0 => String::new(),
        all => format!(", {all} of them discovered"),
    };
    let forwards = counted(forwards.len() + discovered, "forward");
    Ok(all(
        found,
        format!("a service listens behind {forwards}{more}"),
    ))
}

/// The mode, if Windows' ports are this distribution's in it.
fn shared(facts: &Facts) -> Result<Mode, Verdict> {
    let mode = facts.mode().filter(|mode| mode.shares_ports());
    mode.ok_or_else(|| skipped("Windows' ports are its own in this mode"))
}

/// Sockets that take what arrives at any address of this machine.
fn open(sockets: &[Socket]) -> impl Iterator<Item = &Socket> {
    sockets.iter().filter(|one| one.address.is_unspecified())
}

pub(crate) fn kept(facts: &Facts) -> Judged {
    let mode = shared(facts)?;
    let forwards = facts.settings()?.forwards.iter().filter_map(|forward| {
        let (name, protocol) = (&forward.name, forward.protocol);
        let ports = forward.listen_port.ports();
        let ports = some_ports(ports.filter(|port| mode.keeps(protocol, port.get())));
        let detail = format!("{name} ({protocol} {ports}) gets no traffic");
        (!ports.is_empty()).then(|| error(detail))
    });
    let sockets = open(facts.sockets()?).filter(|one| mode.keeps(one.protocol, one.port));
    let sockets = sockets.map(|one| {
        info(format!(
            "what listens on {one} gets traffic of this machine alone"
        ))
        .fix("Choose another port for the service, or ignore this if only this machine uses it")
    });
    Ok(all(forwards.chain(sockets), "none"))
}

/// Ports that clients elsewhere are meant to reach: those of configured forwards and of
/// what the agent serves, which it may have discovered. While none runs, what it may
/// discover counts.
fn meant(facts: &Facts, settings: &Settings) -> Vec<(Protocol, PortRange)> {
    let configured = settings.forwards.iter();
    let configured = configured.map(|forward| (forward.protocol, forward.listen_port));
    let served = facts.agent.iter().flat_map(|agent| &agent.served);
    let served = served.map(|forward| (forward.listen.protocol, forward.listen_ports()));
    let ranges = [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .flat_map(|protocol| {
            let ports = settings.discovery.ports(protocol);
            ports.into_iter().map(move |ports| (protocol, ports))
        });
    let ranges = ranges.filter(|_| facts.agent.is_none());
    configured.chain(served).chain(ranges).collect()
}

/// Ports that are named at most.
const NAMED: usize = 8;

pub(crate) fn exposed(facts: &Facts) -> Judged {
    let mode = shared(facts)?;
    let meant = meant(facts, facts.settings()?);
    let forwarded = |one: &&Socket| {
        let has = |port| {
            meant
                .iter()
                .any(|(protocol, ports)| *protocol == one.protocol && ports.has(port))
        };
        NonZeroU16::new(one.port).is_some_and(has)
    };
    let reaches = |one: &&Socket| !mode.keeps(one.protocol, one.port);
    let ports: BTreeSet<(Protocol, u16)> = open(facts.sockets()?)
        .filter(|one| reaches(one) && !forwarded(one))
        .map(|one| (one.protocol, one.port))
        .collect();
    if ports.is_empty() {
        return Ok(ok("nothing but the forwards"));
    }
    let named = ports.iter().take(NAMED);
    let named = list(named.map(|(protocol, port)| format!("{protocol} {port}")));
    let more = if ports.len() > NAMED { ", ..." } else { "" };
    let text = format!("{} ({named}{more})", counted(ports.len(), "port"));
    // WSL's own firewall blocks what no rule admits, unless this disables it.
    let ini = facts.wslconfig().ok().filter(|_| mode == Mode::Mirrored);
    let off = ini.is_some_and(|ini| ini.get("wsl2.firewall").and_then(boolean) == Some(false));
    Ok(if off {
        warning(format!("{text}: open on Windows' addresses to every network, because .wslconfig has firewall=false"))
            .fix("Remove firewall=false from %UserProfile%\\.wslconfig, or let the services listen on 127.0.0.1")
    } else {
        info(format!(
            "{text}: open on Windows' addresses, to whom Windows' firewall lets in"
        ))
    })
}

pub(crate) fn published(facts: &Facts) -> Judged {
    let discovery = &facts.settings()?.discovery;
    if !discovery.is_on() || !discovery.containers {
        return Err(skipped("[discovery] looks for no containers' ports"));
    }
    if !facts.root {
        return Err(skipped("needs root"));
    }
    let legacy = facts.local()?.legacy_nat.clone().map_err(skipped)?;
    Ok(if legacy {
        info(
            "iptables-legacy has a nat table: ports that its rules alone publish are not discovered",
        )
    } else {
        ok("iptables-legacy has no nat table")
    })
}

pub(crate) fn firewall(facts: &Facts) -> Judged {
    let closed = forwards(facts)?.iter().filter(|forward| {
        forward.firewall == Firewall::None && !forward.listen_address.is_loopback()
    });
    let closed = closed.map(|forward| {
        let name = &forward.name;
        info(format!(
            "{name}: firewall = \"none\", so clients need a rule made by hand"
        ))
    });
    let health = facts.agent.iter().flat_map(|document| &document.health);
    let health = health.filter(|entry| about_firewall(entry)).map(finding);
    // Only Windows knows whether the rules exist, and it is not asked here.
    let asked = "every forward asks for a rule; `wslmesh host check` asks Windows";
    let guest = (facts.agent.as_ref()).and_then(|document| document.guest_firewall);
    let ok = guest.map_or_else(
        || asked.to_owned(),
        |guest| format!("{}; {asked}", guest.in_words()),
    );
    Ok(all(closed.chain(health), ok))
}

pub(crate) fn windows(facts: &Facts) -> Judged {
    let document = facts.agent.as_ref();
    let document = document.ok_or_else(|| skipped("the agent is not running"))?;
    let health = document.health.iter().filter(|entry| {
        about_windows(entry) && !about_firewall(entry) && entry.severity > Severity::Info
    });
    let served = document.served.iter();
    let up = served.filter(|entry| entry.state == ForwardState::Up);
    let served = match document.served.len() {
        0 => "no forward to serve".to_owned(),
        all => format!("{} of {all} forwards are up", up.count()),
    };
    Ok(all(health.map(finding), served))
}

#[cfg(test)]
mod tests;
