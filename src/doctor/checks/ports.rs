//! Forwards from Windows.

use std::net::SocketAddr;

use super::agent::{about_firewall, about_windows, finding};
use crate::{
    config::{Firewall, Forward},
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, all, error, info, skipped, warning},
    },
    model::{ForwardState, Listening, Mode, Protocol, Severity, counted},
};

/// Ports that Windows never passes to a mirrored guest (Microsoft's documentation of
/// mirrored mode).
const KEPT_UDP: &[u16] = &[68];
const KEPT_TCP: &[u16] = &[135, 1900, 2869, 3702, 5004, 5357, 5358];

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
        let (name, protocol, port) = (&forward.name, forward.protocol, forward.connect_port.get());
        match Listening::at(sockets, own, protocol, port) {
            Listening::Yes => None,
            Listening::No if passed_on => Some(
                info(format!("{name}: no service listens on {protocol} port {port}, unless a rule passes it on to a container"))
                    .fix("Check that the container is running and publishes the port (`docker ps`, `podman ps`)"),
            ),
            Listening::No => Some(warning(format!(
                "{name}: no service listens on {protocol} port {port}"
            ))),
            Listening::Elsewhere(address) => {
                let at = SocketAddr::new(address, port);
                let detail = format!("{name}: the service listens on {protocol} {at} only, which packets to {own} do not reach");
                Some(warning(detail).fix("Let the service listen on 0.0.0.0 (ListenAddress 0.0.0.0 in sshd_config)"))
            }
        }
    });
    let forwards = counted(forwards.len(), "forward");
    Ok(all(found, format!("a service listens behind {forwards}")))
}

pub(crate) fn kept(facts: &Facts) -> Judged {
    let forwards = forwards(facts)?;
    if facts.mode() != Some(Mode::Mirrored) {
        return Err(skipped("this is not mirrored mode"));
    }
    let found = forwards.iter().filter_map(|forward| {
        let (name, protocol, port) = (&forward.name, forward.protocol, forward.listen_port.get());
        let kept = match protocol {
            Protocol::Tcp => KEPT_TCP,
            Protocol::Udp => KEPT_UDP,
        };
        let detail = format!("{name} ({protocol} {port}) gets no traffic");
        kept.contains(&port).then(|| error(detail))
    });
    Ok(all(found, "none"))
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
