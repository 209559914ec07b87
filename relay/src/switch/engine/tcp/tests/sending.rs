//! The server's data.

use super::*;

/// Blocks as the guest reports them.
fn sack(blocks: &[(u32, u32)]) -> Vec<u8> {
    let blocks: Vec<_> = blocks
        .iter()
        .map(|(start, end)| Span {
            start: *start,
            end: *end,
        })
        .collect();
    let mut options = Vec::new();
    sack_option(&blocks, &mut options);
    options
}

/// A peer for whom so many pieces of 1000 bytes are on their way, and where they begin.
fn flying(options: &[u8], pieces: u32) -> (Peer, impl Fn(u32) -> u32) {
    let mut peer = Peer::with(GUEST, SERVER, options);
    let base = peer.ack;
    for _ in 0..pieces {
        peer.serve(&pattern(1000));
    }
    let got = peer.got();
    assert_eq!(got.len(), pieces as usize);
    (peer, move |piece| base.wrapping_add(piece * 1000))
}

#[test]
fn only_what_the_guest_lacks_is_sent_again() {
    let (mut peer, at) = flying(OPTIONS, 10);
    // The third and the fourth were lost, and the seventh.
    let numbers = (peer.next, at(2));
    let blocks = sack(&[(at(7), at(10)), (at(4), at(6))]);
    peer.send_with(numbers, ACK, &blocks, &[]);
    let got = peer.got();
    let spans: Vec<_> = got
        .iter()
        .map(|one| (one.sequence, one.data.len()))
        .collect();
    assert_eq!(spans, [(at(2), 2000), (at(6), 1000)]);
    // Not once more for the same report.
    peer.send_with(numbers, ACK, &blocks, &[]);
    assert_eq!(peer.got(), []);
    assert_eq!(peer.driver.counters().tcp_retransmitted, 2);
    // The second of them arrives, so the first was lost again.
    peer.send_with(numbers, ACK, &sack(&[(at(6), at(10)), (at(4), at(6))]), &[]);
    let again = peer.only();
    assert_eq!((again.sequence, again.data.len()), (at(2), 2000));
    peer.send_with((peer.next, at(10)), ACK, &[], &[]);
    assert_eq!(peer.got(), []);
    peer.pass(SECOND / 2);
    assert_eq!(peer.got(), []);
    peer.pass(SECOND);
    assert!(peer.idle() > 1000 * SECOND, "{:?}", peer.idle());
}

#[test]
fn reports_that_lie_change_nothing() {
    let (mut peer, at) = flying(OPTIONS, 3);
    for blocks in [
        // Not sent yet, before the ACK, reversed, empty.
        sack(&[(at(2), at(9))]),
        sack(&[(at(0).wrapping_sub(500), at(0))]),
        sack(&[(at(2), at(1))]),
        sack(&[(at(1), at(1))]),
        vec![5, 3, 0, 0],
        vec![5, 255, 0, 0],
    ] {
        peer.send_with((peer.next, at(0)), ACK, &blocks, &[]);
        assert_eq!(peer.got(), [], "{blocks:?}");
    }
    // Neither does an ACK of what was not sent: it is answered.
    peer.send_with((peer.next, at(4)), ACK, &[], &[]);
    let got = peer.only();
    assert_eq!((got.flags, got.sequence), (ACK, at(3)));
    assert_eq!(peer.driver.counters().invalid, 1);
    peer.pass(SECOND / 2);
    assert_eq!(peer.only().data.len(), 1460, "the first is sent again");
}

#[test]
fn three_duplicates_without_sack_send_the_first_again() {
    let (mut peer, at) = flying(&[2, 4, 5, 180], 5);
    for _ in 0..2 {
        peer.send_with((peer.next, at(1)), ACK, &[], &[]);
    }
    assert_eq!(peer.got(), []);
    for expected in [0, 1] {
        peer.send_with((peer.next, at(1)), ACK, &[], &[]);
        assert_eq!(peer.got().len(), expected);
    }
}

#[test]
fn silence_is_answered_later_and_later_and_ends_it() {
    let (mut peer, at) = flying(OPTIONS, 10);
    let start = peer.driver.now;
    let mut times = Vec::new();
    while peer.active() > 0 {
        let idle = peer.idle();
        peer.pass(idle);
        let since = peer.driver.now - start;
        assert!(since < 200 * SECOND, "it never ends");
        for got in peer.got() {
            // Little at a time: the guest may be overrun.
            let sequence = if got.has(RST) { at(10) } else { at(0) };
            assert!(
                got.sequence == sequence && got.data.len() <= 1460,
                "{got:?}"
            );
            times.push((since.as_millis(), got.has(RST)));
        }
    }
    let resets: Vec<_> = times.iter().filter(|one| one.1).collect();
    assert_eq!((times.len(), resets.len()), (11, 1), "{times:?}");
    let pauses: Vec<_> = times.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert!(pauses.windows(2).all(|two| two[1] >= two[0]), "{pauses:?}");
    assert!(pauses[0] >= 400 && pauses[9] <= 16_000, "{pauses:?}");
    assert!((80_000..120_000).contains(&times[10].0), "{times:?}");
    assert!(peer.socket.borrow().aborted && peer.socket.borrow().closed);
    assert_eq!(peer.driver.engine.tcp.bytes(), 0);
}

#[test]
fn after_a_timeout_the_rest_follows_by_acks() {
    let (mut peer, at) = flying(OPTIONS, 100);
    peer.pass(SECOND / 2);
    let first = peer.only();
    assert_eq!((first.sequence, first.data.len()), (at(0), 1460));
    peer.ack = at(0).wrapping_add(1460);
    peer.send(ACK, &[]);
    let mut sent = Vec::new();
    while peer.ack != at(100) {
        let got = peer.got();
        assert!(
            !got.is_empty(),
            "it stops at {:?}",
            peer.ack.wrapping_sub(at(0))
        );
        let bytes: usize = got.iter().map(|one| one.data.len()).sum();
        sent.push(bytes);
        let end = got.iter().map(advance_by).next_back();
        peer.ack = end.unwrap();
        peer.send(ACK, &[]);
    }
    // Twice as much each round.
    assert!(sent.len() < 12 && sent[1] > sent[0], "{sent:?}");
}

fn advance_by(got: &Got) -> u32 {
    got.sequence
        .wrapping_add(u32::try_from(got.data.len()).unwrap())
}

#[test]
fn guest_that_never_acks_holds_little_and_ends() {
    let mut peer = Peer::new();
    for _ in 0..200 {
        peer.serve(&pattern(100_000));
    }
    assert!(peer.driver.memory() < 2_000_000);
    // What does not fit stays with the server.
    assert!(peer.socket.borrow().input.len() > 19_000_000);
    peer.got();
    peer.pass(120 * SECOND);
    assert_eq!(peer.active(), 0);
    assert!(peer.socket.borrow().aborted);
    // The same with a guest that does not complete the handshake.
    let mut peer = Peer::begin(GUEST, SERVER, OPTIONS);
    peer.accept();
    peer.pass(20 * SECOND);
    let got = peer.got();
    let answers = got.iter().filter(|one| one.has(SYN | ACK)).count();
    assert_eq!((answers, got.last().unwrap().flags), (5, RST | ACK));
    assert_eq!(peer.active(), 0);
}

#[test]
fn closed_window_is_probed_less_and_less_often() {
    let mut peer = Peer::new();
    peer.window = 0;
    peer.send(ACK, &[]);
    peer.serve(&pattern(5000));
    assert_eq!(peer.got(), [], "it is closed");
    let mut probes = Vec::new();
    let start = peer.driver.now;
    for _ in 0..12 {
        let idle = peer.idle();
        peer.pass(idle);
        if let [probe] = &peer.got()[..] {
            assert!(
                probe.data.is_empty() && probe.sequence == peer.ack.wrapping_sub(1),
                "{probe:?}"
            );
            probes.push((peer.driver.now - start).as_millis());
            // The guest lives, but reads nothing.
            peer.send(ACK, &[]);
        }
    }
    let pauses: Vec<_> = probes.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.windows(2).all(|two| two[1] >= two[0]), "{pauses:?}");
    assert!(pauses.last() >= Some(&10_000), "{pauses:?}");
    // Whoever answers is kept.
    for _ in 0..100 {
        let idle = peer.idle();
        peer.pass(idle);
        peer.got();
        peer.send(ACK, &[]);
    }
    assert_eq!(peer.active(), 1);
    // It opens again, unasked.
    peer.window = 65_535;
    peer.send(ACK, &[]);
    assert_eq!(peer.drain(), pattern(5000));
    // Another one does not even answer.
    let mut peer = Peer::new();
    peer.window = 0;
    peer.send(ACK, &[]);
    peer.serve(&pattern(5000));
    peer.pass(130 * SECOND);
    assert_eq!(peer.active(), 0);
}

#[test]
fn small_windows_are_filled_and_never_exceeded() {
    let mut peer = Peer::with(GUEST, SERVER, &[2, 4, 5, 180, 4, 2, 1, 1]);
    peer.window = 100;
    peer.send(ACK, &[]);
    peer.serve(&pattern(1000));
    let mut all = Vec::<u8>::new();
    while all.len() < 1000 {
        let got = peer.only();
        assert!((1..=100).contains(&got.data.len()), "{got:?}");
        all.extend(&got.data);
        peer.ack = advance_by(&got);
        peer.send(ACK, &[]);
    }
    assert_eq!(all, pattern(1000));
}

#[test]
fn too_big_makes_segments_smaller() {
    let (mut peer, at) = flying(OPTIONS, 10);
    let sent = segment(
        peer.server,
        peer.guest,
        (at(0), peer.next),
        ACK,
        1,
        &[],
        &[],
    );
    let quote = &Packet::parse(&sent).unwrap().bytes[..28];
    let mut error = vec![3, 4, 0, 0, 0, 0, 0x04, 0xb0];
    error.extend(quote);
    peer.driver.feed(&[body(GUEST, SERVER.ip(), ICMP, &error)]);
    peer.driver.turns();
    let first = peer.driver.take().remove(0);
    assert_eq!(first[4..6], 1160_u16.to_le_bytes());
    assert_eq!(read(&first).sequence, at(0));
}
