
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
    facts.change(|o| o.addresses.retain(|a| a.net.addr() != TUNNELLING));
}

#[test]
fn resolver() {
    table! { Check::ResolvConf;
        "none": |f| {
            f.resolver.text = Text::Missing;
            f.resolver.link = None;
        } => Error, "does not exist";
        "dangling": |f| {
            f.resolver.text = Text::Missing;
            f.resolver.link = Some("/mnt/wsl/resolv.conf".into());
        } => Error, "a link to /mnt/wsl/resolv.conf";
        "unreadable": |f| f.resolver.text = Text::Unreadable("EIO".into()) => Error, "EIO";
        "empty": |f| text(f, "# nothing\nsearch lan\n") => Error, "no line";
        "two": |f| text(f, "nameserver 1.1.1.1\nnameserver fe80::1%eth0\n") => Ok, "1.1.1.1, fe80::1";
    }
    table! { Check::ResolvImmutable;
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "chattr +i": |f| f.resolver.immutable = true => Warning, "chattr";
    }
    table! { Check::DnsAnswers;
        "no server": |f| f.resolver.answer = Answer::NoServer => Skipped, "no server";
        "a public one": |f| answer(f, Answer::Public) => Skipped, "--network";
        "silent": |f| answer(f, |ip| Answer::Silent(ip, "did not answer".into())) => Error, "172.28.16.1 did not answer";
        "SERVFAIL": |f| answer(f, |ip| Answer::Code(ip, 2)) => Warning, "SERVFAIL";
        "REFUSED": |f| answer(f, |ip| Answer::Code(ip, 5)) => Ok, "172.28.16.1";
    }
}

#[test]
fn wsls_part() {
    table! { Check::DnsGenerated;
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "off": own => Warning, "generateResolvConf=false";
        "off with a resolver": |f| { own(f); text(f, "nameserver 127.0.0.53") } => Info, "resolver of this distribution";
    }
    table! { Check::DnsTunnelling;
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "dead": without => Error, "which no interface has";
        "another server": |f| text(f, "nameserver 8.8.8.8") => Info, "another server";
        "off": |f| {
            without(f);
            text(f, "nameserver 172.28.16.1");
            f.wslconfig = Text::Content(Ini::parse("[wsl2]\ndnsTunneling=false"));
        } => Info, "dnsTunneling=false";
        "at another address": |f| {
            f.change(|s| s.addresses.push(crate::doctor::testing::address(1, "10.9.9.9/32")));
            text(f, "nameserver 10.9.9.9");
            f.wslconfig = Text::Content(Ini::parse("[experimental]\ndnsTunnelingIpAddress=10.9.9.9"));
        } => Ok, "10.9.9.9 on lo";
        "not in use": |f| { without(f); text(f, "nameserver 172.28.16.1") } => Info, "not in use";
    }
}
