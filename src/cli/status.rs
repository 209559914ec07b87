//! `wslmesh status`

use anyhow::{Context, bail};

use super::{
    counters,
    output::{Exit, print},
    poke::with_counters,
    table::WIDTH,
};
use crate::{
    model::ServedBy,
    paths::Paths,
    report::{Document, RelayEntry, ServedEntry, read_status},
};

pub(super) fn status(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let document = read_status(&paths.runtime).with_context(|| {
        format!(
            "cannot read the status document in {}",
            paths.runtime.display()
        )
    })?;
    let Some(document) = document.filter(Document::is_alive) else {
        bail!("no agent runs here; start it: systemctl start wslmesh");
    };
    let document = with_counters(paths, document);
    if json {
        print(&serde_json::to_string_pretty(&document)?)?;
    } else {
        table(&document)?;
    }
    Ok(if document.degraded() {
        Exit::Degraded
    } else {
        Exit::Fine
    })
}

/// One line for each forward, in columns.
fn forwards(document: &Document) -> Vec<String> {
    let width = |of: fn(&ServedEntry) -> usize| document.served.iter().map(of).max();
    let names = width(|entry| entry.name.len()).unwrap_or_default();
    let listens = width(|entry| listen(entry).len()).unwrap_or_default();
    let line = |entry: &ServedEntry| {
        let by = match entry.served_by {
            None => "nobody".to_owned(),
            Some(ServedBy::Guest) => "nobody needed".to_owned(),
            Some(by) => by.to_string(),
        };
        format!(
            "{:names$}  {:listens$}  by {by}: {}",
            entry.name,
            listen(entry),
            entry.state
        )
    };
    match document.served.as_slice() {
        [] => vec!["-".to_owned()],
        entries => entries.iter().map(line).collect(),
    }
}

fn listen(entry: &ServedEntry) -> String {
    format!(
        "{} {}:{} -> {}",
        entry.protocol, entry.listen_address, entry.listen_port, entry.connect_port
    )
}

fn relay(entry: &RelayEntry) -> String {
    let state = if entry.applied {
        "serves"
    } else {
        "does not serve yet"
    };
    let sessions = match entry.sessions {
        1 => "1 UDP session".to_owned(),
        count => format!("{count} UDP sessions"),
    };
    format!("{state}, {sessions}; {}", entry.place)
}

/// What is printed before each value.
const MARGIN: usize = 11;

/// The relay's counters with their age, and a table of them.
fn counted(document: &Document) -> Vec<String> {
    let Some(entry) = document.relay.as_ref().and_then(|e| e.counters.as_ref()) else {
        return Vec::new();
    };
    let all: Vec<_> = entry.forwards.iter().collect();
    let mut lines = vec![counters::age(entry)];
    lines.extend(counters::table(&all, WIDTH - MARGIN));
    lines
}

/// Lines, of which the first alone has a name in front.
fn named<'a>(name: &'a str, lines: &[String]) -> Vec<(&'a str, String)> {
    let lines = lines.iter().enumerate();
    lines
        .map(|(place, line)| (if place == 0 { name } else { "" }, line.clone()))
        .collect()
}

fn table(document: &Document) -> anyhow::Result<()> {
    let unknown = || "-".to_owned();
    let interface = document.interface.clone().unwrap_or_else(unknown);
    let address = document
        .address
        .map_or_else(unknown, |address| address.to_string());
    let gateway = document
        .gateway
        .map_or_else(unknown, |gateway| gateway.to_string());
    let windows = document
        .windows_address
        .map_or_else(unknown, |address| address.to_string());
    let rows = [
        (
            "agent",
            format!("{} (process {})", document.role, document.pid),
        ),
        ("mode", document.mode.clone()),
        (
            "address",
            format!("{address} on {interface}, gateway {gateway}"),
        ),
        ("windows", windows),
        ("file", document.network_file.display().to_string()),
        (
            "passes",
            format!(
                "{}, the last took {} us",
                document.passes, document.last_pass_us
            ),
        ),
    ];
    let forwards = forwards(document);
    let portproxy = document.forwards.as_ref().map(|rules| {
        let text = format!("{} -> {}", rules.count, rules.connect_address);
        ("portproxy", text)
    });
    let rows = rows
        .into_iter()
        .chain(portproxy)
        .chain(named("forwards", &forwards))
        .chain(document.relay.as_ref().map(|entry| ("relay", relay(entry))))
        .chain(named("counters", &counted(document)));
    for (name, value) in rows {
        let mark = if name.is_empty() { ' ' } else { ':' };
        print(&format!("{name:>9}{mark} {value}"))?;
    }
    print(&format!(
        "{:>9}: {}",
        "health",
        if document.degraded() {
            "degraded"
        } else {
            "fine"
        }
    ))?;
    for entry in &document.health {
        let subject = if entry.subject.is_empty() {
            String::new()
        } else {
            format!(" ({})", entry.subject)
        };
        print(&format!(
            "{:>11}{}: {}{subject}: {}. {}",
            "", entry.severity, entry.code, entry.detail, entry.cure
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_stand_in_columns() {
        let text = r#"{"version":1,"pid":1,"role":"active","mode":"nat","interface":null,
            "address":null,"gateway":null,"network-file":"/x","forwards":null,
            "windows-address":null,"passes":1,"last-pass-us":1,"health":[],
            "served":[
              {"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"served-by":"portproxy","state":"up"},
              {"name":"wireguard","protocol":"udp","listen-address":"127.0.0.1","listen-port":51820,"connect-port":51820,"served-by":"relay","state":"pending"},
              {"name":"web","protocol":"tcp","listen-address":"0.0.0.0","listen-port":80,"connect-port":80,"served-by":"guest","state":"up"},
              {"name":"x","protocol":"udp","listen-address":"0.0.0.0","listen-port":1,"connect-port":1,"served-by":null,"state":"down"}],
            "relay":{"place":"C:\\x","applied":true,"sessions":1}}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        assert_eq!(
            forwards(&document),
            [
                "ssh        tcp 0.0.0.0:2222 -> 22        by portproxy: up",
                "wireguard  udp 127.0.0.1:51820 -> 51820  by relay: pending",
                "web        tcp 0.0.0.0:80 -> 80          by nobody needed: up",
                "x          udp 0.0.0.0:1 -> 1            by nobody: down",
            ]
        );
        assert_eq!(
            document.relay.as_ref().map(relay).unwrap(),
            "serves, 1 UDP session; C:\\x"
        );
        assert_eq!(counted(&document), [""; 0], "nobody asked yet");
    }

    #[test]
    fn counters_stand_below_the_relay() {
        let name = "n".repeat(16);
        let text = format!(
            r#"{{"version":1,"pid":1,"role":"active","mode":"nat","interface":null,
            "address":null,"gateway":null,"network-file":"/x","forwards":null,
            "windows-address":null,"passes":1,"last-pass-us":1,"health":[],
            "relay":{{"place":"guest","applied":true,"sessions":1,"counters":{{"taken-unix-ms":{},"forwards":[
              {{"name":"{name}","protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,
                "active":1,"opened":2,"failed":3,"refused":4,"bytes-in":1048575,"bytes-out":1048575}}]}}}}}}"#,
            u64::MAX
        );
        let document: Document = serde_json::from_str(&text).unwrap();
        let rows = named("counters", &counted(&document));
        let head = format!(
            "{:16}  ACTIVE  OPENED  FAILED  REFUSED        IN       OUT",
            "NAME"
        );
        let figures = format!("{name}       1       2       3        4  1023 KiB  1023 KiB");
        assert!(MARGIN + head.len() <= WIDTH);
        assert_eq!(
            rows,
            [("counters", "of now".to_owned()), ("", head), ("", figures)]
        );
    }
}
