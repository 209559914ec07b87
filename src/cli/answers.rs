//! Whether a service answers behind each forward.

use std::{io, path::Path};

use crate::{
    model::{Listening, Protocol, Socket},
    observe::sockets,
    report::Document,
};

/// Fills in for each forward whether a socket listens on its connect-port; not where
/// the kernel has no table.
pub(super) fn add_answers(document: &mut Document) {
    let Some(address) = document.address else {
        return;
    };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let served = document.served.iter_mut();
        let mut served = served
            .filter(|entry| entry.listen.protocol == protocol)
            .peekable();
        // The tables of a busy machine are long.
        if served.peek().is_none() {
            continue;
        }
        let Ok(sockets): io::Result<Vec<Socket>> = sockets(Path::new("/"), protocol) else {
            continue;
        };
        for entry in served {
            let port = entry.connect_port.get();
            let found = Listening::at(&sockets, address, protocol, port);
            entry.answers = Some(found == Listening::Yes);
            entry.unanswered = why_not(found, port);
        }
    }
}

fn why_not(found: Listening, port: u16) -> Option<String> {
    match found {
        Listening::Yes => None,
        Listening::Elsewhere(address) => Some(format!("{port} is open on {address} only")),
        Listening::No => Some(format!("no service listens on {port}")),
    }
}

#[cfg(test)]
mod tests;
