//! `port.ps1`: one port, as any user of Windows sees it. Listeners and connections are
//! real ones of the windows namespace.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::contract::{Protocol, VERSION};
use crate::double::machine::{FirewallKind, FirewallRule};
use crate::double::portproxy;
use crate::interop::{Host, State};
use crate::topology::{GATEWAY, Place};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// The process of the service iphlpsvc.
const IP_HELPER: u32 = 1188;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Request {
    version: u64,
    action: String,
    protocol: Protocol,
    served_by: String,
    listen_address: Ipv4Addr,
    listen_port: u16,
    connect_address: String,
    connect_port: u16,
}

/// One call of the script.
pub(crate) fn look(host: &Host, request: &Request) -> Value {
    let guest = request.connect_address.parse::<Ipv4Addr>();
    let is_right = request.version == VERSION
        && request.action == "look"
        && ["relay", "portproxy", "guest"].contains(&request.served_by.as_str())
        && (request.connect_address.is_empty()
            || guest.as_ref().is_ok_and(|one| !one.is_loopback()))
        && request.listen_port > 0
        && request.connect_port > 0;
    if !is_right {
        return json!({"version": VERSION, "state": "invalid-request", "detail": "request: not agreed"});
    }
    let listeners = listeners(request.protocol, request.listen_port);
    let answer = {
        let state = host.state();
        let network = state.situation.windows_address;
        let mut addresses: Vec<String> = network.iter().map(ToString::to_string).collect();
        addresses.push(GATEWAY.to_owned());
        json!({
            "version": VERSION, "state": "looked", "detail": null, "problems": [],
            "owners": owners(&state, request, &listeners),
            "excluded": excluded(&state, request),
            "dynamic": state.situation.dynamic,
            "rules": rules(&state, request),
            "firewall": firewall(&state, request),
            "allowed": state.machine.policy(&state.situation.user).map(|policy| {
                policy.covering(request.protocol, request.listen_port, request.connect_port).is_some()
            }),
            "addresses": addresses,
            "windows-address": network,
        })
    };
    let network = answer.get("windows-address").and_then(Value::as_str);
    let network = network.and_then(|text| text.parse().ok());
    let connects = match request.protocol {
        Protocol::Tcp => connects(request, guest.ok(), network),
        Protocol::Udp => Vec::new(),
    };
    let mut answer = answer;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("connects".to_owned(), connects.into());
    }
    answer
}

/// In a thread that moves there and ends.
fn on_windows<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let moved = scope.spawn(|| Place::Windows.enter().ok().map(|()| work()));
        moved.join().ok().flatten()
    })
}

/// The IPv4 addresses that are listened on at the port.
fn listeners(protocol: Protocol, port: u16) -> Vec<Ipv4Addr> {
    let (name, state) = match protocol {
        Protocol::Tcp => ("tcp", "0A"),
        Protocol::Udp => ("udp", "07"),
    };
    let read = || fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let table = on_windows(read).and_then(Result::ok).unwrap_or_default();
    let listener = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (address, at) = words.next()?.split_once(':')?;
        let now = words.nth(1)?;
        let right = u16::from_str_radix(at, 16) == Ok(port) && now == state;
        let address = u32::from_str_radix(address, 16).ok()?;
        right.then(|| address.to_le_bytes().into())
    };
    table.lines().filter_map(listener).collect()
}

fn owners(state: &State, request: &Request, listeners: &[Ipv4Addr]) -> Vec<Value> {
    let port = state.situation.ports.get(&request.listen_port);
    let named = port.and_then(|port| port.owner.clone());
    let owner = |address: &Ipv4Addr| {
        let at = SocketAddrV4::new(*address, request.listen_port);
        let (process, id) = if state.listening.contains(&at) && request.protocol == Protocol::Tcp {
            ("svchost".to_owned(), IP_HELPER)
        } else if let Some(owner) = &named {
            let (name, id) = owner.split_once(" (").unwrap_or((owner, "4)"));
            (
                name.to_owned(),
                id.trim_end_matches(')').parse().unwrap_or(4),
            )
        } else {
            ("wslmesh-relay".to_owned(), 5120)
        };
        json!({"address": address, "process": process, "id": id})
    };
    listeners.iter().map(owner).collect()
}

fn excluded(state: &State, request: &Request) -> Option<[u16; 2]> {
    let port = state.situation.ports.get(&request.listen_port)?;
    let is_right = port.forbidden && port.protocol == request.protocol;
    is_right.then_some([request.listen_port, request.listen_port])
}

fn rules(state: &State, request: &Request) -> Vec<Value> {
    if request.protocol == Protocol::Udp {
        return Vec::new();
    }
    let owned = portproxy::owned(&state.machine, &state.situation.user);
    let own = [
        GATEWAY.to_owned(),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
    ];
    let network = state.situation.windows_address.map(|one| one.to_string());
    let leads_back = |to: &str| own.iter().chain(&network).any(|one| one == to);
    let rules = state.machine.table().into_iter().filter(|rule| {
        rule.listen_port == request.listen_port
            || rule.connect_address.as_deref().is_some_and(leads_back)
    });
    let rule = |rule: crate::contract::Rule| {
        let ours = owned.contains_key(&(rule.listen_address, rule.listen_port));
        json!({
            "listen-address": rule.listen_address, "listen-port": rule.listen_port,
            "connect-address": rule.connect_address, "connect-port": rule.connect_port, "ours": ours,
        })
    };
    rules.map(rule).collect()
}

/// Rules that hold for what listens at the port, or should.
fn firewall(state: &State, request: &Request) -> Value {
    let profiles = &state.situation.profiles;
    let program = match request.served_by.as_str() {
        "relay" => Some("wslmesh-relay.exe"),
        "portproxy" => Some("svchost.exe"),
        _ => None,
    };
    let kind = match request.served_by == "guest" && !state.situation.host_policy_merge {
        true => FirewallKind::HyperV,
        false => FirewallKind::Windows,
    };
    let holds = |rule: &FirewallRule| {
        let ports = rule
            .ports
            .is_none_or(|(first, last)| (first..=last).contains(&request.listen_port));
        let local = rule
            .local
            .is_none_or(|local| local == request.listen_address);
        let of = rule
            .program
            .as_deref()
            .is_none_or(|of| program.is_some_and(|program| of.ends_with(program)));
        rule.enabled
            && ports
            && local
            && of
            && rule.kind == kind
            && rule
                .protocol
                .is_none_or(|protocol| protocol == request.protocol)
            && rule.profiles.iter().any(|one| profiles.contains(one))
    };
    let named = |allow: bool| -> Vec<&String> {
        let rules = state.machine.firewall.iter();
        let rules = rules.filter(|(_, rule)| rule.allow == allow && holds(rule));
        rules.map(|(name, _)| name).collect()
    };
    json!({"allows": named(true), "blocks": named(false), "shut": [], "profiles": profiles, "open": false, "override": null})
}

fn connects(request: &Request, guest: Option<Ipv4Addr>, network: Option<Ipv4Addr>) -> Vec<Value> {
    let listener = match request.listen_address.is_unspecified() {
        true => Ipv4Addr::LOCALHOST,
        false => request.listen_address,
    };
    let network = network.filter(|_| request.listen_address.is_unspecified());
    let ends = [
        ("guest", guest, request.connect_port),
        ("listener", Some(listener), request.listen_port),
        ("network", network, request.listen_port),
    ];
    let ends = ends
        .into_iter()
        .filter_map(|(to, address, port)| Some((to, address?, port)));
    let connect = |(to, address, port): (&str, Ipv4Addr, u16)| {
        let at = SocketAddr::new(IpAddr::V4(address), port);
        let tried = on_windows(|| TcpStream::connect_timeout(&at, CONNECT).map(drop));
        let code = match tried.map(|result| result.map_err(|error| error.kind())) {
            Some(Ok(())) => 0,
            Some(Err(ErrorKind::ConnectionRefused)) => 10061,
            Some(Err(ErrorKind::TimedOut)) => 10060,
            Some(Err(_)) | None => 10065,
        };
        json!({"to": to, "address": address, "port": port, "code": code})
    };
    ends.map(connect).collect()
}
