//! The status document for a person: at most 80 columns, what matters most first.

use super::{
    super::{
        counters, style,
        table::{columns, hanging, listed, wrap},
    },
    peers::{self, ROOM},
};
use crate::{
    model::{ForwardBackend, ForwardState, ForwardStatus, HealthEntry},
    report::{Document, RelayEntry},
};

/// Forwards that are shown.
const MAX_FORWARDS: usize = 16;
/// A longer name of a forward has a line of its own.
const LONG_NAME: usize = 16;

/// The page at a time, in seconds since 1970; `note` is where the document is from, if
/// not from the agent itself.
pub(super) fn page(document: &Document, note: Option<&str>, now_unix: u64) -> Vec<String> {
    let mut rows = vec![("agent", vec![agent(document)])];
    if document.role == "active" {
        rows.extend(of_a_leader(document, now_unix));
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
    let file = document.network_file.display().to_string();
    let (passes, took) = (document.passes, document.last_pass_us);
    vec![
        ("mode", vec![document.mode.clone()]),
        ("address", listed(&address(document), ROOM)),
        ("windows", vec![or_dash(document.windows_address)]),
        ("mtu", listed(&Vec::from_iter(mtus), ROOM)),
        ("wireguard", peers::lines(document, now_unix)),
        ("forwards", forwards(document)),
        ("portproxy", portproxy.collect()),
        (
            "relay",
            document.relay.as_ref().map_or_else(Vec::new, relay),
        ),
        ("counters", counted(document)),
        ("file", wrap(&file, ROOM)),
        ("passes", vec![format!("{passes}, the last took {took} us")]),
    ]
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

fn agent(document: &Document) -> String {
    let verdict = verdict(document, "healthy");
    format!("{} (process {}), {verdict}", document.role, document.pid)
}

fn address(document: &Document) -> Vec<String> {
    let (address, interface) = (or_dash(document.address), &document.interface);
    vec![
        format!("{address} on {}", or_dash(interface.as_ref())),
        format!("gateway {}", or_dash(document.gateway)),
    ]
}

/// One line for each forward, in columns; what does not fit is on the next one.
fn forwards(document: &Document) -> Vec<String> {
    let entries = &document.served;
    if entries.is_empty() {
        return vec!["-".to_owned()];
    }
    let cells = |entry: &ForwardStatus| [entry.name.clone(), listen(entry), state(entry)];
    let aligned = columns(entries.iter().map(cells).collect(), LONG_NAME, false);
    let mut lines = Vec::new();
    for (entry, (long, [name, listen, state])) in entries.iter().zip(aligned).take(MAX_FORWARDS) {
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
    if let Some(more @ 1..) = entries.len().checked_sub(MAX_FORWARDS) {
        let text = format!("and {more} more: wslmesh forward list");
        lines.push(style::dim(&text));
    }
    lines
}

fn listen(entry: &ForwardStatus) -> String {
    format!(
        "{} {}:{} -> {}",
        entry.listen.protocol,
        entry.listen.listen_address,
        entry.listen.listen_port,
        entry.connect_port
    )
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
    format!("{backend}: {}{answers}", entry.state)
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
    let state = if entry.applied {
        "serves"
    } else {
        "does not serve yet"
    };
    let sessions = match entry.sessions {
        1 => "1 UDP session".to_owned(),
        count => format!("{count} UDP sessions"),
    };
    wrap(&format!("{state}, {sessions}; {}", entry.location), ROOM)
}

/// The relay's counters with their age, and a table of them.
fn counted(document: &Document) -> Vec<String> {
    let Some(entry) = document.relay.as_ref().and_then(|e| e.counters.as_ref()) else {
        return Vec::new();
    };
    let all: Vec<_> = entry.forwards.iter().collect();
    let mut lines = vec![counters::age(entry)];
    lines.extend(counters::table(&all, ROOM));
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
