//! The PROXY protocol: what the service gets before the client's data.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;

use wslmesh_relay::protocol::{Protocol, ProxyProtocol};

use crate::harness::{DEADLINE, Relay, connect, guest};

/// The service gets the header of section 2.2 of the specification, then the client's data;
/// a change counts for connections that come later.
#[test]
fn the_guest_learns_the_clients_address() {
    let mut relay = Relay::start();
    let (sender, received) = channel();
    let service = guest(move |mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        sender.send(bytes).unwrap();
    });
    let at = relay.forward(Protocol::Tcp, service);
    let say = || {
        let mut stream = connect(at);
        stream.write_all(b"hello").unwrap();
        let from = stream.local_addr().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        (stream, from)
    };
    let (_open, _) = say();
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), b"hello");
    for forward in &mut relay.wanted.forwards {
        forward.proxy_protocol = Some(ProxyProtocol::V2);
    }
    relay.apply();
    let (_open, from) = say();
    let [ports, to] = [from.port(), at.port()].map(u16::to_be_bytes);
    let expected = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[127, 0, 0, 1, 127, 0, 0, 1],
        &ports,
        &to,
        b"hello",
    ];
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), expected.concat());
    // What the client sent, and nothing else, is counted.
    relay.wait_for_counters(at, |c| (c.bytes_in, c.opened, c.failed) == (10, 2, 0));
}
