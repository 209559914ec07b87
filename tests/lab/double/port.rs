//! `port.ps1`: one port, as any user of Windows sees it. Listeners and connections are
//! real ones of the windows namespace.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use socket2::SockRef;

use crate::contract::{Protocol, VERSION};
use crate::double::machine::{FirewallKind, FirewallRule};
use crate::double::portproxy;
use crate::interop::{Host, State};
use crate::topology::{GATEWAY, Place};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a test watches a connection, or waits for a datagram's answer.
const WATCH: Duration = Duration::from_secs(3);
/// What came of a connection; of a datagram there is no stream.
type Tried = io::Result<Option<TcpStream>>;
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
    listen_address: IpAddr,
    listen_port: u16,
    connect_address: String,
    connect_port: u16,
}

/// One call of the script.
pub(crate) fn look(host: &Host, request: &Request) -> Value {
    let guest = request.connect_address.parse::<Ipv4Addr>();
    let is_right = request.version == VERSION
        && ["look", "test"].contains(&request.action.as_str())
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
    let connects = match (request.protocol, request.action.as_str()) {
        (Protocol::Udp, "look") => Vec::new(),
        _ => connects(request, guest.ok(), network),
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

/// The addresses that are listened on at the port.
fn listeners(protocol: Protocol, port: u16) -> Vec<IpAddr> {
    let (name, state) = match protocol {
        Protocol::Tcp => ("tcp", "0A"),
        Protocol::Udp => ("udp", "07"),
    };
    let table = |name: String| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    // Without IPv6 there is no second table.
    let read = || {
        table(name.to_owned()).unwrap_or_default() + &table(format!("{name}6")).unwrap_or_default()
    };
    let listener = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (address, at) = words.next()?.split_once(':')?;
        let now = words.nth(1)?;
        let right = u16::from_str_radix(at, 16) == Ok(port) && now == state;
        right.then(|| address_of(address)).flatten()
    };
    let tables = on_windows(read).unwrap_or_default();
    tables.lines().filter_map(listener).collect()
}

/// An address as the kernel's tables have it: words of 32 bits in this machine's order.
fn address_of(text: &str) -> Option<IpAddr> {
    if text.len() == 8 {
        let word = u32::from_str_radix(text, 16).ok()?;
        return Some(IpAddr::from(word.to_le_bytes()));
    }
    let mut bytes = [0; 16];
    for (place, into) in bytes.chunks_mut(4).enumerate() {
        let word = u32::from_str_radix(text.get(place * 8..place * 8 + 8)?, 16).ok()?;
        into.copy_from_slice(&word.to_le_bytes());
    }
    Some(bytes.into())
}

/// The IPv6 address by which the network knows Windows; of several the lowest.
fn network_ipv6() -> Option<IpAddr> {
    let read = || fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    let table = on_windows(read)?;
    // Those that are global, as `00` says.
    let address = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let known = words.get(3) == Some(&"00") && words.get(5) != Some(&"vEthernet");
        let number = u128::from_str_radix(words.first()?, 16).ok()?;
        known.then(|| Ipv6Addr::from(number))
    };
    table.lines().filter_map(address).min().map(IpAddr::from)
}

fn owners(state: &State, request: &Request, listeners: &[IpAddr]) -> Vec<Value> {
    let port = state.situation.ports.get(&request.listen_port);
    let named = port.and_then(|port| port.owner.clone());
    let owner = |address: &IpAddr| {
        let at = SocketAddr::new(*address, request.listen_port);
        let mut proxied = state.listening.iter().map(|one| SocketAddr::V4(*one));
        let is_proxied = proxied.any(|one| one == at);
        let (process, id) = if is_proxied && request.protocol == Protocol::Tcp {
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
    let all = request.listen_address.is_unspecified();
    let tcp = request.protocol == Protocol::Tcp;
    // What listens on both families is tried by both, but for a guest's own.
    let both = request.listen_address == Ipv6Addr::UNSPECIFIED && request.served_by != "guest";
    let listener = match all {
        true => Ipv4Addr::LOCALHOST.into(),
        false => request.listen_address,
    };
    let network = network.filter(|_| all && tcp);
    let ipv6 = both.then_some(IpAddr::from(Ipv6Addr::LOCALHOST));
    let network_ipv6 = (both && tcp).then(network_ipv6).flatten();
    let ends = [
        ("guest", guest.map(IpAddr::from), request.connect_port),
        ("listener", Some(listener), request.listen_port),
        ("listener", ipv6, request.listen_port),
        ("network", network.map(IpAddr::from), request.listen_port),
        ("network", network_ipv6, request.listen_port),
    ];
    let ends = ends
        .into_iter()
        .filter_map(|(to, address, port)| Some((to, address?, port)));
    let watch = match request.action.as_str() {
        "test" => WATCH,
        _ => Duration::ZERO,
    };
    // In their order, so that a trial knows which is the first. All are watched at once.
    let tried: Vec<_> = ends
        .map(|(to, address, port)| {
            let at = SocketAddr::new(address, port);
            let begun = Instant::now();
            let tried = on_windows(|| match tcp {
                true => TcpStream::connect_timeout(&at, CONNECT).map(Some),
                false => datagram(at, watch).map(|()| None),
            });
            (to, at, tried, begun.elapsed())
        })
        .collect();
    let end = Instant::now() + watch;
    let answer = |(to, at, tried, took): (&str, SocketAddr, Option<Tried>, Duration)| {
        let (code, closed) = match tried.map(|result| result.map_err(|error| error.kind())) {
            Some(Ok(stream)) => {
                let watched = stream.filter(|_| !watch.is_zero());
                (0, watched.is_some_and(|stream| is_closed(stream, end)))
            }
            // It was accepted, and closed before this machine's time had come.
            Some(Err(ErrorKind::ConnectionReset)) if tcp => (0, true),
            Some(Err(ErrorKind::ConnectionRefused)) => (10061, false),
            Some(Err(ErrorKind::TimedOut | ErrorKind::WouldBlock)) => (10060, false),
            Some(Err(_)) | None => (10065, false),
        };
        json!({
            "to": to, "address": at.ip(), "port": at.port(), "code": code,
            "milliseconds": u32::try_from(took.as_millis()).unwrap_or(u32::MAX), "closed": closed,
        })
    };
    tried.into_iter().map(answer).collect()
}

/// Whether the other side closes a connection until then. It ends by a reset, as one of the
/// script that was watched.
fn is_closed(mut stream: TcpStream, end: Instant) -> bool {
    if SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .is_err()
    {
        return false;
    }
    // As the script: one that never ends to send is not waited for.
    for _ in 0..64 {
        // What has come meanwhile is read when the time is over, too.
        let left = end.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        if stream.set_read_timeout(Some(left)).is_err() {
            return false;
        }
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
    false
}

/// Sends an empty datagram; the error of silence is one of time.
fn datagram(to: SocketAddr, wait: Duration) -> io::Result<()> {
    let own: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect(to)?;
    socket.send(&[])?;
    socket.set_read_timeout(Some(wait))?;
    socket.recv(&mut [0; 1]).map(drop)
}
