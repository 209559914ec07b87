use std::{io, net::TcpListener};

use super::*;

#[test]
fn reason_names_the_port() {
    let loopback = Listening::Elsewhere("127.0.0.1:22".parse().unwrap());
    let table = [
        (Listening::Yes, None),
        (Listening::No, Some("no service listens on 22")),
        (loopback, Some("22 is open on 127.0.0.1 only")),
    ];
    for (found, expected) in table {
        assert_eq!(why_not(found, "22".parse().unwrap()).as_deref(), expected);
    }
}

/// A unit that systemd starts on a connection would be started by a probe.
#[test]
fn connects_to_no_service() {
    let service = TcpListener::bind("[::]:0").unwrap();
    let port = service.local_addr().unwrap().port();
    let text = format!(
        r#"{{"version":1,"pid":1,"role":"active","mode":"nat","interface":null,"address":"127.0.0.1","gateway":null,"network-file":"/x","forwards":null,
            "served":[{{"name":"a","protocol":"tcp","listen-address":"0.0.0.0","listen-port":1,"connect-port":{port},"backend":"relay","state":"up"}}],
            "windows-address":null,"passes":1,"last-pass-us":1,"health":[]}}"#
    );
    let mut document: Document = serde_json::from_str(&text).unwrap();
    add_answers(&mut document);
    let entry = document.served.first().unwrap();
    assert_eq!(
        (entry.answers, entry.unanswered.as_ref()),
        (Some(true), None)
    );
    service.set_nonblocking(true).unwrap();
    let none = service.accept().unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
}
