use super::*;
use crate::{
    config::settings,
    doctor::{
        port::machine::status,
        tests::{document, socket, table},
    },
    interop::ini::Ini,
    model::{GuestFirewall, ModeState},
};

fn none(facts: &mut Facts) {
    facts.settings = Ok(settings(""));
}

fn at(facts: &mut Facts, address: &str) {
    facts.local_mut().sockets = Ok(vec![
        socket(Protocol::Udp, "::", 41820),
        socket(Protocol::Tcp, address, 22),
    ]);
}

fn in_mode(facts: &mut Facts, mode: Mode) {
    facts.change(|o| o.mode = ModeState::Known(mode));
}

fn mirrored(facts: &mut Facts) {
    in_mode(facts, Mode::Mirrored);
}

fn wslconfig(facts: &mut Facts, text: &str) {
    facts.wslconfig = Ok(Some(Ini::wslconfig(text.as_bytes())));
}

/// TCP services on these addresses and ports.
fn listen(facts: &mut Facts, at: &[(&str, u16)]) {
    let sockets = at.iter();
    let sockets = sockets.map(|(address, port)| socket(Protocol::Tcp, address, *port));
    facts.local_mut().sockets = Ok(sockets.collect());
}

fn configured(facts: &mut Facts, more: &str) {
    let text = format!("[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\nlisten-port = 5357\n{more}");
    facts.settings = Ok(settings(&text));
}

/// `[discovery]` alone, and an agent that has found this TCP port.
fn discovers(facts: &mut Facts, port: u16) {
    facts.settings = Ok(settings("[discovery]\ntcp = [\"3000-3999\"]\n"));
    let mut found = status("Debian");
    found.listen.listen_port = port.try_into().unwrap();
    found.discovered = Some("node".into());
    found.distribution = None;
    facts.agent.as_mut().unwrap().served = vec![found];
}

#[test]
fn discovered_forwards() {
    table! { "ports-listening";
        "discovered": |f| discovers(f, 3000) => Ok, "behind 1 forward, 1 of them discovered";
        "beside a configured one": |f| { discovers(f, 3000); configured(f, "connect-port = 22\n") } => Ok, "behind 2 forwards, 1 of them discovered";
        "another distribution's": |f| { discovers(f, 3000); f.agent.as_mut().unwrap().served[0].distribution = Some("Debian".into()) } => Skipped, "no forward is configured";
        "nothing discovered": |f| { discovers(f, 3000); f.agent = Some(document(&[])) } => Skipped, "no forward is configured";
        "no agent": |f| { discovers(f, 3000); f.agent = None } => Skipped, "the agent, which discovers them, is not running";
    }
    table! { "ports-exposed";
        "discovered": |f| { mirrored(f); discovers(f, 3000); listen(f, &[("0.0.0.0", 3000)]) } => Ok, "nothing but";
        "left out": |f| { mirrored(f); discovers(f, 3000); listen(f, &[("0.0.0.0", 3000), ("::", 3001)]) } => Info, "1 port (tcp 3001)";
        "no agent": |f| { mirrored(f); discovers(f, 3000); f.agent = None; listen(f, &[("0.0.0.0", 3000), ("::", 3001), ("::", 4000)]) } => Info, "1 port (tcp 4000)";
    }
}

#[test]
fn published_ports() {
    table! { "ports-published";
        "off": |_| () => Skipped, "no containers' ports";
        "no containers": |f| f.settings = Ok(settings("[discovery]\ntcp = [3000]\ncontainers = false\n")) => Skipped, "no containers' ports";
        "nftables": |f| discovers(f, 3000) => Ok, "no nat table";
        "not root": |f| { discovers(f, 3000); f.root = false } => Skipped, "needs root";
        "unreadable": |f| { discovers(f, 3000); f.local_mut().legacy_nat = Err("no answer".into()) } => Skipped, "no answer";
        "legacy": |f| { discovers(f, 3000); f.local_mut().legacy_nat = Ok(true) } => Info, "are not discovered";
    }
}

#[test]
fn forwards() {
    table! { "ports-listening";
        "no forward": none => Skipped, "no forward";
        "no service": |f| f.local_mut().sockets = Ok(vec![]) => Warning, "ssh: no service listens on tcp port 22";
        "a container's port": |f| { f.local_mut().sockets = Ok(vec![]); f.local_mut().passes_on = true } => Info, "ssh: no service listens on tcp port 22, unless a rule passes it on";
        "a container beside": |f| { at(f, "127.0.0.1"); f.local_mut().passes_on = true } => Warning, "on tcp 127.0.0.1:22 only";
        "loopback": |f| at(f, "127.0.0.1") => Warning, "on tcp 127.0.0.1:22 only";
        "IPv6 loopback": |f| at(f, "::1") => Warning, "on tcp [::1]:22 only";
        "all of IPv6": |f| at(f, "::") => Ok, "2 forwards";
        "our address": |f| at(f, "172.28.16.5") => Ok, "2 forwards";
        "unreadable": |f| f.local_mut().sockets = Err("/proc/net does not exist".into()) => Skipped, "/proc/net";
    }
    table! { "ports-kept";
        "nat": |f| configured(f, "") => Skipped, "its own in this mode";
        "mirrored": mirrored => Ok, "none";
        "consomme": |f| { in_mode(f, Mode::Consomme); configured(f, "") } => Ok, "none";
        "kept": |f| { mirrored(f); configured(f, "") } => Error, "a (tcp 5357)";
        "a service": |f| { mirrored(f); listen(f, &[("::", 5357), ("127.0.0.1", 135)]) } => Info, "tcp [::]:5357 gets traffic of this machine alone";
    }
    table! { "ports-exposed";
        "nat": |f| listen(f, &[("0.0.0.0", 8080)]) => Skipped, "its own in this mode";
        "bridged": |f| in_mode(f, Mode::Bridged) => Skipped, "its own in this mode";
        "loopback": |f| { mirrored(f); listen(f, &[("127.0.0.1", 8080), ("::1", 8080)]) } => Ok, "nothing but the forwards";
        "a forward's": |f| { mirrored(f); configured(f, "connect-port = 80\n"); listen(f, &[("0.0.0.0", 5357)]) } => Ok, "nothing but";
        "mirrored": |f| { mirrored(f); listen(f, &[("::", 8080), ("0.0.0.0", 8080), ("0.0.0.0", 80)]) } => Info, "2 ports (tcp 80, tcp 8080): open on Windows' addresses, to whom";
        "consomme": |f| { in_mode(f, Mode::Consomme); wslconfig(f, "[wsl2]\nfirewall=false"); listen(f, &[("::", 8080)]) } => Info, "1 port (tcp 8080): open on Windows' addresses, to whom";
        "no firewall": |f| { mirrored(f); wslconfig(f, "[wsl2]\nfirewall=false"); listen(f, &[("::", 8080)]) } => Warning, "to every network, because";
        "many": |f| { mirrored(f); let all: Vec<_> = (1..=9000).map(|port| ("::", port)).collect(); listen(f, &all) } => Info, "ports (tcp 1, tcp 2, tcp 3, tcp 4, tcp 5, tcp 6, tcp 7, tcp 8, ...)";
    }
    table! { "ports-firewall";
        "no forward": none => Skipped, "no forward";
        "closed": |f| configured(f, "firewall = \"none\"\n") => Info, "a: firewall = \"none\"";
        "loopback": |f| configured(f, "firewall = \"none\"\nlisten-address = \"127.0.0.1\"\n") => Ok, "host check";
        "no agent": |f| f.agent = None => Ok, "asks for a rule";
        "mirrored": |f| { f.agent = Some(document(&[])); f.agent.as_mut().unwrap().guest_firewall = Some(GuestFirewall::HyperV) } => Ok, "rules of the Hyper-V firewall hold for this distribution; every";
        "no rule": |f| f.agent = Some(document(&[("forward-firewall", "info")])) => Info, "forward-firewall (x): it broke";
        "off": |f| f.agent = Some(document(&[("firewall-blocked", "warning"), ("forward-firewall", "info")])) => Warning, "firewall-blocked (x): it broke; forward-firewall";
        "of another": |f| f.agent = Some(document(&[("forward-taken", "warning")])) => Ok, "asks";
    }
    table! { "ports-windows";
        "no agent": |f| f.agent = None => Skipped, "not running";
        "taken": |f| f.agent = Some(document(&[("forward-taken", "warning")])) => Warning, "forward-taken (x): it broke";
        "another check's": |f| f.agent = Some(document(&[("firewall-blocked", "warning")])) => Ok, "no forward to serve";
        "not of Windows": |f| f.agent = Some(document(&[("contested", "warning")])) => Ok, "no forward to serve";
    }
}
