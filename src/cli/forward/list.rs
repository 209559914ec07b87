//! `wslmesh forward list`

use serde::Serialize;

use super::super::{
    output::{Exit, print},
    table::{WIDTH, columns, wrap},
};
use crate::{
    config::{Forward, Settings, Source},
    model::ServedBy,
    paths::Paths,
    report::{Document, Severity, read_status},
};

/// A configured forward and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    protocol: String,
    listen: String,
    connect_port: u16,
    firewall: String,
    served_by: Option<ServedBy>,
    /// The agent's word, `no agent`, or `new` until it has read the configuration.
    state: String,
    /// Codes of what is wrong with it.
    health: Vec<String>,
}

pub(super) fn list(source: &Source, paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let settings = Settings::load(source)?;
    let document = read_status(&paths.runtime)?.filter(Document::is_alive);
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
        for line in table(&rows) {
            print(&line)?;
        }
    }
    let down = rows
        .iter()
        .any(|row| row.state == "down" || !row.health.is_empty());
    Ok(if down { Exit::Degraded } else { Exit::Fine })
}

fn row(forward: &Forward, document: Option<&Document>) -> Row {
    let served = document.and_then(|document| {
        let of_this_name = |entry: &&crate::report::ServedEntry| {
            entry.name == forward.name
                && (entry.protocol, entry.listen_port, entry.connect_port)
                    == (forward.protocol, forward.listen_port, forward.connect_port)
        };
        document.served.iter().find(of_this_name)
    });
    let info = Severity::Info.to_string();
    let concerns = |subject: &str| subject.split(", ").any(|name| name == forward.name);
    let health = document.map_or_else(Vec::new, |document| {
        let of_this = document
            .health
            .iter()
            .filter(|entry| entry.severity != info && concerns(&entry.subject));
        of_this.map(|entry| entry.code.clone()).collect()
    });
    Row {
        name: forward.name.clone(),
        protocol: forward.protocol.to_string(),
        listen: format!(
            "{}:{}",
            served.map_or(forward.listen_address, |entry| entry.listen_address),
            forward.listen_port
        ),
        connect_port: forward.connect_port.get(),
        firewall: forward.firewall.to_string(),
        served_by: served.and_then(|entry| entry.served_by),
        state: match (document, served) {
            (None, _) => "no agent".to_owned(),
            (Some(_), None) => "new".to_owned(),
            (Some(_), Some(entry)) => entry.state.clone(),
        },
        health,
    }
}

fn table(rows: &[Row]) -> Vec<String> {
    let heading = ["NAME", "PROTO", "LISTEN", "TO", "FIREWALL", "BY", "STATE"];
    let cells = |row: &Row| {
        let by = row
            .served_by
            .map_or_else(|| "-".to_owned(), |by| by.to_string());
        [
            row.name.clone(),
            row.protocol.clone(),
            row.listen.clone(),
            row.connect_port.to_string(),
            row.firewall.clone(),
            by,
            row.state.clone(),
        ]
    };
    let all: Vec<[String; 7]> = std::iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let mut lines = Vec::new();
    let mut aligned = columns(&all).into_iter();
    lines.extend(aligned.next());
    for (row, line) in rows.iter().zip(aligned) {
        lines.push(line);
        let codes = row.health.join(", ");
        let notes = wrap(&codes, WIDTH - 2).into_iter();
        lines.extend(notes.map(|note| format!("  {note}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n\
        [[forward]]\nname = \"wireguard\"\nprotocol = \"udp\"\nlisten-port = 51820\nfirewall = \"full\"\n";

    fn document() -> Document {
        let text = r#"{"version":1,"pid":1,"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,
            "served":[{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"served-by":"portproxy","state":"up"},
                      {"name":"wireguard","protocol":"udp","listen-address":"127.0.0.1","listen-port":51820,"connect-port":51820,"served-by":"relay","state":"down"}],
            "windows-address":null,"passes":1,"last-pass-us":1,
            "health":[{"code":"forward-port-taken","severity":"error","subject":"other, wireguard","detail":"","cure":""},
                      {"code":"some-note","severity":"info","subject":"ssh","detail":"","cure":""}]}"#;
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
    fn each_forward_with_its_server_and_state() {
        assert_eq!(
            shown(Some(&document())),
            [
                "NAME       PROTO  LISTEN           TO     FIREWALL  BY         STATE",
                "ssh        tcp    0.0.0.0:2222     22     local     portproxy  up",
                "wireguard  udp    127.0.0.1:51820  51820  full      relay      down",
                "  forward-port-taken",
            ]
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
