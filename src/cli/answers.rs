//! Whether somebody answers behind each forward.

use std::net::IpAddr;

use crate::{
    observe::{Listening, listening},
    report::Document,
};

/// Looks behind each forward of the document, at the port where it leads.
pub(super) async fn look(document: &mut Document) {
    let Some(address) = document.address else {
        return;
    };
    let ports = document.served.iter();
    let ports: Vec<_> = ports
        .map(|entry| (entry.protocol, entry.connect_port))
        .collect();
    let found = listening(address, &ports).await;
    for (entry, found) in document.served.iter_mut().zip(found) {
        entry.answers = found.map(|found| found == Listening::Yes);
        entry.unanswered = found.and_then(|found| why_not(found, entry.connect_port.get()));
    }
}

fn why_not(found: Listening, port: u16) -> Option<String> {
    match found {
        Listening::Yes => None,
        Listening::Elsewhere(IpAddr::V6(all)) if all.is_unspecified() => {
            Some(format!("{port} is open for IPv6 only"))
        }
        Listening::Elsewhere(address) => Some(format!("{port} is open on {address} only")),
        Listening::Nobody => Some(format!("nobody listens on {port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_a_reason() {
        let elsewhere = |text: &str| Listening::Elsewhere(text.parse().unwrap());
        let table = [
            (Listening::Yes, None),
            (Listening::Nobody, Some("nobody listens on 22")),
            (elsewhere("127.0.0.1"), Some("22 is open on 127.0.0.1 only")),
            (elsewhere("::"), Some("22 is open for IPv6 only")),
        ];
        for (found, expected) in table {
            assert_eq!(why_not(found, 22).as_deref(), expected);
        }
    }
}
