//! `wslmesh forward list`

use serde::Serialize;

use super::super::{
    answers, counters,
    output::{Exit, print, print_error, prose},
    style,
    table::{WIDTH, columns, listed},
};
use crate::{
    config::{Forward, Settings, Source},
    control::{Status, status},
    model::{CountedForward, ForwardBackend, ForwardStatus, Severity},
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
    connect_port: u16,
    firewall: String,
    served_by: Option<ForwardBackend>,
    /// The agent's state, `no agent`, or `new` until it has read the configuration.
    state: String,
    /// Whether a service listens at the port in this distribution, where that is known.
    answers: Option<bool>,
    /// Why none answers.
    unanswered: Option<String>,
    /// Codes of what is wrong with it.
    health: Vec<String>,
    /// What the relay counted, where it serves this one and was asked.
    counters: Option<Counters>,
}

/// What went through a forward since the relay began to serve it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Counters {
    /// When it was asked, in milliseconds since 1970 (UTC).
    taken_unix_ms: u64,
    active: u32,
    opened: u64,
    failed: u64,
    refused: u64,
    bytes_in: u64,
    bytes_out: u64,
}

pub(super) async fn list(source: &Source, paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let settings = Settings::load(source)?;
    // Without it there is still the configuration to list.
    let status = status(paths).await.unwrap_or_else(|error| {
        print_error(&anyhow::Error::new(error));
        None
    });
    let (document, note) = match status {
        Some(Status { mut document, note }) => {
            answers::add_answers(&mut document);
            (Some(document), note)
        }
        None => (None, None),
    };
    let rows: Vec<Row> = settings
        .forwards
        .iter()
        .map(|forward| row(forward, document.as_ref()))
        .collect();
    if json {
        print(&serde_json::to_string_pretty(&rows)?)?;
    } else if rows.is_empty() {
        print("no forward is configured; wslmesh forward add makes one")?;
    } else {
        let counted = counted(&settings.forwards, document.as_ref());
        for line in table(&rows).iter().chain(&counted) {
            print(line)?;
        }
        if let Some(note) = note {
            print(&style::dim(&prose(&format!("note: {note}"))))?;
        }
    }
    let down = rows
        .iter()
        .any(|row| row.state == "down" || !row.health.is_empty());
    Ok(if down { Exit::Degraded } else { Exit::Fine })
}

fn row(forward: &Forward, document: Option<&Document>) -> Row {
    let served = document.and_then(|document| {
        let of_this_name = |entry: &&ForwardStatus| {
            entry.name == forward.name
                && (entry.listen.protocol, entry.listen.listen_port)
                    == (forward.protocol, forward.listen_port)
                && entry.connect_port == forward.connect_port
        };
        document.served.iter().find(of_this_name)
    });
    let concerns = |subject: &str| subject.split(", ").any(|name| name == forward.name);
    let health = document.map_or_else(Vec::new, |document| {
        let of_this = document
            .health
            .iter()
            .filter(|entry| entry.severity > Severity::Info && concerns(&entry.subject));
        of_this.map(|entry| entry.code.clone()).collect()
    });
    Row {
        name: forward.name.clone(),
        protocol: forward.protocol.to_string(),
        listen: format!(
            "{}:{}",
            served.map_or(forward.listen_address, |entry| entry.listen.listen_address),
            forward.listen_port
        ),
        connect_port: forward.connect_port.get(),
        firewall: forward.firewall.to_string(),
        served_by: served.and_then(|entry| entry.backend),
        state: match (document, served) {
            (None, _) => "no agent".to_owned(),
            (Some(_), None) => "new".to_owned(),
            (Some(_), Some(entry)) => entry.state.to_string(),
        },
        answers: served.and_then(|entry| entry.answers),
        unanswered: served.and_then(|entry| entry.unanswered.clone()),
        health,
        counters: document.and_then(|document| {
            let (taken_unix_ms, entry) = entry_of(forward, document)?;
            let counters = entry.counters;
            Some(Counters {
                taken_unix_ms,
                active: counters.active,
                opened: counters.opened,
                failed: counters.failed,
                refused: counters.refused,
                bytes_in: counters.bytes_in,
                bytes_out: counters.bytes_out,
            })
        }),
    }
}

/// What the relay counted for a forward, and when it was asked. The relay may
/// listen on another address than the configured one.
fn entry_of<'a>(forward: &Forward, document: &'a Document) -> Option<(u64, &'a CountedForward)> {
    let counters = document.relay.as_ref()?.counters.as_ref()?;
    let of_this = |entry: &&CountedForward| {
        let listen = entry.counters.listen;
        entry.name == forward.name
            && (listen.protocol, listen.listen_port) == (forward.protocol, forward.listen_port)
    };
    let entry = counters.forwards.iter().find(of_this)?;
    Some((counters.taken_unix_ms, entry))
}

/// What the relay counted for the forwards that are listed, below their table.
fn counted(forwards: &[Forward], document: Option<&Document>) -> Vec<String> {
    let Some(document) = document else {
        return Vec::new();
    };
    let counters = document.relay.as_ref().and_then(|e| e.counters.as_ref());
    let entries = forwards.iter().filter_map(|one| entry_of(one, document));
    let entries: Vec<&CountedForward> = entries.map(|(_, entry)| entry).collect();
    let (Some(counters), false) = (counters, entries.is_empty()) else {
        return Vec::new();
    };
    let title = format!("relay counters, {}:", counters::age(counters));
    let mut lines = vec![String::new(), title];
    lines.extend(counters::table(&entries, WIDTH));
    lines
}

/// One line for each forward, in columns; what does not fit is on the next one.
fn table(rows: &[Row]) -> Vec<String> {
    let heading = ["NAME", "PROTO", "LISTEN", "TO", "FIREWALL", "BY"];
    let cells = |row: &Row| {
        let by = row
            .served_by
            .map_or_else(|| "-".to_owned(), |by| by.to_string());
        [
            short_name(row).unwrap_or_default().to_owned(),
            row.protocol.clone(),
            row.listen.clone(),
            row.connect_port.to_string(),
            row.firewall.clone(),
            by,
        ]
    };
    let all: Vec<[String; 6]> = std::iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let aligned = columns(&all);
    let widest = aligned.iter().map(|line| line.chars().count());
    let widest = widest.max().unwrap_or_default();
    let mut aligned = aligned.into_iter();
    let mut lines = Vec::new();
    lines.extend(aligned.next().map(|line| format!("{line:<widest$}  STATE")));
    for (row, line) in rows.iter().zip(aligned) {
        let state = match row.answers {
            Some(true) => format!("{}, answers", row.state),
            Some(false) | None => row.state.clone(),
        };
        if short_name(row).is_none() {
            lines.push(row.name.clone());
        }
        let mut notes = Vec::new();
        if widest + 2 + state.chars().count() <= WIDTH {
            lines.push(format!("{line:<widest$}  {state}"));
        } else {
            lines.push(line);
            notes.push(state);
        }
        notes.extend(row.unanswered.iter().chain(&row.health).cloned());
        let notes = listed(&notes, WIDTH - 2).into_iter();
        lines.extend(notes.map(|note| format!("  {note}")));
    }
    lines
}

/// A longer name has a line of its own.
fn short_name(row: &Row) -> Option<&str> {
    (row.name.chars().count() <= LONG_NAME).then_some(row.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n\
        [[forward]]\nname = \"wireguard\"\nprotocol = \"udp\"\nlisten-port = 51820\nfirewall = \"full\"\n";

    fn document() -> Document {
        let text = r#"{"version":1,"pid":1,"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,
            "served":[{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"served-by":"portproxy","state":"up","answers":true},
                      {"name":"wireguard","protocol":"udp","listen-address":"127.0.0.1","listen-port":51820,"connect-port":51820,"served-by":"relay","state":"down","answers":false,"unanswered":"no service listens on 51820"}],
            "windows-address":null,"passes":1,"last-pass-us":1,
            "health":[{"code":"forward-port-taken","severity":"error","subject":"other, wireguard","detail":"","remediation":""},
                      {"code":"some-note","severity":"info","subject":"ssh","detail":"","remediation":""}]}"#;
        serde_json::from_str(text).unwrap()
    }

    fn shown(document: Option<&Document>) -> Vec<String> {
        let settings = crate::config::settings(SETTINGS);
        let rows: Vec<Row> = settings
            .forwards
            .iter()
            .map(|forward| row(forward, document))
            .collect();
        table(&rows)
    }

    #[test]
    fn each_forward_with_its_backend_and_state() {
        assert_eq!(
            shown(Some(&document())),
            [
                "NAME       PROTO  LISTEN           TO     FIREWALL  BY         STATE",
                "ssh        tcp    0.0.0.0:2222     22     local     portproxy  up, answers",
                "wireguard  udp    127.0.0.1:51820  51820  full      relay      down",
                "  no service listens on 51820, forward-port-taken",
            ]
        );
    }

    #[test]
    fn the_longest_names_and_addresses_fit() {
        let row = |name: &str, listen: &str, state: &str| Row {
            name: name.to_owned(),
            protocol: "tcp".to_owned(),
            listen: listen.to_owned(),
            connect_port: 65535,
            firewall: "local".to_owned(),
            served_by: Some(ForwardBackend::Portproxy),
            state: state.to_owned(),
            answers: Some(true),
            unanswered: None,
            health: Vec::new(),
            counters: None,
        };
        let long = "n".repeat(64);
        let rows = [
            row("fourteen-signs", "255.255.255.255:65535", "pending"),
            row(&long, "192.168.150.110:80", "up"),
        ];
        let lines = table(&rows);
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{lines:#?}");
        assert_eq!(
            lines,
            [
                "NAME            PROTO  LISTEN                 TO     FIREWALL  BY         STATE",
                "fourteen-signs  tcp    255.255.255.255:65535  65535  local     portproxy",
                "  pending, answers",
                long.as_str(),
                "                tcp    192.168.150.110:80     65535  local     portproxy",
                "  up, answers",
            ]
        );
        let lines = table(&[row("a-name-of-twenty-two-x", "192.168.150.110:80", "up")]);
        assert_eq!(
            lines,
            [
                "NAME  PROTO  LISTEN              TO     FIREWALL  BY         STATE",
                "a-name-of-twenty-two-x",
                "      tcp    192.168.150.110:80  65535  local     portproxy  up, answers",
            ]
        );
    }

    #[test]
    fn counters_are_below_the_table_and_raw_in_json() {
        let mut document = document();
        let settings = crate::config::settings(SETTINGS);
        assert_eq!(counted(&settings.forwards, Some(&document)), [""; 0]);
        let relay = r#"{"location":"guest","applied":true,"sessions":1,"counters":{"taken-unix-ms":5000,"forwards":[
            {"name":"wireguard","protocol":"udp","listen-address":"127.0.0.1","listen-port":51820,
             "active":1,"opened":2,"failed":3,"refused":4,"bytes-in":5000,"bytes-out":6000},
            {"name":"gone","protocol":"udp","listen-address":"0.0.0.0","listen-port":9,
             "active":0,"opened":0,"failed":0,"refused":0,"bytes-in":0,"bytes-out":0}]}}"#;
        document.relay = serde_json::from_str(relay).unwrap();
        let lines = counted(&settings.forwards, Some(&document));
        assert!(lines[1].starts_with("relay counters, ") && lines[1].ends_with(" years old:"));
        assert_eq!(
            (lines[0].as_str(), &lines[2..]),
            (
                "",
                [
                    "NAME       ACTIVE  OPENED  FAILED  REFUSED       IN      OUT".to_owned(),
                    "wireguard       1       2       3        4  4.8 KiB  5.8 KiB".to_owned(),
                ]
                .as_slice()
            )
        );
        let rows: Vec<Row> = settings
            .forwards
            .iter()
            .map(|forward| row(forward, Some(&document)))
            .collect();
        assert_eq!(rows[0].counters, None, "the port proxy counts nothing");
        assert_eq!(
            serde_json::to_value(&rows[1].counters).unwrap(),
            serde_json::json!({"taken-unix-ms": 5000, "active": 1, "opened": 2, "failed": 3,
                "refused": 4, "bytes-in": 5000, "bytes-out": 6000})
        );
    }

    #[test]
    fn what_the_agent_has_not_read_is_new() {
        let mut document = document();
        document.served.remove(0);
        let lines = shown(Some(&document));
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("ssh") && line.ends_with("-      new")),
            "{lines:#?}"
        );
        assert!(
            shown(None)
                .iter()
                .filter(|line| line.ends_with("no agent"))
                .count()
                == 2
        );
    }
}
