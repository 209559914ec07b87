//! The status document for a person: at most 80 columns, what matters most first.

use super::{
    super::{
        counters, style,
        table::{listed, wrap},
    },
    peers::{self, MARGIN, ROOM},
};
use crate::{
    model::{ForwardBackend, ForwardState, ForwardStatus, HealthEntry},
    report::{Document, RelayEntry},
};

/// Forwards that are shown.
const MAX_FORWARDS: usize = 16;
/// A longer name of a forward has a line of its own.
const LONG_NAME: usize = 16;

/// What is shown, and when.
pub(super) struct Page<'a> {
    pub(super) document: &'a Document,
    /// Where it is not from the agent itself: from where.
    pub(super) note: Option<&'a str>,
    /// Seconds since 1970, for ages.
    pub(super) now_unix: u64,
}

impl Page<'_> {
    /// All of it.
    pub(super) fn lines(&self) -> Vec<String> {
        let document = self.document;
        let mut rows = vec![("agent", vec![agent(document)])];
        if document.role == "active" {
            rows.extend(self.of_a_leader());
        }
        rows.push(("health", health(document)));
        let note = self.note.map_or_else(Vec::new, |note| wrap(note, ROOM));
        rows.push(("note", note));
        rows.iter()
            .flat_map(|(name, lines)| named(name, lines))
            .collect()
    }

    /// An agent on standby knows nothing of these.
    fn of_a_leader(&self) -> Vec<(&'static str, Vec<String>)> {
        let document = self.document;
        let mut rows = vec![
            ("mode", vec![document.mode.clone()]),
            ("address", listed(&address(document), ROOM)),
            ("windows", vec![or_dash(document.windows_address)]),
        ];
        let mtus = document.links.iter();
        let mtus: Vec<String> = mtus
            .map(|link| format!("{} {}", link.name, link.mtu))
            .collect();
        rows.push(("mtu", listed(&mtus, ROOM)));
        rows.push(("wireguard", peers::lines(document, self.now_unix)));
        rows.push(("forwards", forwards(document)));
        if let Some(rules) = &document.forwards {
            let text = format!("{} -> {}", rules.count, rules.connect_address);
            rows.push(("portproxy", vec![text]));
        }
        if let Some(entry) = &document.relay {
            rows.push(("relay", relay(entry)));
        }
        rows.push(("counters", counted(document)));
        rows.push((
            "file",
            wrap(&document.network_file.display().to_string(), ROOM),
        ));
        let passes = format!(
            "{}, the last took {} us",
            document.passes, document.last_pass_us
        );
        rows.push(("passes", vec![passes]));
        rows
    }
}

/// Lines, of which the first alone has a name in front; nothing where there is none.
fn named(name: &str, lines: &[String]) -> Vec<String> {
    let with_name = |(place, line): (usize, &String)| match place {
        0 => format!("{name:>9}: {line}"),
        _ => format!("{:MARGIN$}{line}", ""),
    };
    lines.iter().enumerate().map(with_name).collect()
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn agent(document: &Document) -> String {
    let verdict = if document.degraded() {
        style::bad("degraded")
    } else {
        style::good("healthy")
    };
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
    let names = entries.iter().map(|entry| entry.name.chars().count());
    let names = names.filter(|name| *name <= LONG_NAME).max().unwrap_or(0);
    let listens = entries.iter().map(|entry| listen(entry).len());
    let listens = listens.max().unwrap_or(0);
    let of_one = |entry: &ForwardStatus| {
        let mut lines = Vec::new();
        let name = if entry.name.chars().count() <= LONG_NAME {
            entry.name.as_str()
        } else {
            lines.push(entry.name.clone());
            ""
        };
        let left = format!("{name:names$}  {:listens$}", listen(entry));
        let (right, paint) = (state(entry), state_style(entry));
        let room = left.chars().count() + 2 + right.chars().count();
        if room <= ROOM {
            lines.push(format!("{left}  {}", paint(&right)));
        } else {
            lines.push(left.trim_end().to_owned());
            let more = wrap(&right, ROOM - names - 2).into_iter();
            lines.extend(more.map(|line| format!("{:names$}  {}", "", paint(&line))));
        }
        lines
    };
    if entries.is_empty() {
        return vec!["-".to_owned()];
    }
    let shown = entries.iter().take(MAX_FORWARDS);
    let mut lines: Vec<String> = shown.flat_map(of_one).collect();
    if let Some(more @ 1..) = entries.len().checked_sub(MAX_FORWARDS) {
        lines.push(style::dim(&format!(
            "and {more} more: wslmesh forward list"
        )));
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
    let verdict = if document.degraded() {
        style::bad("degraded")
    } else {
        style::good("fine")
    };
    let mut lines = vec![verdict];
    lines.extend(document.health.iter().flat_map(finding));
    lines
}

/// What is wrong, the facts, and what to do.
fn finding(entry: &HealthEntry) -> Vec<String> {
    let severity = entry.severity.to_string();
    let head = format!("{severity}: {}", entry.title());
    let mut lines = wrap(&head, ROOM);
    if let Some(first) = lines.first_mut() {
        // The colour has no width, so it comes after the breaking of lines.
        *first = first.replacen(&severity, &style::severity(&severity), 1);
    }
    let more = wrap(&entry.detail, ROOM - 2).into_iter();
    let remediation = wrap(&format!("fix: {}", entry.remediation), ROOM - 2).into_iter();
    lines.extend(more.chain(remediation).map(|line| format!("  {line}")));
    lines
}

#[cfg(test)]
mod tests;
