use std::net::UdpSocket;

use proptest::prelude::*;

use super::*;
use crate::batch::Batch;
use crate::os::report_destinations;

fn own(address: &str, interface: u32) -> OwnAddress {
    OwnAddress {
        address: address.parse().unwrap(),
        interface,
    }
}

/// What a datagram has that came to this address by that interface.
fn received(address: Ipv6Addr, interface: u32) -> Ancillary {
    let mut control = Ancillary::new();
    control.push(
        IPV6_INFO,
        &[&address.octets(), &u32::to_ne_bytes(interface)],
    );
    control
}

#[test]
fn an_address_is_received_as_it_is_sent_from() {
    let table = [
        ("2001:db8::1", own("2001:db8::1", 0)),
        ("fd00::1", own("fd00::1", 0)),
        ("::1", own("::1", 0)),
        // Alone it says nothing.
        ("fe80::1", own("fe80::1", 7)),
        // On a socket that takes both families.
        ("::ffff:192.0.2.1", own("192.0.2.1", 0)),
    ];
    for (at, expected) in table {
        let control = received(at.parse().unwrap(), 7);
        assert_eq!(control.came_to(), Some(expected), "{at}");
        let mut sent = Ancillary::new();
        sent.send_from(expected);
        assert_eq!(sent.came_to(), Some(expected), "{at}");
    }
    assert_eq!(Ancillary::new().came_to(), None);
}

#[test]
fn the_address_is_found_among_others() {
    let mut control = Ancillary::new();
    control.push((1000, 1), &[&[9; 3]]);
    control.send_from(own("192.0.2.1", 0));
    assert_eq!(control.came_to(), Some(own("192.0.2.1", 0)));
    // With the length of segments it fits.
    let mut control = Ancillary::new();
    control.send_from(own("fe80::1", 2));
    control.push((1000, 1), &[&[9; 2]]);
    assert!(control.bytes().len() <= ROOM);
    assert_eq!(control.messages().count(), 2);
}

#[tokio::test]
async fn a_socket_says_which_address_was_asked() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    report_destinations(&socket).unwrap();
    let mut batch = Batch::default();
    for data in ["one", "another"] {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(data.as_bytes(), at).unwrap();
        let from = client.local_addr().unwrap();
        while batch.groups().next().is_none_or(|group| group.from != from) {
            socket.readable().await.unwrap();
            batch.receive(&socket).unwrap();
        }
        let found = batch.groups().next().map(|group| (group.bytes, group.to));
        assert_eq!(found, Some((data.len(), Some(own("127.0.0.1", 0)))));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes: [u8; ROOM], length in 0..=ROOM + 8, first in 0..=ROOM) {
        let mut control = Ancillary { bytes, length };
        let _ = control.came_to();
        // With a length that leads further.
        control.bytes[..ALIGN].copy_from_slice(&first.to_ne_bytes());
        prop_assert!(control.messages().count() <= ROOM);
    }
}
