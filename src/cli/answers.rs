//! Whether a service answers behind each forward.

use std::{collections::BTreeMap, path::Path};

use crate::{
    model::{Listening, PortRange},
    observe::{owners_at, passes_on, sockets},
    report::Document,
};

/// Fills in for each forward whether a socket listens on its connect-port; not where
/// the kernel has no table.
pub(super) fn add_answers(document: &mut Document) {
    let Some(address) = document.address else {
        return;
    };
    // The tables of a busy machine are long: each is read once, and only if needed.
    let mut tables = BTreeMap::new();
    for entry in &mut document.served {
        // The agent's sandbox hides the programs of others from it.
        let port = entry.connect_port;
        if let Some(by) = entry.discovered.as_mut().filter(|by| by.is_empty()) {
            *by = owners_at(entry.listen.protocol, port).join(", ");
        }
        let protocol = entry.listen.protocol;
        let read = || sockets(Path::new("/"), protocol).ok();
        if let Some(sockets) = tables.entry(protocol).or_insert_with(read) {
            let ports = entry.connects();
            let found = Listening::at(sockets, address, protocol, ports);
            if found == Listening::No && passes_on(Path::new("/")) {
                // A container may answer, which no table shows.
                continue;
            }
            entry.answers = Some(found == Listening::Yes);
            entry.unanswered = why_not(found, ports);
        }
    }
}

fn why_not(found: Listening, ports: PortRange) -> Option<String> {
    match found {
        Listening::Yes => None,
        Listening::Elsewhere(at) => Some(format!("{} is open on {} only", at.port(), at.ip())),
        Listening::No => Some(format!("no service listens on {ports}")),
    }
}

#[cfg(test)]
mod tests;
