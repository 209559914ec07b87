//! Name resolution. No cure here switches DNS tunnelling off: with it go
//! Windows' hosts file, its VPNs' name rules and corporate names.

use std::net::IpAddr;

use super::super::{
    facts::{Answer, Facts, Text},
    ini::boolean,
    resolv::servers,
    verdict::{Judged, Skip, Verdict},
};

/// The address that DNS tunnelling puts on `lo` (microsoft/WSL:
/// experimental.dnsTunnelingIpAddress).
const TUNNELLING: &str = "10.255.255.254";

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

pub(in crate::doctor) fn tunnelling(facts: &Facts) -> Judged {
    facts.wsl()?;
    let (_, seen) = facts.seen()?;
    let address: IpAddr = seen
        .addresses
        .iter()
        .map(|address| address.net.addr())
        .find(|address| address.to_string() == TUNNELLING)
        .map_or(IpAddr::from([0, 0, 0, 0]), |address| address);
    let text = facts.resolver.text.content();
    let asked =
        text.is_some_and(|text| servers(text).iter().any(|ip| ip.to_string() == TUNNELLING));
    let wanted = facts.wslconfig().ok().and_then(|ini| {
        let of = |section| ini.get(section, "dnsTunneling").and_then(boolean);
        of("wsl2").or_else(|| of("experimental"))
    });
    Ok(match (asked, address.is_unspecified(), wanted) {
        (true, true, _) => Verdict::failed(format!(
            "resolv.conf names {TUNNELLING}, and no interface has it"
        )),
        (true, false, _) => Verdict::ok(format!("{TUNNELLING} on lo")),
        (false, false, _) => Verdict::note(format!(
            "it is on, and resolv.conf names another server than {TUNNELLING}"
        )),
        (false, true, Some(false)) => {
            Verdict::note("dnsTunneling=false in .wslconfig: names go to Windows' servers directly")
        }
        (false, true, _) => Verdict::note("it is not in use here"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Check, ini::Ini, testing::table};

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
        facts.change(|seen| {
            seen.addresses
                .retain(|a| a.net.addr().to_string() != TUNNELLING)
        });
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
            "not in use": |f| { without(f); text(f, "nameserver 172.28.16.1") } => Note, "not in use";
        }
    }
}
