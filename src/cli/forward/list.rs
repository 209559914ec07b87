//! `wslmesh forward list`

use std::{net::Ipv4Addr, num::NonZeroU16};

use serde::Serialize;

use super::super::{
    answers, counters,
    output::{Exit, print, print_error, print_json, prose},
    style,
    table::{WIDTH, columns, hanging, listed},
};
use crate::{
    config::{Forward, Settings, Source},
    control::status,
    model::{
        self, CountedForward, ForwardBackend, ForwardStatus, PortRange, ProxyProtocol,
        discovered_by, endpoint, exposed_by, or_empty,
    },
    paths::Paths,
    report::Document,
};

/// The longest name in the table: the longest of all other columns leave as much.
const LONG_NAME: usize = 14;

/// A configured forward and its state.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    protocol: String,
    listen: String,
    /// The loopback address at which its service listens, where it is asked to be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_address: Option<Ipv4Addr>,
    connect_port: u16,
    /// How many it has on both sides, from these on.
    ports: usize,
    firewall: String,
    backend: Option<ForwardBackend>,
    /// The header that its connections begin with.
    proxy_protocol: Option<ProxyProtocol>,
    /// The agent's state, `no agent`, or `new` until it has read the configuration.
    state: String,
    /// Of a range, the ports whose state this is, where the others are better off.
    state_ports: Option<String>,
    /// Whether a service listens at the port in this distribution, where that is known.
    answers: Option<bool>,
    /// Why none answers.
    unanswered: Option<String>,
    /// Codes of what is wrong with it.
    health: Vec<String>,
    /// What listens at its port, where it was discovered and is in no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    discovered: Option<String>,
    /// What it is for, in the user's words.
    comment: Option<String>,
    /// What the relay counted, where it serves this one and was asked.
    counters: Option<Counters>,
}

/// What went through a forward since the relay began to serve it, and where that listens.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Counters {
    /// When it was asked, in milliseconds since 1970 (UTC).
    taken_unix_ms: u64,
    #[serde(flatten)]
    counted: model::Counters,
}

pub(super) async fn list(source: &Source, paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let settings = Settings::load(source)?;
    // Without it there is still the configuration to list.
    let status = status(paths).await.unwrap_or_else(|error| {
        print_error(&anyhow::Error::new(error));
        None
    });
    let (mut document, note) = status.map(|one| (one.document, one.note)).unzip();
    document.iter_mut().for_each(answers::add_answers);
    let mut forwards = settings.forwards.clone();
    forwards.extend(discovered(&settings, document.as_ref()));
    let rows: Vec<Row> = (forwards.iter())
        .map(|one| row(one, document.as_ref()))
        .collect();
    if json {
        print_json(&rows)?;
    } else if rows.is_empty() {
        print("no forward is configured or discovered; wslmesh forward add makes one")?;
    } else {
        let counted = counted(&forwards, document.as_ref());
        for line in table(&rows).iter().chain(&counted) {
            print(line)?;
        }
        if let Some(note) = note.flatten() {
            print(&style::dim(&prose(&format!("note: {note}"))))?;
        }
    }
    let is_down = |row: &Row| row.state == "down" || !row.health.is_empty();
    Ok(Exit::unless(rows.iter().any(is_down)))
}

/// The forwards that no file has.
fn discovered(settings: &Settings, document: Option<&Document>) -> Vec<Forward> {
    let served = document.into_iter().flat_map(|document| &document.served);
    let forward = |status| Forward::discovered(status, settings.discovery.firewall);
    served.filter_map(forward).collect()
}

fn row(forward: &Forward, document: Option<&Document>) -> Row {
    let is_this = |entry: &&ForwardStatus| {
        entry.name == forward.name
            && entry.listen.protocol == forward.protocol
            && entry.listen_ports() == forward.listen_port
            && entry.connects() == forward.connect_port
    };
    let served = document.and_then(|document| document.served.iter().find(is_this));
    let address = served.map_or(forward.listen_address, |one| one.listen.listen_address);
    let is_discovered = forward.remarks.discovered.is_some();
    let health = document.into_iter();
    let health = health.flat_map(|document| document.health_of(&forward.name, is_discovered));
    Row {
        name: forward.name.clone(),
        protocol: forward.protocol.to_string(),
        listen: endpoint(address, forward.listen_port),
        connect_address: forward.connect_address,
        connect_port: forward.connect_port.first().get(),
        ports: forward.listen_port.len(),
        firewall: forward.firewall.to_string(),
        backend: served.and_then(|entry| entry.backend),
        proxy_protocol: forward.proxy_protocol,
        state: match (document, served) {
            (None, _) => "no agent".to_owned(),
            (Some(_), None) => "new".to_owned(),
            (Some(_), Some(entry)) => entry.state.to_string(),
        },
        state_ports: served.and_then(|entry| entry.state_ports.clone()),
        answers: served.and_then(|entry| entry.answers),
        unanswered: served.and_then(|entry| entry.unanswered.clone()),
        health: health.map(|entry| entry.code).collect(),
        discovered: forward.remarks.discovered.clone(),
        comment: forward.remarks.comment.clone(),
        counters: document.and_then(|document| {
            let (taken_unix_ms, entry) = entry_of(forward, document)?;
            Some(Counters {
                taken_unix_ms,
                counted: entry.counters,
            })
        }),
    }
}

/// What the relay counted for a forward, and when it was asked. The relay may
/// listen on another address than the configured one.
fn entry_of<'a>(forward: &Forward, document: &'a Document) -> Option<(u64, &'a CountedForward)> {
    let counters = document.counted()?;
    let of_this = |entry: &&CountedForward| {
        let listen = entry.counters.listen;
        entry.name == forward.name
            && listen.protocol == forward.protocol
            && listen.listen_port == forward.listen_port.first()
    };
    let entry = counters.forwards.iter().find(of_this)?;
    Some((counters.taken_unix_ms, entry))
}

/// What the relay counted for the forwards that are listed, below their table.
fn counted(forwards: &[Forward], document: Option<&Document>) -> Vec<String> {
    let Some((document, counters)) = document.and_then(|one| Some((one, one.counted()?))) else {
        return Vec::new();
    };
    let entries = forwards.iter().filter_map(|one| entry_of(one, document));
    let table = counters::table(&Vec::from_iter(entries.map(|(_, entry)| entry)), WIDTH);
    if table.is_empty() {
        return table;
    }
    let title = format!("relay counters, {}:", counters::age(counters));
    [vec![String::new(), title], table].concat()
}

/// One line for each forward, in columns; what does not fit is on the next one.
fn table(rows: &[Row]) -> Vec<String> {
    let heading = ["NAME", "PROTO", "LISTEN", "TO", "FIREWALL", "BY", "STATE"];
    let mut cells = vec![heading.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let by = row.backend.map(|by| by.to_string());
        let answers = match row.answers {
            Some(true) => ", answers",
            Some(false) | None => "",
        };
        let of = row.state_ports.as_ref().map(|ports| format!(" ({ports})"));
        let (state, of) = (&row.state, of.unwrap_or_default());
        let connect = NonZeroU16::new(row.connect_port);
        let count = u16::try_from(row.ports).unwrap_or(u16::MAX);
        let connect = connect.map(|first| PortRange::of(first, count));
        [
            row.name.clone(),
            row.protocol.clone(),
            row.listen.clone(),
            or_empty(connect),
            row.firewall.clone(),
            by.unwrap_or_else(|| "-".to_owned()),
            format!("{state}{of}{answers}"),
        ]
    }));
    let mut aligned = columns(cells, LONG_NAME, false).into_iter();
    let heading = aligned.next().map(|(_, cells)| cells.join("  "));
    let mut lines = Vec::from_iter(heading.map(|line| line.trim_end().to_owned()));
    for (row, (long, [left @ .., state])) in rows.iter().zip(aligned) {
        let (left, state) = (left.join("  "), state.trim_end());
        lines.extend(long);
        let mut notes = Vec::new();
        if left.chars().count() + 2 + state.chars().count() <= WIDTH {
            lines.push(format!("{left}  {state}"));
        } else {
            lines.push(left.trim_end().to_owned());
            notes.push(state.to_owned());
        }
        notes.extend(exposed_by(row.connect_address, row.discovered.is_some()));
        notes.extend(row.discovered.as_deref().map(discovered_by));
        notes.extend(row.unanswered.iter().chain(&row.health).cloned());
        lines.extend(hanging("  ", listed(&notes, WIDTH - 2)));
    }
    lines
}

#[cfg(test)]
mod tests;
