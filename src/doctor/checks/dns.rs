//! Name resolution. No fix here disables DNS tunnelling: Windows' hosts file, the
//! name rules of its VPNs and companies' names need it.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    doctor::{
        facts::{Answer, Facts},
        verdict::{Judged, error, info, list, ok, skipped, warning},
    },
    interop::ini::boolean,
};

/// The address that DNS tunnelling adds to `lo`, unless .wslconfig names another
/// (microsoft/WSL: experimental.dnsTunnelingIpAddress).
const TUNNELLING: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 255, 254));

pub(crate) fn resolv_conf(facts: &Facts) -> Judged {
    const FILE: &str = "/etc/resolv.conf";
    let resolver = &facts.local()?.resolver;
    Ok(match (&resolver.file, &resolver.link) {
        (Ok(None), Some(to)) => error(format!("{FILE} is a link to {to}, which does not exist")),
        (Ok(None), None) => error(format!("{FILE} does not exist")),
        (Err(why), _) => error(format!("{FILE} cannot be read: {why}")),
        (Ok(Some(file)), _) if file.servers.is_empty() => error(format!(
            "no line of {FILE} names a server (nameserver ADDRESS)"
        )),
        (Ok(Some(file)), _) => ok(list(&file.servers)),
    })
}

pub(crate) fn immutable(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(if facts.local()?.resolver.immutable {
        warning(
            "/etc/resolv.conf cannot be changed (chattr +i), not even by WSL after a change of network",
        )
    } else {
        ok("yes")
    })
}

pub(crate) fn answers(facts: &Facts) -> Judged {
    Ok(match &facts.local()?.resolver.answer {
        Answer::NoServer => skipped("no server to query"),
        Answer::Public(server) => skipped(format!(
            "{server} is in no private network and is queried with --network only"
        )),
        Answer::Silent(server, how) => error(format!("{server} {how}")),
        // SERVFAIL: the server runs and cannot resolve.
        Answer::Code(server, 2) => warning(format!(
            "{server} answers that it cannot resolve (SERVFAIL)"
        )),
        Answer::Code(server, _) => ok(format!("{server} answers")),
    })
}

pub(crate) fn generated(facts: &Facts) -> Judged {
    facts.wsl()?;
    let resolver = &facts.local()?.resolver;
    let file = resolver.file.iter().flatten().next();
    let other = file.and_then(|file| file.writer).filter(|by| *by != "WSL");
    let conf = facts.wsl_conf().unwrap_or_default();
    let generates = conf.get("network.generateResolvConf").and_then(boolean);
    if generates != Some(false) {
        return Ok(match other {
            Some(other) => info(format!("{other} wrote it over WSL's")),
            None => ok("WSL writes it"),
        });
    }
    let detail = "[network] generateResolvConf=false: WSL does not write /etc/resolv.conf";
    Ok(if let Some(other) = other {
        info(format!("{detail}; {other} does"))
    } else if resolver.has(|server| server.is_loopback()) {
        info(format!("{detail}; a resolver of this distribution is used"))
    } else {
        warning(format!(
            "{detail}, so it does not follow Windows' networks and VPNs"
        ))
    })
}

pub(crate) fn tunnelling(facts: &Facts) -> Judged {
    facts.wsl()?;
    let (_, observation) = facts.observation()?;
    let ini = facts.wslconfig().unwrap_or_default();
    let named = ini.get("experimental.dnsTunnelingIpAddress");
    let server = named
        .and_then(|text| text.parse().ok())
        .unwrap_or(TUNNELLING);
    let enabled = ini.get("wsl2.dnsTunneling").and_then(boolean);
    let mut addresses = observation.addresses.iter();
    let assigned = addresses.any(|has| has.net.addr() == server);
    let queried = facts.local()?.resolver.has(|queried| queried == server);
    Ok(match (queried, assigned, enabled) {
        (true, false, _) => error(format!(
            "/etc/resolv.conf names {server}, which no interface has"
        )),
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
