//! Whether a service answers behind each forward.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use crate::{
    model::{ForwardStatus, Listening, PortRange},
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
    // The agent's sandbox hides the programs of others from it.
    let is_nameless = |entry: &&ForwardStatus| entry.discovered.as_deref() == Some("");
    let nameless = document.served.iter().filter(is_nameless);
    let at = |entry: &ForwardStatus| (entry.listen.protocol, entry.connect_port);
    let nameless = Vec::from_iter(nameless.map(at));
    let owners = match nameless.is_empty() {
        true => BTreeMap::new(),
        false => owners_at(&nameless),
    };
    for entry in &mut document.served {
        let names = owners.get(&at(entry));
        if let Some(by) = entry.discovered.as_mut().filter(|by| by.is_empty()) {
            *by = names.map_or_else(String::new, |names| names.join(", "));
        }
        let protocol = entry.listen.protocol;
        let read = || sockets(Path::new("/"), protocol).ok();
        if let Some(sockets) = tables.entry(protocol).or_insert_with(read) {
            let ports = entry.connects();
            let address = entry.connect_address.map_or(address, IpAddr::from);
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
