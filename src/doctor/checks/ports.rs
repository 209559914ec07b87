//! Forwards from Windows.

use super::super::{
    facts::{Facts, some},
    verdict::{Judged, Skip, Verdict},
};
use crate::{
    config::{Firewall, Forward},
    model::{HealthEntry, Listening, Mode, Protocol, Severity, Socket},
};

/// Codes of the agent about the Windows side, by how they begin.
const WINDOWS: &[&str] = &[
    "forward-",
    "firewall-",
    "relay-",
    "host-",
    "guest-address-",
    "interop-",
];

/// Ports that Windows never hands to a mirrored guest (Microsoft's documentation
/// of mirrored mode).
const KEPT: &[(Protocol, u16)] = &[
    (Protocol::Udp, 68),
    (Protocol::Tcp, 135),
    (Protocol::Tcp, 1900),
    (Protocol::Tcp, 2869),
    (Protocol::Tcp, 3702),
    (Protocol::Tcp, 5004),
    (Protocol::Tcp, 5357),
    (Protocol::Tcp, 5358),
];

/// Whether the agent's finding is about Windows: it has a check of its own.
pub(in crate::doctor) fn about_windows(entry: &HealthEntry) -> bool {
    WINDOWS.iter().any(|start| entry.code.starts_with(start))
}

/// Whether it is about Windows' firewall, which has one more.
fn about_firewall(entry: &HealthEntry) -> bool {
    entry.code == "forward-firewall" || entry.code.starts_with("firewall-")
}

/// The forwards, or the end of a check that is about them.
fn forwards(facts: &Facts) -> Result<&[Forward], Skip> {
    match facts.settings()?.forwards.as_slice() {
        [] => Err(Skip::Nothing("no forward is configured".to_owned())),
        forwards => Ok(forwards),
    }
}

pub(in crate::doctor) fn listening(facts: &Facts) -> Judged {
    let forwards = forwards(facts)?;
    let sockets = facts.sockets()?;
    let own = facts.node()?.address();
    let parts = forwards.iter().filter_map(|forward| {
        let (protocol, port) = (forward.protocol, forward.connect_port.get());
        let name = &forward.name;
        match Listening::at(sockets, own, protocol, port) {
            Listening::Yes => None,
            Listening::No => Some(Verdict::warning(format!(
                "{name}: nobody listens on {protocol} port {port}"
            ))),
            Listening::Elsewhere(address) => {
                let socket = Socket {
                    protocol,
                    address,
                    port,
                };
                let detail =
                    format!("{name}: only {socket} is there, which packets to {own} do not reach");
                Some(Verdict::warning(detail).remediation(
                    "Let the service listen on 0.0.0.0 (ListenAddress 0.0.0.0 in sshd_config)",
                ))
            }
        }
    });
    Ok(Verdict::worst(parts.collect(), || match forwards.len() {
        1 => "1 forward leads to a service".to_owned(),
        count => format!("{count} forwards lead to services"),
    }))
}

pub(in crate::doctor) fn kept(facts: &Facts) -> Judged {
    let forwards = forwards(facts)?;
    if facts.mode() != Some(Mode::Mirrored) {
        return Err(Skip::Nothing("this is not mirrored mode".to_owned()));
    }
    let kept = |forward: &&Forward| KEPT.contains(&(forward.protocol, forward.listen_port.get()));
    let names: Vec<String> = forwards
        .iter()
        .filter(kept)
        .map(|forward| {
            format!(
                "{} ({} {})",
                forward.name, forward.protocol, forward.listen_port
            )
        })
        .collect();
    Ok(if names.is_empty() {
        Verdict::ok("none")
    } else {
        Verdict::failed(some(&names))
    })
}

pub(in crate::doctor) fn firewall(facts: &Facts) -> Judged {
    let closed = |forward: &&Forward| {
        forward.firewall == Firewall::None && !forward.listen_address.is_loopback()
    };
    let names: Vec<String> = forwards(facts)?
        .iter()
        .filter(closed)
        .map(|forward| forward.name.clone())
        .collect();
    let mut parts = Vec::new();
    if !names.is_empty() {
        parts.push(Verdict::note(format!(
            "firewall = \"none\" for {}: rules made by hand let clients in, or nobody",
            some(&names)
        )));
    }
    let health = facts.agent.iter().flat_map(|document| &document.health);
    let told = health.filter(|entry| about_firewall(entry)).map(|entry| {
        let detail = format!("{}: {}", entry.title(), entry.detail);
        let verdict = match entry.severity {
            Severity::Info => Verdict::note(detail),
            _ => Verdict::warning(detail),
        };
        verdict.remediation(entry.remediation.as_str())
    });
    parts.extend(told);
    // Whether the rules are there is Windows' to tell, and it was not asked.
    Ok(Verdict::worst(parts, || {
        "every forward asks for a rule; `wslmesh host check` asks Windows".to_owned()
    }))
}

pub(in crate::doctor) fn windows(facts: &Facts) -> Judged {
    let Some(document) = &facts.agent else {
        return Err(Skip::Unknown("no agent runs, which would know".to_owned()));
    };
    let theirs: Vec<&HealthEntry> = document
        .health
        .iter()
        .filter(|entry| about_windows(entry) && !about_firewall(entry))
        .collect();
    Ok(super::system::troubles(&theirs).unwrap_or_else(|| {
        let up = document.served.iter().filter(|entry| entry.state == "up");
        match document.served.len() {
            0 => Verdict::ok("nothing to serve"),
            all => Verdict::ok(format!("{} of {all} forwards are up", up.count())),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::settings,
        doctor::{
            Check,
            facts::Text,
            testing::{document, socket, table},
        },
        model::ModeState,
    };

    fn none(facts: &mut Facts) {
        facts.settings = Ok(settings(""));
    }

    fn at(facts: &mut Facts, address: &str) {
        facts.sockets = Text::Content(vec![
            socket(Protocol::Udp, "::", 41820),
            socket(Protocol::Tcp, address, 22),
        ]);
    }

    fn mirrored(facts: &mut Facts) {
        facts.change(|seen| seen.mode = ModeState::Known(Mode::Mirrored));
    }

    fn configured(facts: &mut Facts, more: &str) {
        let text =
            format!("[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\nlisten-port = 5357\n{more}");
        facts.settings = Ok(settings(&text));
    }

    #[test]
    fn forwards() {
        table! { Check::PortsListening;
            "no forward": none => Skipped, "no forward";
            "nobody": |f| f.sockets = Text::Content(vec![]) => Warning, "ssh: nobody listens on tcp port 22";
            "loopback": |f| at(f, "127.0.0.1") => Warning, "only tcp 127.0.0.1:22";
            "IPv6 loopback": |f| at(f, "::1") => Warning, "only tcp [::1]:22";
            "all of IPv6": |f| at(f, "::") => Ok, "2 forwards";
            "our address": |f| at(f, "172.28.16.5") => Ok, "2 forwards";
            "unseen": |f| f.sockets = Text::Missing => Skipped, "/proc/net";
        }
        table! { Check::PortsKept;
            "no forward": none => Skipped, "no forward";
            "nat": |f| configured(f, "") => Skipped, "not mirrored";
            "mirrored": mirrored => Ok, "none";
            "kept": |f| { mirrored(f); configured(f, "") } => Failed, "a (tcp 5357)";
        }
        table! { Check::PortsFirewall;
            "no forward": none => Skipped, "no forward";
            "closed": |f| configured(f, "firewall = \"none\"\n") => Note, "for a:";
            "loopback": |f| configured(f, "firewall = \"none\"\nlisten-address = \"127.0.0.1\"\n") => Ok, "host check";
            "no agent": |f| f.agent = None => Ok, "asks for a rule";
            "no rule": |f| f.agent = Some(document(&[("forward-firewall", "info")])) => Note, "forward-firewall (x): it broke";
            "off": |f| f.agent = Some(document(&[("firewall-blocked", "warning"), ("forward-firewall", "info")])) => Warning, "firewall-blocked (x): it broke; forward-firewall";
            "of another": |f| f.agent = Some(document(&[("forward-taken", "warning")])) => Ok, "asks";
        }
        table! { Check::PortsWindows;
            "no agent": |f| f.agent = None => Skipped, "no agent";
            "taken": |f| f.agent = Some(document(&[("forward-taken", "warning")])) => Warning, "forward-taken (x): it broke";
            "another check's": |f| f.agent = Some(document(&[("firewall-blocked", "warning")])) => Ok, "nothing to serve";
            "not of Windows": |f| f.agent = Some(document(&[("contested", "warning")])) => Ok, "nothing to serve";
        }
    }
}
