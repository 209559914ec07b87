//! Forwards from Windows.

use std::{collections::BTreeSet, num::NonZeroU16};

use super::agent::{about_firewall, about_windows, finding};
use crate::{
    config::{Firewall, Forward},
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, error, info, list, ok, skipped, warning},
    },
    interop::ini::boolean,
    model::{ForwardState, Listening, Mode, Protocol, Severity, Socket, counted, some_ports},
};

/// The forwards; skips the check where there is none.
fn forwards(facts: &Facts) -> Result<&[Forward], Verdict> {
    match facts.settings()?.forwards.as_slice() {
        [] => Err(skipped("no forward is configured")),
        forwards => Ok(forwards),
    }
}

pub(crate) fn listening(facts: &Facts) -> Judged {
    let forwards = forwards(facts)?;
    let passed_on = facts.local()?.passes_on;
    let sockets = facts.sockets()?;
    let own = facts.node()?.address();
    let found = forwards.iter().filter_map(|forward| {
        let (name, protocol, ports) = (&forward.name, forward.protocol, forward.connect_port);
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
    let forwards = counted(forwards.len(), "forward");
    Ok(all(found, format!("a service listens behind {forwards}")))
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
    let kept = |protocol, port| mode.kept_ports(protocol).contains(&port);
    let forwards = facts.settings()?.forwards.iter().filter_map(|forward| {
        let (name, protocol) = (&forward.name, forward.protocol);
        let ports = forward.listen_port.ports();
        let ports = some_ports(ports.filter(|port| kept(protocol, port.get())));
        let detail = format!("{name} ({protocol} {ports}) gets no traffic");
        (!ports.is_empty()).then(|| error(detail))
    });
    let sockets = open(facts.sockets()?).filter(|one| kept(one.protocol, one.port));
    let sockets = sockets.map(|one| {
        info(format!(
            "what listens on {one} gets traffic of this machine alone"
        ))
        .fix("Choose another port for the service, or ignore this if only this machine uses it")
    });
    Ok(all(forwards.chain(sockets), "none"))
}

/// Ports that are named at most.
const NAMED: usize = 8;

pub(crate) fn exposed(facts: &Facts) -> Judged {
    let mode = shared(facts)?;
    let forwards = &facts.settings()?.forwards;
    let forwarded = |one: &&Socket| {
        let port = NonZeroU16::new(one.port);
        let mut same = forwards
            .iter()
            .filter(|forward| forward.protocol == one.protocol);
        port.is_some_and(|port| same.any(|forward| forward.listen_port.has(port)))
    };
    let reaches = |one: &&Socket| !mode.kept_ports(one.protocol).contains(&one.port);
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
