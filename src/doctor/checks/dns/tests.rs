use super::*;
use crate::{doctor::tests::table, interop::ini::Ini};

fn servers(facts: &mut Facts, servers: &[&str]) {
    let servers = servers.iter().map(|server| server.parse().unwrap());
    facts.local_mut().resolver.servers = Ok(Some(servers.collect()));
}

fn answer(facts: &mut Facts, answer: fn(IpAddr) -> Answer) {
    facts.local_mut().resolver.answer = answer([172, 28, 16, 1].into());
}

fn own(facts: &mut Facts) {
    facts.local_mut().wsl_conf = Ok(Some(Ini::parse("[network]\ngenerateResolvConf = false")));
}

fn without(facts: &mut Facts) {
    facts.change(|o| o.addresses.retain(|a| a.net.addr() != TUNNELLING));
}

#[test]
fn resolver() {
    table! { "resolv-conf";
        "none": |f| {
            f.local_mut().resolver.servers = Ok(None);
            f.local_mut().resolver.link = None;
        } => Error, "does not exist";
        "dangling": |f| {
            f.local_mut().resolver.servers = Ok(None);
            f.local_mut().resolver.link = Some("/mnt/wsl/resolv.conf".into());
        } => Error, "a link to /mnt/wsl/resolv.conf";
        "unreadable": |f| f.local_mut().resolver.servers = Err("EIO".into()) => Error, "EIO";
        "empty": |f| servers(f, &[]) => Error, "no line";
        "two": |f| servers(f, &["1.1.1.1", "fe80::1"]) => Ok, "1.1.1.1, fe80::1";
    }
    table! { "resolv-immutable";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "chattr +i": |f| f.local_mut().resolver.immutable = true => Warning, "chattr";
    }
    table! { "dns-answers";
        "no server": |f| f.local_mut().resolver.answer = Answer::NoServer => Skipped, "no server";
        "a public one": |f| answer(f, Answer::Public) => Skipped, "--network";
        "silent": |f| answer(f, |ip| Answer::Silent(ip, "did not answer".into())) => Error, "172.28.16.1 did not answer";
        "SERVFAIL": |f| answer(f, |ip| Answer::Code(ip, 2)) => Warning, "SERVFAIL";
        "REFUSED": |f| answer(f, |ip| Answer::Code(ip, 5)) => Ok, "172.28.16.1";
    }
}

#[test]
fn wsls_part() {
    table! { "dns-generated";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "off": own => Warning, "generateResolvConf=false";
        "off with a resolver": |f| { own(f); servers(f, &["127.0.0.53"]) } => Info, "resolver of this distribution";
    }
    table! { "dns-tunnelling";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "dead": without => Error, "which no interface has";
        "another server": |f| servers(f, &["8.8.8.8"]) => Info, "another server";
        "off": |f| {
            without(f);
            servers(f, &["172.28.16.1"]);
            f.wslconfig = Ok(Some(Ini::parse("[wsl2]\ndnsTunneling=false")));
        } => Info, "dnsTunneling=false";
        "at another address": |f| {
            f.change(|s| s.addresses.push(crate::doctor::tests::address(1, "10.9.9.9/32")));
            servers(f, &["10.9.9.9"]);
            f.wslconfig = Ok(Some(Ini::parse("[experimental]\ndnsTunnelingIpAddress=10.9.9.9")));
        } => Ok, "10.9.9.9 on lo";
        "not in use": |f| { without(f); servers(f, &["172.28.16.1"]) } => Info, "not in use";
    }
}
