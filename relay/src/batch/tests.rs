use std::net::Ipv4Addr;

use super::*;

/// A batch of datagrams with those senders and lengths.
fn batch(datagrams: &[(u16, usize)]) -> Batch {
    let mut batch = Batch::default();
    let address = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let received = datagrams
        .iter()
        .map(|&(from, length)| (address(from), length));
    batch.received.extend(received);
    batch
}

/// Sender, length of the first and number of each group.
fn groups(datagrams: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
    batch(datagrams)
        .groups()
        .map(|group| (group.from.port(), group.pieces[0].len(), group.count))
        .collect()
}

#[test]
fn groups_have_one_sender_and_one_length() {
    assert_eq!(groups(&[]), []);
    assert_eq!(groups(&[(1, 10), (1, 10), (1, 10)]), [(1, 10, 3)]);
    assert_eq!(
        groups(&[(1, 10), (2, 10), (1, 10)]),
        [(1, 10, 1), (2, 10, 1), (1, 10, 1)]
    );
    // A shorter one ends its group, a longer one starts another.
    assert_eq!(
        groups(&[(1, 10), (1, 9), (1, 9), (1, 10)]),
        [(1, 10, 2), (1, 9, 1), (1, 10, 1)]
    );
    // An empty segment would be lost.
    assert_eq!(
        groups(&[(1, 0), (1, 0), (1, 5), (1, 0)]),
        [(1, 0, 1), (1, 0, 1), (1, 5, 1), (1, 0, 1)]
    );
    // A group fits into one datagram.
    assert_eq!(groups(&[(1, 30_000); 3]), [(1, 30_000, 2), (1, 30_000, 1)]);
    assert_eq!(groups(&[(1, 65_507); 2]), [(1, 65_507, 1); 2]);
    assert_eq!(groups(&[(1, 1200); SLOTS]), [(1, 1200, SLOTS)]);
}
