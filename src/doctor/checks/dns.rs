//! Name resolution. No fix here disables DNS tunnelling: Windows' hosts file, the
//! name rules of its VPNs and companies' names need it.

use std::net::IpAddr;

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, error, info, list, ok, skipped, warning},
    },
    interop::ini::boolean,
    model::{DnsAnswer, DnsSource, ResolvFile, Resolver, TUNNEL, is_private},
    plan::tunnel_on_lo,
};

/// What makes WSL write /etc/resolv.conf again.
const GENERATE: &str = "Run `sudo wslmesh wslconf set network.generateResolvConf true`, which keeps the other lines, then `wsl.exe --terminate NAME` on Windows";

/// The server of WSL's tunnel: the one in force, else as .wslconfig has it.
fn tunnel(facts: &Facts) -> IpAddr {
    let (local, seen) = (facts.local().ok(), facts.observation().ok());
    let ini = facts.wslconfig().unwrap_or_default();
    let named = ini.get("experimental.dnsTunnelingIpAddress");
    let both = local.zip(seen);
    let in_force = both.and_then(|(local, (_, seen))| tunnel_on_lo(&local.dns.resolver, seen));
    let named = || named.and_then(|text| text.parse().ok());
    in_force.or_else(named).unwrap_or(TUNNEL)
}

fn source(facts: &Facts, resolver: &Resolver) -> Option<DnsSource> {
    let gateway = facts.node().ok().and_then(|node| node.gateway);
    resolver.source(tunnel(facts), gateway)
}

pub(crate) fn resolv_conf(facts: &Facts) -> Judged {
    let resolver = &facts.local()?.dns.resolver;
    let Some(why) = resolver.broken() else {
        let source = source(facts, resolver).map(|source| format!(" ({source})"));
        let servers = list(resolver.servers());
        return Ok(ok(format!("{servers}{}", source.unwrap_or_default())));
    };
    let found = error(why);
    Ok(match &resolver.file {
        _ if !facts.is_wsl() => found.fix("Let the network manager of this machine write it"),
        _ if facts.wsl_resolv_conf().is_none() => found.fix(GENERATE),
        ResolvFile::Missing | ResolvFile::Read(_) => found,
        // Whatever is there is the user's to look at.
        _ => found.fix(
            "Move /etc/resolv.conf away, then run `wsl.exe --terminate NAME` on Windows: WSL links it again",
        ),
    })
}

pub(crate) fn immutable(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(if facts.local()?.dns.resolver.immutable {
        warning(
            "/etc/resolv.conf cannot be changed (chattr +i), not even by WSL after a change of network",
        )
    } else {
        ok("yes")
    })
}

pub(crate) fn answers(facts: &Facts) -> Judged {
    let dns = &facts.local()?.dns;
    let detail = dns.answer.to_string();
    Ok(match (dns.answer.works(), &dns.answer) {
        (None, _) | (_, DnsAnswer::NoServer) => skipped(detail),
        (Some(true), _) => ok(detail),
        (Some(false), answer) if answer.is_alive() => warning(detail),
        (Some(false), _) => of_owner(source(facts, &dns.resolver), error(detail)),
    })
}

/// The fix where the server is not WSL's.
fn of_owner(source: Option<DnsSource>, found: Verdict) -> Verdict {
    match source {
        Some(DnsSource::ResolvedStub) => found.fix(
            "See `systemctl status systemd-resolved`, then run `sudo systemctl restart systemd-resolved`",
        ),
        Some(DnsSource::Tailscale) => {
            found.fix("See `tailscale status`, then run `sudo systemctl restart tailscaled`")
        }
        Some(DnsSource::NetBird) => {
            found.fix("See `netbird status`, then run `sudo systemctl restart netbird`")
        }
        Some(DnsSource::Local) => {
            found.fix("See who listens there (`sudo ss -ulnp sport = 53`) and restart it")
        }
        _ => found,
    }
}

pub(crate) fn generated(facts: &Facts) -> Judged {
    facts.wsl()?;
    let resolver = &facts.local()?.dns.resolver;
    let source = source(facts, resolver);
    let other = source.filter(|source| !source.is_wsl());
    if facts.wsl_resolv_conf().is_some() {
        return Ok(match other {
            Some(DnsSource::Static | DnsSource::Local) => info(
                "WSL writes it when the distribution starts; since then it was changed by hand",
            ),
            Some(other) => info(format!("{other} wrote it over WSL's")),
            None => ok("WSL writes it"),
        });
    }
    let detail = "[network] generateResolvConf=false: WSL does not write /etc/resolv.conf";
    let public = resolver.has(|server| !is_private(server));
    Ok(match other {
        Some(DnsSource::Local) => {
            info(format!("{detail}; a resolver of this distribution is used"))
        }
        Some(DnsSource::Static) if !public => info(format!("{detail}; it is set by hand")),
        Some(DnsSource::Static) | None => warning(format!(
            "{detail}, so it does not follow Windows' networks and VPNs"
        )),
        Some(other) => info(format!("{detail}; {other} does")),
    })
}

pub(crate) fn tunnelling(facts: &Facts) -> Judged {
    facts.wsl()?;
    let (_, observation) = facts.observation()?;
    let ini = facts.wslconfig().unwrap_or_default();
    let server = tunnel(facts);
    let enabled = ini.get("wsl2.dnsTunneling").and_then(boolean);
    let mut addresses = observation.addresses.iter();
    let assigned = addresses.any(|has| has.net.addr() == server);
    let dns = &facts.local()?.dns;
    let queried = dns.resolver.has(|queried| queried == server);
    let silent = matches!(dns.answer, DnsAnswer::Asked { server: asked, .. } if asked == server)
        && !dns.answer.is_alive();
    let dead = |found: Verdict| {
        found.fix("Run `wsl.exe --shutdown` on Windows: only that starts WSL's tunnel again")
    };
    Ok(match (queried, assigned, enabled) {
        (true, false, _) => dead(error(format!(
            "/etc/resolv.conf names {server}, which no interface has"
        ))),
        (true, true, _) if silent => dead(error(format!("{server} is on lo and does not answer"))),
        (true, true, _) => ok(format!("{server} on lo")),
        (false, true, _) => info(format!(
            "it is on, but /etc/resolv.conf names another server than {server}"
        )),
        (false, false, Some(false)) => info(
            "dnsTunneling=false in .wslconfig: names are resolved by Windows' servers directly",
        ),
        (false, false, _) => info("DNS tunnelling is not in use"),
    })
}

#[cfg(test)]
mod tests;
