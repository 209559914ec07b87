//! The guest's data.

use super::*;

#[test]
fn acks_are_delayed_and_go_with_data() {
    let mut peer = Peer::new();
    peer.send(ACK | PSH, b"one");
    assert_eq!(peer.written(), b"one");
    assert_eq!(peer.got(), [], "it may go with an answer");
    assert!(peer.idle() <= ACK_DELAY);
    peer.pass(ACK_DELAY);
    let got = peer.only();
    assert_eq!((got.ack, got.flags), (peer.next, ACK));
    // With the answer, and not twice.
    peer.send(ACK | PSH, b"two");
    peer.serve(b"answer");
    let got = peer.only();
    assert_eq!((got.ack, &got.data[..]), (peer.next, &b"answer"[..]));
    peer.ack = peer.ack.wrapping_add(6);
    peer.send(ACK, &[]);
    peer.pass(SECOND);
    assert_eq!(peer.got(), []);
    // Two full segments are acknowledged at once.
    peer.send(ACK, &pattern(1460));
    assert_eq!(peer.got(), []);
    peer.send(ACK, &pattern(1460));
    assert_eq!(peer.only().ack, peer.next);
}

#[test]
fn what_is_out_of_order_is_kept_and_reported() {
    let mut peer = Peer::new();
    let all = pattern(5000);
    let at = |offset: u32| peer_at(FIRST, offset);
    // Each beyond the gap is acknowledged at once, the latest block first.
    for (from, to, blocks) in [
        (1000, 2000, vec![(1000, 2000)]),
        (3000, 4000, vec![(3000, 4000), (1000, 2000)]),
        (4000, 5000, vec![(3000, 5000), (1000, 2000)]),
        (1500, 2500, vec![(1000, 2500), (3000, 5000)]),
        // Again what is known.
        (1000, 2000, vec![(1000, 2500), (3000, 5000)]),
    ] {
        peer.send_at(u32::try_from(from).unwrap(), ACK, &all[from..to]);
        let got = peer.only();
        assert_eq!((got.flags, got.ack), (ACK, peer.next));
        let blocks: Vec<_> = blocks.iter().map(|one| (at(one.0), at(one.1))).collect();
        assert_eq!(got.sacked, blocks);
    }
    assert_eq!(peer.written(), b"");
    // Data takes the report along.
    peer.serve(b"data");
    let got = peer.only();
    assert_eq!((&got.data[..], got.sacked.len()), (&b"data"[..], 2));
    peer.ack = peer.ack.wrapping_add(4);
    peer.send_at(0, ACK, &all[..1200]);
    let got = peer.only();
    assert_eq!((got.ack, got.sacked.len()), (at(2500), 1));
    peer.send_at(2500, ACK, &all[2500..3500]);
    let got = peer.only();
    assert_eq!((got.ack, got.sacked.len()), (at(5000), 0));
    assert_eq!(peer.written(), all);
    // Old data is acknowledged at once, and no data of the server is needed for it.
    peer.send_at(0, ACK, &all[..100]);
    assert_eq!(peer.only().ack, at(5000));
    assert_eq!(peer.written(), all);
}

fn peer_at(first: u32, offset: u32) -> u32 {
    first.wrapping_add(1 + offset)
}

#[test]
fn without_sack_no_blocks_are_sent() {
    let mut peer = Peer::with(GUEST, SERVER, &[2, 4, 5, 180]);
    for _ in 0..3 {
        peer.send_at(100, ACK, b"later");
        let got = peer.only();
        assert_eq!((got.ack, &got.options[..]), (peer.next, &[][..]));
    }
    peer.send_at(0, ACK, &pattern(100));
    assert_eq!(peer.only().ack, peer.next.wrapping_add(105));
}

#[test]
fn fin_may_come_before_the_data() {
    let mut peer = Peer::new();
    peer.send_at(5, ACK | FIN, b"world");
    assert_eq!(peer.only().ack, peer.next);
    assert!(!peer.socket.borrow().finished);
    // Nothing is taken behind the end.
    peer.send_at(10, ACK, b"forged");
    peer.got();
    peer.send_at(0, ACK, b"hello");
    assert_eq!(peer.only().ack, peer.next.wrapping_add(11));
    assert_eq!(peer.written(), b"helloworld");
    assert!(peer.socket.borrow().finished);
}

#[test]
fn server_that_does_not_read_closes_the_window() {
    let mut peer = Peer::new();
    peer.socket.borrow_mut().room = 0;
    peer.send(ACK, b"x");
    let (mut sent, mut window) = (1, 500_000);
    let all = pattern(1024);
    while window > 0 {
        for _ in 0..(window / 1024).max(1) {
            let length = window.min(1024);
            peer.send(ACK, &all[..length]);
            sent += length;
        }
        peer.pass(ACK_DELAY);
        let got = peer.got();
        let last = got.last().expect("an ACK");
        window = last.window * 128;
        let ahead = peer.next.wrapping_sub(last.ack) as usize;
        window = window.saturating_sub(ahead);
        assert!(sent < 2_000_000, "no backpressure");
    }
    assert!(peer.driver.memory() < 3_000_000);
    // Beyond the window nothing is taken, and the guest learns how it stands.
    peer.send_at(0, ACK, &all);
    // What is less than a unit of the window is taken nevertheless.
    let rest = peer.only().ack.wrapping_sub(peer.next);
    assert!(rest < 128, "{rest}");
    peer.next = peer.next.wrapping_add(rest);
    let before = peer.driver.memory();
    for _ in 0..100 {
        peer.send_at(0, ACK, &all);
        let got = peer.only();
        assert_eq!((got.ack, got.window), (peer.next, 0));
    }
    assert_eq!(peer.driver.memory(), before);
    assert_eq!(peer.written(), b"");
    assert_eq!(peer.active(), 1);
    // It is alive as long as the guest asks.
    peer.pass(60 * SECOND);
    // The server reads: the window opens, unasked.
    peer.got();
    peer.socket.borrow_mut().room = usize::MAX;
    peer.wake();
    assert!(peer.only().window * 128 > 400_000);
    assert_eq!(peer.written().len(), sent + rest as usize);
}

#[test]
fn memory_of_all_connections_has_a_limit() {
    let mut driver = Driver::new();
    let guest = |number: u16| SocketAddr::new(GUEST, 10_000 + number);
    let mut acks = Vec::new();
    for number in 0..80 {
        driver.feed(&[segment(
            guest(number),
            SERVER,
            (FIRST, 0),
            SYN,
            65_535,
            OPTIONS,
            &[],
        )]);
        let socket = last(&driver);
        socket.borrow_mut().connected = Some(Ok(()));
        socket.borrow_mut().room = 0;
        let token = socket.borrow().token;
        driver.ready(token);
        let got = read(&driver.take().pop().unwrap());
        acks.push(got.sequence.wrapping_add(1));
        let numbers = (FIRST.wrapping_add(1), acks[usize::from(number)]);
        driver.feed(&[segment(
            guest(number),
            SERVER,
            numbers,
            ACK,
            65_535,
            &[],
            &[],
        )]);
    }
    // More than all may hold, in order and beyond gaps.
    let data = pattern(60_000);
    for round in 0..9 {
        for number in 0..80 {
            let sequence = FIRST.wrapping_add(1 + round * 60_000 + u32::from(number % 2) * 10);
            let numbers = (sequence, acks[usize::from(number)]);
            driver.feed(&[segment(
                guest(number),
                SERVER,
                numbers,
                ACK,
                65_535,
                &[],
                &data,
            )]);
        }
        driver.take();
        let bytes = driver.engine.tcp.bytes();
        assert!(bytes <= connection::MEMORY + 80 * 2 * 16 * 1024, "{bytes}");
    }
    assert!(driver.counters().dropped > 0 && driver.counters().invalid == 0);
    // Others still work.
    driver.serves();
}
