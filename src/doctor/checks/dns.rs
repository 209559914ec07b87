//! Name resolution. No fix here switches DNS tunnelling off: with it go
//! Windows' hosts file, its VPNs' name rules and corporate names.

use std::net::{IpAddr, Ipv4Addr};

use super::super::{
    facts::{Answer, Facts, Text},
    resolv::servers,
    verdict::{Judged, Skip, Verdict},
};
use crate::interop::ini::boolean;

/// The address that DNS tunnelling puts on `lo`, unless .wslconfig names another
/// (microsoft/WSL: experimental.dnsTunnelingIpAddress).
const TUNNELLING: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 255, 254));

pub(in crate::doctor) fn resolv_conf(facts: &Facts) -> Judged {
    let resolver = &facts.resolver;
    let text = match (&resolver.text, &resolver.link) {
        (Text::Missing, Some(to)) => {
            return Ok(Verdict::failed(format!(
                "it is a link to {to}, which is not there"
            )));
        }
        (Text::Missing, None) => return Ok(Verdict::failed("there is none")),
        (Text::Unreadable(why), _) => return Ok(Verdict::failed(why.as_str())),
        (Text::Content(text), _) => text,
    };
    let servers: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
    Ok(if servers.is_empty() {
        Verdict::failed("no line of it names a server (nameserver ADDRESS)")
    } else {
        Verdict::ok(servers.join(", "))
    })
}

pub(in crate::doctor) fn immutable(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(if facts.resolver.immutable {
        Verdict::warning("nobody can change it (chattr +i), neither WSL after a change of network")
    } else {
        Verdict::ok("it can")
    })
}

pub(in crate::doctor) fn answers(facts: &Facts) -> Judged {
    Ok(match &facts.resolver.answer {
        Answer::NoServer => return Err(Skip::Nothing("there is no server to ask".to_owned())),
        Answer::Stranger(server) => {
            return Err(Skip::Nothing(format!(
                "{server} is in no private network, and is asked with --network only"
            )));
        }
        Answer::Silent(server, how) => Verdict::failed(format!("{server} {how}")),
        // SERVFAIL: it is there and cannot do its work.
        Answer::Code(server, 2) => Verdict::warning(format!(
            "{server} answers that it cannot resolve (SERVFAIL)"
        )),
        Answer::Code(server, _) => Verdict::ok(format!("{server} does")),
    })
}

pub(in crate::doctor) fn generated(facts: &Facts) -> Judged {
    facts.wsl()?;
    let off = facts
        .wsl_conf("network", "generateResolvConf")
        .and_then(boolean)
        == Some(false);
    if !off {
        return Ok(Verdict::ok("WSL writes it"));
    }
    let text = facts.resolver.text.content();
    let own = text.is_some_and(|text| servers(text).iter().any(IpAddr::is_loopback));
    let detail = "[network] generateResolvConf=false: WSL does not write it";
    Ok(if own {
        Verdict::note(format!(
            "{detail}; a resolver of this distribution does the work"
        ))
    } else {
        Verdict::warning(format!(
            "{detail}, so nothing follows Windows' networks and VPNs"
        ))
    })
}

/// Where DNS tunnelling is asked.
fn tunnelling_address(facts: &Facts) -> IpAddr {
    let named = facts.wslconfig().ok().and_then(|ini| {
        let of = |section| ini.get(section, "dnsTunnelingIpAddress")?.parse().ok();
        of("experimental").or_else(|| of("wsl2"))
    });
    named.unwrap_or(TUNNELLING)
}

pub(in crate::doctor) fn tunnelling(facts: &Facts) -> Judged {
    facts.wsl()?;
    let (_, seen) = facts.seen()?;
    let tunnelling = tunnelling_address(facts);
    let there = seen
        .addresses
        .iter()
        .any(|has| has.net.addr() == tunnelling);
    let text = facts.resolver.text.content();
    let asked = text.is_some_and(|text| servers(text).contains(&tunnelling));
    let wanted = facts.wslconfig().ok().and_then(|ini| {
        let of = |section| ini.get(section, "dnsTunneling").and_then(boolean);
        of("wsl2").or_else(|| of("experimental"))
    });
    Ok(match (asked, there, wanted) {
        (true, false, _) => Verdict::failed(format!(
            "resolv.conf names {tunnelling}, and no interface has it"
        )),
        (true, true, _) => Verdict::ok(format!("{tunnelling} on lo")),
        (false, true, _) => Verdict::note(format!(
            "it is on, and resolv.conf names another server than {tunnelling}"
        )),
        (false, false, Some(false)) => {
            Verdict::note("dnsTunneling=false in .wslconfig: names go to Windows' servers directly")
        }
        (false, false, _) => Verdict::note("it is not in use here"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{Check, testing::table},
        interop::ini::Ini,
    };

    fn text(facts: &mut Facts, text: &str) {
        facts.resolver.text = Text::Content(text.into());
    }

    fn answer(facts: &mut Facts, answer: fn(IpAddr) -> Answer) {
        facts.resolver.answer = answer([172, 28, 16, 1].into());
    }

    fn own(facts: &mut Facts) {
        facts.wsl_conf = Text::Content(Ini::parse("[network]\ngenerateResolvConf = false"));
    }

    fn without(facts: &mut Facts) {
        facts.change(|seen| seen.addresses.retain(|a| a.net.addr() != TUNNELLING));
    }

    #[test]
    fn resolver() {
        table! { Check::ResolvConf;
            "none": |f| {
                f.resolver.text = Text::Missing;
                f.resolver.link = None;
            } => Failed, "there is none";
            "dangling": |f| {
                f.resolver.text = Text::Missing;
                f.resolver.link = Some("/mnt/wsl/resolv.conf".into());
            } => Failed, "a link to /mnt/wsl/resolv.conf";
            "unreadable": |f| f.resolver.text = Text::Unreadable("EIO".into()) => Failed, "EIO";
            "empty": |f| text(f, "# nothing\nsearch lan\n") => Failed, "no line";
            "two": |f| text(f, "nameserver 1.1.1.1\nnameserver fe80::1%eth0\n") => Ok, "1.1.1.1, fe80::1";
        }
        table! { Check::ResolvImmutable;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "chattr +i": |f| f.resolver.immutable = true => Warning, "chattr";
        }
        table! { Check::DnsAnswers;
            "no server": |f| f.resolver.answer = Answer::NoServer => Skipped, "no server";
            "a stranger": |f| answer(f, Answer::Stranger) => Skipped, "--network";
            "silent": |f| answer(f, |ip| Answer::Silent(ip, "did not answer".into())) => Failed, "172.28.16.1 did not answer";
            "SERVFAIL": |f| answer(f, |ip| Answer::Code(ip, 2)) => Warning, "SERVFAIL";
            "REFUSED": |f| answer(f, |ip| Answer::Code(ip, 5)) => Ok, "172.28.16.1";
        }
    }

    #[test]
    fn wsls_part() {
        table! { Check::DnsGenerated;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "off": own => Warning, "generateResolvConf=false";
            "off with a resolver": |f| { own(f); text(f, "nameserver 127.0.0.53") } => Note, "does the work";
        }
        table! { Check::DnsTunnelling;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "dead": without => Failed, "no interface has it";
            "another server": |f| text(f, "nameserver 8.8.8.8") => Note, "another server";
            "off": |f| {
                without(f);
                text(f, "nameserver 172.28.16.1");
                f.wslconfig = Text::Content(Ini::parse("[wsl2]\ndnsTunneling=false"));
            } => Note, "dnsTunneling=false";
            "at another address": |f| {
                f.change(|s| s.addresses.push(crate::doctor::testing::address(1, "10.9.9.9/32")));
                text(f, "nameserver 10.9.9.9");
                f.wslconfig = Text::Content(Ini::parse("[experimental]\ndnsTunnelingIpAddress=10.9.9.9"));
            } => Ok, "10.9.9.9 on lo";
            "not in use": |f| { without(f); text(f, "nameserver 172.28.16.1") } => Note, "not in use";
        }
    }
}
