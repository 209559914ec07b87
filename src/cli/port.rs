//! `wslmesh port`

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use clap::Args;
use serde::Serialize;

use super::{
    doctor::row,
    output::{Exit, print, print_json, prose, write_error},
    table::{WIDTH, hanging, wrap},
};
use crate::{
    config::Source,
    doctor::{Holder, Owner, PortFacts, connect, judge_port, port_advice, read_port},
    host::port::{LIMIT, Question, ask},
    model::{
        self, HealthEntry, PlainText, Protocol, Reach, Severity, WindowsEnd, WindowsPort, endpoint,
        exposed_by, from_word,
    },
    netlink::index_of,
    paths::Paths,
};

pub(super) const EXIT_STATUS: &str = "Exit status: 0 it answers, or nothing is wrong; 1 failure; 2 usage error; 3 something is wrong.";

/// Arguments of `wslmesh port`.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The port, as clients know it: 2222, 2222/tcp or 51820/udp
    #[arg(value_name = "PORT[/udp]", value_parser = asked)]
    port: Asked,
    /// Connect to this address instead, from outside: on any machine, WSL or not. A
    /// link-local one has its interface, as fe80::7%eth0
    #[arg(long, value_name = "ADDRESS", value_parser = machine)]
    host: Option<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A port and its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    protocol: Protocol,
    port: NonZeroU16,
}

/// Reads `22`, `22/tcp` or `22/udp`.
fn asked(text: &str) -> Result<Asked, String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = from_word(protocol)
        .map_err(|_| format!("{protocol:?} is no protocol: write /tcp or /udp"))?;
    let port = model::port(port)?;
    Ok(Asked { protocol, port })
}

/// Reads an address of a machine, with port 0.
fn machine(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_matches(['[', ']']);
    if bare != text && bare.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("{text:?} has brackets: write {bare:?}"));
    }
    let (address, interface) = match text.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| {
        format!(
            "{text:?} is no address: write one such as 192.168.1.7 or 2001:db8::7, without a port"
        )
    })?;
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    match (address, interface) {
        (IpAddr::V6(address), Some(interface)) if is_link_local => {
            let number = interface.parse().map(NonZeroU32::get).ok();
            let index = number
                .or_else(|| index_of(interface))
                .ok_or_else(|| format!("{text:?}: there is no interface {interface:?} here"))?;
            Ok(SocketAddrV6::new(address, 0, 0, index).into())
        }
        (_, Some(_)) => Err(format!(
            "{text:?}: only a link-local address (fe80::) has an interface: write {address}"
        )),
        (_, None) if is_link_local => Err(format!(
            "{address} is link-local: write the interface that leads to it, as {address}%eth0"
        )),
        (_, None) => Ok(SocketAddr::new(address, 0)),
    }
}

pub(super) async fn port(command: Command, source: &Source, paths: &Paths) -> anyhow::Result<Exit> {
    let Asked { protocol, port } = command.port;
    if let Some(mut host) = command.host {
        host.set_port(port.get());
        return from_outside(protocol, host, command.json).await;
    }
    let facts = look(source, paths, protocol, port).await?;
    let findings = judge_port(&facts);
    if command.json {
        print_json(&document(&facts, &findings))?;
    } else {
        print(&page(&facts, &findings).join("\n"))?;
    }
    Ok(exit(&findings))
}

/// What this distribution and Windows know of a port.
async fn look(
    source: &Source,
    paths: &Paths,
    protocol: Protocol,
    port: NonZeroU16,
) -> anyhow::Result<PortFacts> {
    let mut facts = read_port(source, paths, protocol, port).await?;
    facts.windows = ask_windows(&facts, paths, false, LIMIT).await;
    Ok(facts)
}

/// What Windows knows of the port, this long at most; for a test it tries more.
pub(super) async fn ask_windows(
    facts: &PortFacts,
    paths: &Paths,
    test: bool,
    limit: Duration,
) -> Result<WindowsPort, String> {
    let question = Question {
        test,
        protocol: facts.protocol,
        served_by: facts.served_by,
        // A relay that is not installed has loopback of both families in the place of `::`.
        listen_address: match facts.listen_address() {
            asked if !test || asked == Ipv6Addr::UNSPECIFIED => asked,
            _ => facts.served_address(),
        },
        listen_port: facts.listen_port,
        // Windows reaches this distribution by IPv4 alone.
        connect_address: facts.node.as_ref().ok().and_then(|node| match node {
            IpAddr::V4(node) => Some(*node),
            IpAddr::V6(_) => None,
        }),
        connect_port: facts.connect_port,
    };
    let windows = ask(&paths.state, &question, limit).await;
    windows.map_err(|error| error.to_string())
}

fn exit(findings: &[HealthEntry]) -> Exit {
    Exit::unless(findings.iter().any(|one| one.severity > Severity::Info))
}

/// What a connection to another machine came to.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outside {
    version: u32,
    protocol: Protocol,
    address: SocketAddr,
    result: Reach,
    advice: String,
}

/// Connects and says in one sentence what came of it.
async fn from_outside(protocol: Protocol, to: SocketAddr, json: bool) -> anyhow::Result<Exit> {
    if to.ip().is_unspecified() || to.ip().is_multicast() {
        write_error(&format!(
            "wslmesh: {} is no address of a machine\n",
            to.ip()
        ));
        return Ok(Exit::Usage);
    }
    let result = connect(protocol, to).await;
    let advice = outside(protocol, to, result);
    if json {
        print_json(&Outside {
            version: VERSION,
            protocol,
            address: to,
            result,
            advice,
        })?;
    } else {
        print(&prose(&advice))?;
    }
    let is_right =
        result == Reach::Answers || result == Reach::Unknown && protocol == Protocol::Udp;
    Ok(Exit::unless(!is_right))
}

fn outside(protocol: Protocol, to: SocketAddr, result: Reach) -> String {
    let port = to.port();
    let there = match protocol {
        Protocol::Tcp => format!("`wslmesh port {port}`"),
        Protocol::Udp => format!("`wslmesh port {port}/udp`"),
    };
    let said = match (result, protocol) {
        (Reach::Answers, _) => "answers from here".to_owned(),
        (Reach::Refused, _) => format!(
            "refuses: the machine is reached, and nothing listens at the port or a filter rejects it; run {there} in the distribution"
        ),
        (Reach::TimedOut, _) => format!(
            "does not answer (timed out): a firewall drops the connection, or no machine has the address; run {there} in the distribution, which looks at Windows' firewall"
        ),
        (Reach::Unreachable, _) => "is unreachable: there is no way to the machine from here; look at the address, the route (`ip route get`) and whether the machine is on".to_owned(),
        (Reach::Unknown, Protocol::Udp) => format!(
            "does not refuse a datagram, which proves nothing: a service answers its own protocol alone, and a firewall is as silent; look for traffic with {there} and `wslmesh status` in the distribution"
        ),
        (Reach::Unknown, Protocol::Tcp) => "could not be tried: this machine refused to connect".to_owned(),
    };
    format!("{protocol} {to} {said}.")
}

/// Version of the JSON documents.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document<'a> {
    version: u32,
    protocol: Protocol,
    listen_port: NonZeroU16,
    connect_port: NonZeroU16,
    forward: Option<&'a str>,
    mode: String,
    address: Option<IpAddr>,
    /// Who holds the port here; nothing where that is not known.
    holders: Option<Vec<HolderEntry>>,
    /// What a connection from here to the address came to.
    here: Option<Reach>,
    windows: Option<&'a WindowsPort>,
    /// Why Windows' half is not known.
    windows_unknown: Option<&'a str>,
    findings: &'a [HealthEntry],
    advice: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct HolderEntry {
    address: IpAddr,
    user: String,
    process: Option<String>,
    pid: Option<u32>,
    unit: Option<String>,
    /// `process`, `kernel`, `other-distribution` or `hidden`.
    of: &'static str,
}

impl From<&Holder> for HolderEntry {
    fn from(holder: &Holder) -> Self {
        let (of, process, pid, unit) = match holder.owner.clone() {
            Owner::Process { name, id, unit } => ("process", Some(name), Some(id), unit),
            Owner::Kernel(interface) => ("kernel", Some(interface), None, None),
            Owner::Elsewhere => ("other-distribution", None, None, None),
            Owner::Hidden => ("hidden", None, None, None),
        };
        Self {
            address: holder.socket.address,
            user: holder.user.clone(),
            process,
            pid,
            unit,
            of,
        }
    }
}

fn document<'a>(facts: &'a PortFacts, findings: &'a [HealthEntry]) -> Document<'a> {
    let holders = facts.holders.as_ref().ok();
    Document {
        version: VERSION,
        protocol: facts.protocol,
        listen_port: facts.listen_port,
        connect_port: facts.connect_port,
        forward: facts.forward.as_ref().map(|one| one.name.as_str()),
        mode: facts.mode.to_string(),
        address: facts.node.as_ref().ok().copied(),
        holders: holders.map(|all| all.iter().map(HolderEntry::from).collect()),
        here: facts.here,
        windows: facts.windows.as_ref().ok(),
        windows_unknown: facts.windows.as_ref().err().map(String::as_str),
        findings,
        advice: port_advice(facts, findings),
    }
}

/// Columns of the words in front of the facts.
const WORDS: usize = 10;

fn page(facts: &PortFacts, findings: &[HealthEntry]) -> Vec<String> {
    let mut lines = vec![title(facts)];
    let mut say = |word: &str, texts: Vec<String>| {
        let head = format!("  {word:<WORDS$}");
        let texts = texts.iter().flat_map(|text| wrap(text, WIDTH - head.len()));
        lines.extend(hanging(&head, texts));
    };
    say("here", here(facts));
    say("forward", forward(facts));
    match &facts.windows {
        Ok(windows) => {
            say("windows", on_windows(facts, windows));
            say("rules", rules(facts, windows));
            say("firewall", firewall(windows));
            let problems = windows
                .problems
                .iter()
                .map(|one| format!("not known: {one}"));
            say("", problems.collect());
        }
        Err(why) => say("windows", vec![format!("not known: {why}")]),
    }
    lines.push(String::new());
    for one in findings {
        lines.extend(row(&one.severity.to_string(), &one.code, &one.detail));
    }
    if !findings.is_empty() {
        lines.push(String::new());
    }
    lines.extend(wrap(&port_advice(facts, findings), WIDTH));
    lines
}

fn title(facts: &PortFacts) -> String {
    match &facts.forward {
        Some(forward) => format!(
            "{} on Windows, {} {} in this distribution (forward {:?})",
            facts.title(),
            facts.protocol,
            facts.connect_port,
            forward.name
        ),
        None => facts.title(),
    }
}

fn here(facts: &PortFacts) -> Vec<String> {
    let mut texts = match &facts.holders {
        Err(why) => vec![format!("not known: {why}")],
        Ok(holders) if holders.is_empty() => vec!["nothing listens".to_owned()],
        Ok(holders) => {
            let line = |one: &Holder| {
                let only = if one.socket.ipv6_only {
                    " (IPv6 alone)"
                } else {
                    ""
                };
                format!("{one} on {}{only}", one.socket.address)
            };
            holders.iter().map(line).collect()
        }
    };
    match (facts.at(), facts.here) {
        (Some(at), Some(reach)) => texts.push(format!("{at} {}", reach.in_words())),
        (Some(_), None) if facts.protocol == Protocol::Udp => {
            texts.push("whether a UDP port answers cannot be proven".to_owned());
        }
        (Some(_), None) => {}
        (None, _) => {
            let why = facts.node.as_ref().err();
            texts.extend(why.map(|why| format!("address not known: {why}")));
        }
    }
    texts
}

fn forward(facts: &PortFacts) -> Vec<String> {
    let served = facts.status.as_ref();
    let state = served.map(|one| {
        let by = one
            .backend
            .map(|by| format!(" by the {by}"))
            .unwrap_or_default();
        format!("{}{by}", one.state_in_words())
    });
    let Some(forward) = &facts.forward else {
        let of = served.map(|one| format!("{:?}, of another distribution", one.name));
        return vec![of.unwrap_or_else(|| "none is configured".to_owned())];
    };
    let state = state.unwrap_or_else(|| match facts.agent {
        true => "not read by the agent yet".to_owned(),
        false => "the agent is not running".to_owned(),
    });
    let at = endpoint(forward.listen_address, forward.listen_port);
    let text = format!(
        "{:?}: {at} to port {}, firewall {}: {state}",
        forward.name, forward.connect_port, forward.firewall
    );
    let is_discovered = forward.remarks.discovered.is_some();
    let exposed = exposed_by(forward.connect_address, is_discovered);
    std::iter::once(text).chain(exposed).collect()
}

fn on_windows(facts: &PortFacts, windows: &WindowsPort) -> Vec<String> {
    let mut texts = Vec::new();
    match windows.owners.as_deref() {
        None => {}
        Some([]) => texts.push("nothing listens".to_owned()),
        Some(owners) => {
            texts.extend(owners.iter().map(|one| format!("{one} on {}", one.address)));
        }
    }
    let ends = [WindowsEnd::Guest, WindowsEnd::Listener, WindowsEnd::Network];
    for end in ends.into_iter().flat_map(|to| windows.ends(to)) {
        let (at, reach) = (end.at(), end.reach().in_words());
        texts.push(format!("from Windows {at} {reach}"));
    }
    if let Some(range) = windows.excluded {
        texts.push(format!("excluded range {range}"));
    }
    if let Some(range) = windows.dynamic {
        let inside = if range.has(facts.listen_port) {
            ", which has it"
        } else {
            ""
        };
        texts.push(format!("dynamic range {range}{inside}"));
    }
    match windows.allowed {
        Some(true) => texts.push("the policy covers it".to_owned()),
        Some(false) => texts.push("the policy does not cover it".to_owned()),
        None => {}
    }
    texts
}

fn rules(facts: &PortFacts, windows: &WindowsPort) -> Vec<String> {
    let rules = windows.rules.iter().flatten();
    let of_it = rules.filter(|one| one.listen_port == facts.listen_port.get());
    let line = |one: &model::ProxyRule| {
        let whose = if one.ours {
            "wslmesh's"
        } else {
            "another tool's"
        };
        format!("port proxy {one} ({whose})")
    };
    of_it.map(line).collect()
}

fn firewall(windows: &WindowsPort) -> Vec<String> {
    let Some(firewall) = &windows.firewall else {
        return Vec::new();
    };
    let named = |names: &[PlainText], what: &str| {
        let first = names.first()?;
        let more = match names.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        Some(format!("{what} {first:?}{more}", first = &**first))
    };
    let profiles = firewall.profiles.iter().map(|one| &**one);
    let mut texts = vec![format!("networks: {}", Vec::from_iter(profiles).join(", "))];
    texts.extend(named(&firewall.allows, "let in by"));
    texts.extend(named(&firewall.blocks, "blocked by"));
    texts.extend(firewall.shut.iter().map(ToString::to_string));
    texts.extend(firewall.open.then(|| "off, or open".to_owned()));
    texts.extend(firewall.overridden.iter().map(ToString::to_string));
    texts
}

#[cfg(test)]
mod tests;
