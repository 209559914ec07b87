//! The status document for a person: at most 80 columns, what matters most first.

use super::{
    super::{
        counters, style,
        table::{columns, hanging, listed, wrap},
    },
    peers::{self, MOST, ROOM, more},
};
use crate::{
    model::{
        ForwardBackend, ForwardState, ForwardStatus, GuestFirewall, HealthEntry, counted,
        discovered_by, exposed_by, some_of, span,
    },
    report::{Document, PortEntry, RelayEntry},
};

/// A longer name of a forward has a line of its own.
const LONG_NAME: usize = 16;

/// The page at a time, in seconds since 1970; `note` is where the document is from, if
/// not from the agent itself.
pub(super) fn page(document: &Document, note: Option<&str>, now_unix: u64) -> Vec<String> {
    let (verdict, pid) = (verdict(document, "healthy"), document.pid);
    let agent = format!("{} (process {pid}), {verdict}", document.role);
    let mut rows = vec![("agent", vec![agent])];
    if document.role == "active" {
        rows.extend(of_a_leader(document, now_unix));
    } else {
        rows.push(("leader", document.leader.clone().into_iter().collect()));
        rows.push(("lifetime", lifetime(document, now_unix)));
        if !document.served.is_empty() {
            rows.push(("forwards", forwards(document)));
        }
    }
    rows.push(("health", health(document)));
    rows.extend(note.map(|note| ("note", wrap(note, ROOM))));
    let rows = rows.into_iter();
    rows.flat_map(|(name, lines)| hanging(&format!("{name:>9}: "), lines))
        .collect()
}

/// What an agent on standby does not know; a name without lines is not shown.
fn of_a_leader(document: &Document, now_unix: u64) -> Vec<(&'static str, Vec<String>)> {
    let mtus = document.links.iter();
    let mtus = mtus.map(|link| format!("{} {}", link.name, link.mtu));
    let portproxy = document.forwards.iter();
    let portproxy = portproxy.map(|rules| format!("{} -> {}", rules.count, rules.connect_address));
    let firewall = document.guest_firewall.map(GuestFirewall::in_words);
    let file = document.network_file.display().to_string();
    let (passes, took) = (document.passes, document.last_pass_us);
    vec![
        ("mode", vec![mode(document)]),
        ("address", address(document)),
        ("windows", vec![or_dash(document.windows_address)]),
        ("mtu", listed(&Vec::from_iter(mtus), ROOM)),
        ("wireguard", peers::lines(document, now_unix)),
        ("ports", ports(document)),
        ("members", members(document)),
        ("forwards", forwards(document)),
        ("portproxy", portproxy.collect()),
        (
            "firewall",
            firewall.map(str::to_owned).into_iter().collect(),
        ),
        ("relay", document.relay.iter().flat_map(relay).collect()),
        (
            "loopback",
            document.loopback_relay.iter().flat_map(relay).collect(),
        ),
        ("counters", relay_counters(document)),
        ("dns", dns(document)),
        ("tunnel", tunnel(document, now_unix)),
        ("lifetime", lifetime(document, now_unix)),
        ("resumed", resumed(document, now_unix)),
        ("restored", restored(document, now_unix)),
        ("file", wrap(&file, ROOM)),
        ("passes", vec![format!("{passes}, the last took {took} us")]),
    ]
}

/// The mode in force, and the requested one where it is another.
fn mode(document: &Document) -> String {
    let mode = &document.mode;
    let other = document.requested_mode.as_ref();
    match other.filter(|requested| *requested != mode) {
        Some(requested) => format!("{mode} ({requested} is requested in .wslconfig)"),
        None => mode.clone(),
    }
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Whether the node is degraded; what it is otherwise.
fn verdict(document: &Document, otherwise: &str) -> String {
    if document.degraded() {
        style::bad("degraded")
    } else {
        style::good(otherwise)
    }
}

fn address(document: &Document) -> Vec<String> {
    let (address, interface) = (
        or_dash(document.address),
        or_dash(document.interface.as_ref()),
    );
    let gateway = format!("gateway {}", or_dash(document.gateway));
    let mut lines = listed(&[format!("{address} on {interface}"), gateway], ROOM);
    if let Some(reason) = &document.interface_reason {
        lines.extend(wrap(&format!("why {interface}: {reason}"), ROOM));
    }
    lines
}

/// How Windows knows the port of each WireGuard device.
fn ports(document: &Document) -> Vec<String> {
    let ports = document.wireguard_ports.iter();
    let line = |entry: &PortEntry| {
        let text = format!("{} {}: {}", entry.device, entry.port, entry.detail);
        wrap(&text, ROOM)
    };
    ports.flat_map(line).collect()
}

/// Who resolves names and whether it does, and the zones of tunnels.
fn dns(document: &Document) -> Vec<String> {
    let Some(entry) = &document.dns else {
        return Vec::new();
    };
    let source = entry.source.iter().map(|source| format!(" ({source})"));
    let took = entry.took_us.unwrap_or_default().div_ceil(1000);
    let works = match entry.works {
        Some(true) => format!(", answers in {took} ms"),
        Some(false) => ", does not resolve".to_owned(),
        None => String::new(),
    };
    let server = entry.server.iter();
    let server =
        server.map(|server| format!("{server}{}{works}", source.clone().collect::<String>()));
    let zones = entry.zones.iter().map(|zone| {
        let servers = Vec::from_iter(zone.servers.iter().map(ToString::to_string)).join(", ");
        let (name, interface) = (&zone.zone, &zone.interface);
        let works = if zone.works { "" } else { ", does not resolve" };
        format!("{name} by {servers} through {interface}{works}")
    });
    let lines = server.chain(zones);
    lines.flat_map(|line| wrap(&line, ROOM)).collect()
}

/// The other distributions that this agent serves.
fn members(document: &Document) -> Vec<String> {
    let members = document.members.iter();
    let members = members.map(|member| {
        let forwards = counted(member.forwards, "forward");
        format!("{} ({forwards})", member.distribution)
    });
    listed(&Vec::from_iter(members), ROOM)
}

/// One line for each forward, in columns; what does not fit is on the next one.
fn forwards(document: &Document) -> Vec<String> {
    let entries = &document.served;
    if entries.is_empty() {
        return vec!["-".to_owned()];
    }
    let cells = |entry: &ForwardStatus| {
        let (protocol, listens) = (entry.listen.protocol, entry.listens());
        let listen = format!("{protocol} {listens} -> {}", entry.connects());
        [entry.name.clone(), listen, state(entry)]
    };
    let aligned = columns(entries.iter().map(cells).collect(), LONG_NAME, false);
    let mut lines = Vec::new();
    for (entry, (long, [name, listen, state])) in entries.iter().zip(aligned).take(MOST) {
        let (state, paint) = (state.trim_end(), state_style(entry));
        lines.extend(long);
        let left = format!("{name}  {listen}");
        if left.chars().count() + 2 + state.chars().count() <= ROOM {
            lines.push(format!("{left}  {}", paint(state)));
        } else {
            lines.push(left.trim_end().to_owned());
            let margin = format!("{:1$}  ", "", name.chars().count());
            let state = wrap(state, ROOM - margin.len()).into_iter();
            lines.extend(hanging(&margin, state.map(|line| paint(&line))));
        }
    }
    lines.extend(more(entries.len(), "wslmesh forward list"));
    lines
}

/// Its backend and its state.
fn state(entry: &ForwardStatus) -> String {
    let backend = match entry.backend {
        None => "no backend".to_owned(),
        Some(ForwardBackend::Guest) => "no backend needed".to_owned(),
        Some(backend) => format!("by {backend}"),
    };
    let answers = match (&entry.unanswered, entry.answers) {
        (Some(why), _) => format!(", {why}"),
        (None, Some(true)) => ", answers".to_owned(),
        (None, Some(false) | None) => String::new(),
    };
    let discovered = entry.discovered.as_deref().map(discovered_by);
    let notes = exposed_by(entry.connect_address, entry.discovered.is_some())
        .into_iter()
        .chain(discovered);
    let notes: String = notes.map(|text| format!(", {text}")).collect();
    match &entry.owner {
        Some(owner) => format!("{owner} has the port"),
        None => format!("{backend}: {}{answers}{notes}", entry.state_in_words()),
    }
}

fn state_style(entry: &ForwardStatus) -> fn(&str) -> String {
    match entry.state {
        ForwardState::Up if entry.answers == Some(false) => style::warn,
        ForwardState::Up => str::to_owned,
        ForwardState::Pending => style::warn,
        ForwardState::Down => style::bad,
    }
}

fn relay(entry: &RelayEntry) -> Vec<String> {
    let state = match entry.applied {
        true => "serves",
        false => "does not serve yet",
    };
    let sessions = counted(entry.sessions, "UDP session");
    wrap(&format!("{state}, {sessions}; {}", entry.location), ROOM)
}

/// Whether the tunnel to Windows is up, since when and why, and Windows' NAT beside it.
fn tunnel(document: &Document, now_unix: u64) -> Vec<String> {
    let Some(entry) = &document.tunnel else {
        return Vec::new();
    };
    // The clock may have been set back since.
    let since = entry.since_unix.map(|since| {
        let up = span(now_unix.saturating_sub(since));
        format!(" for {up}")
    });
    let reason = match entry.reason.as_deref() {
        Some("always") => ", as [tunnel] when = \"always\" has it",
        Some("nat-broken") => ", because Windows' NAT is broken",
        Some("by-hand") => ", started by hand",
        _ => "",
    };
    let state = &entry.state;
    let mut lines = wrap(
        &format!("{state}{}{reason}", since.unwrap_or_default()),
        ROOM,
    );
    if let Some(why) = entry.last_error.as_ref().filter(|_| entry.state != "up") {
        lines.extend(wrap(why, ROOM));
    }
    if let (Some(nat), Some(look)) = (&entry.nat, &entry.look) {
        lines.extend(wrap(&format!("NAT {nat}: {look}"), ROOM));
    }
    lines
}

/// What becomes of this distribution when nothing on Windows uses it.
fn lifetime(document: &Document, now_unix: u64) -> Vec<String> {
    let Some(entry) = &document.lifetime else {
        return Vec::new();
    };
    let since = entry.held_since_unix.map(|since| {
        // The clock may have been set back since.
        format!(", for {}", span(now_unix.saturating_sub(since)))
    });
    let mut lines = wrap(&(entry.detail.clone() + &since.unwrap_or_default()), ROOM);
    if let Some(fix) = &entry.remediation {
        lines.extend(wrap(&format!("fix: {fix}"), ROOM));
    }
    lines
}

/// The story of the last recovery, and how old it is.
fn resumed(document: &Document, now_unix: u64) -> Vec<String> {
    let Some(entry) = &document.resumed else {
        return Vec::new();
    };
    // The clock may have been set back since.
    let ago = span(now_unix.saturating_sub(entry.ended_unix));
    wrap(&format!("{ago} ago: {}", entry.summary), ROOM)
}

/// What was lost on Windows last, and how long ago that was made again.
fn restored(document: &Document, now_unix: u64) -> Vec<String> {
    let Some(entry) = &document.restored else {
        return Vec::new();
    };
    let ago = span(now_unix.saturating_sub(entry.unix));
    let times = match entry.times {
        ..=1 => String::new(),
        times => format!(" ({times} times since the start)"),
    };
    let lost = some_of(entry.lost.iter().cloned());
    wrap(&format!("{ago} ago: {lost}{times}"), ROOM)
}

/// The relay's counters with their age, and a table of them.
fn relay_counters(document: &Document) -> Vec<String> {
    let Some(counted) = document.counted() else {
        return Vec::new();
    };
    let mut lines = vec![counters::age(counted)];
    lines.extend(counters::table(&Vec::from_iter(&counted.forwards), ROOM));
    lines
}

fn health(document: &Document) -> Vec<String> {
    let mut lines = vec![verdict(document, "fine")];
    lines.extend(document.health.iter().flat_map(finding));
    lines
}

/// What is wrong, the facts, and what to do.
fn finding(entry: &HealthEntry) -> Vec<String> {
    let mut lines = wrap(&format!("{}: {}", entry.severity, entry.title()), ROOM);
    if let Some(first) = lines.first_mut() {
        // The colour has no width, so it comes after the breaking of lines.
        *first = style::with_severity(first, entry.severity);
    }
    for text in [&entry.detail, &format!("fix: {}", entry.remediation)] {
        lines.extend(hanging("  ", wrap(text, ROOM - 2)));
    }
    lines
}

#[cfg(test)]
mod tests;
