use std::net::Ipv4Addr;

use super::*;
use crate::os::IPV6_INFO;

/// A batch of datagrams with those senders and lengths.
fn batch(datagrams: &[(u16, usize)]) -> Batch {
    let mut batch = Batch::default();
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let received = datagrams.iter().map(|&(from, length)| Datagram {
        from: address(from),
        to: None,
        length,
    });
    batch.received.extend(received);
    batch
}

#[test]
fn datagrams_to_two_addresses_are_two_groups() {
    let mut batch = batch(&[(1, 10), (1, 10), (1, 10)]);
    let mut control = Ancillary::new();
    control.push(IPV6_INFO, &[&[1; 16], &[0; 4]]);
    batch.received[2].to = control.came_to();
    let groups: Vec<_> = batch
        .groups()
        .map(|group| (group.count, group.to))
        .collect();
    assert_eq!(groups, [(2, None), (1, control.came_to())]);
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
