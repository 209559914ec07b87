//! Segments that no sane guest sends.

use super::*;

fn guest(number: u16) -> SocketAddr {
    SocketAddr::new(GUEST, number)
}

fn syn(number: u16, server: SocketAddr) -> Vec<u8> {
    segment(guest(number), server, (FIRST, 0), SYN, 65_535, OPTIONS, &[])
}

#[test]
fn flood_of_syns_is_bounded_and_others_are_served() {
    let mut peer = Peer::new();
    let before = peer.driver.counters().tcp_opened;
    for number in 0..20_000 {
        if number != peer.guest.port() {
            peer.driver.feed(&[syn(number, SERVER)]);
        }
    }
    let counters = peer.driver.counters();
    assert_eq!(counters.tcp_opened - before, HALF_OPEN as u64);
    assert!(counters.tcp_refused > 19_000, "{counters:?}");
    assert_eq!(peer.got(), [], "nothing is promised");
    assert!(peer.driver.memory() < 1_000_000);
    // An open connection does not notice.
    peer.send(ACK, b"request");
    peer.serve(b"answer");
    assert_eq!(peer.written(), b"request");
    assert_eq!(peer.drain(), b"answer");
    // The flood ends by itself, also where nothing answers.
    peer.pass(61 * SECOND);
    assert_eq!(peer.active(), 1);
    peer.driver.serves();
}

#[test]
fn connections_have_a_limit() {
    let mut driver = Driver::new();
    driver.network.0.borrow_mut().echo = true;
    for number in 0..5000 {
        driver.feed(&[syn(number + 1, SERVER)]);
        let token = last(&driver).borrow().token;
        driver.ready(token);
        for body in driver.take() {
            let got = read(&body);
            let numbers = (got.ack, got.sequence.wrapping_add(1));
            driver.feed(&[segment(
                guest(number + 1),
                SERVER,
                numbers,
                ACK,
                65_535,
                &[],
                &[],
            )]);
        }
    }
    let counters = driver.counters();
    assert_eq!(counters.tcp_active as usize, CONNECTIONS);
    assert_eq!(counters.tcp_refused, 5000 - CONNECTIONS as u64);
    assert!(driver.memory() < CONNECTIONS * 16 * 1024 + 1_000_000);
    // Idle ones take no memory of buffers.
    driver.pass(2 * SECOND);
    assert_eq!(driver.engine.tcp.bytes(), 0);
}

#[test]
fn without_sockets_the_guest_is_refused() {
    let mut driver = Driver::new();
    driver.network.0.borrow_mut().exhausted = true;
    driver.feed(&[syn(5, SERVER)]);
    let got = read(&driver.take().remove(0));
    assert_eq!((got.flags, got.ack), (RST | ACK, FIRST.wrapping_add(1)));
    driver.network.0.borrow_mut().exhausted = false;
    driver.serves();
}

#[test]
fn land_and_strange_destinations_open_nothing() {
    let mut driver = Driver::new();
    let zero = SocketAddr::new(SERVER.ip(), 0);
    let gateway = SocketAddr::new(link::GATEWAY_V4.into(), 80);
    // To itself, the gateway, port 0: refused or unreachable.
    for (server, answered) in [(guest(7), true), (gateway, true), (zero, true)] {
        driver.feed(&[syn(7, server)]);
        assert_eq!(driver.take().len(), usize::from(answered), "{server}");
    }
    // Nowhere: not answered.
    for to in ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"] {
        driver.feed(&[syn(7, SocketAddr::new(to.parse().unwrap(), 80))]);
        assert_eq!(driver.take().len(), 0, "{to}");
    }
    // From addresses of others.
    for from in [link::GATEWAY_V4, link::HOST_V4, [203, 0, 113, 9].into()] {
        let from = SocketAddr::new(from.into(), 80);
        driver.feed(&[segment(from, SERVER, (FIRST, 0), SYN, 1, OPTIONS, &[])]);
        assert_eq!(driver.take().len(), 0, "{from}");
    }
    assert_eq!(driver.network.0.borrow().tcp.len(), 0);
    assert_eq!(driver.counters().tcp_active, 0);
}

#[test]
fn forged_segments_change_nothing() {
    let mut peer = Peer::new();
    let (next, ack) = (peer.next, peer.ack);
    // In the window, but not next: RFC 5961 wants a proof. Beyond it: nothing.
    for (sequence, answered) in [
        (next.wrapping_add(500), true),
        (next.wrapping_add(1 << 30), false),
    ] {
        peer.send_with((sequence, ack), RST, &[], &[]);
        assert_eq!(peer.got().len(), usize::from(answered));
    }
    for (sequence, ack, flags, data) in [
        // A SYN, data far beyond the window, without an ACK, of an ACK long ago.
        (next, ack, SYN, &[][..]),
        (next, ack, SYN | ACK, &[]),
        (next.wrapping_add(1 << 30), ack, ACK, b"x"),
        (next, ack, 0, b"x"),
        (next, ack, FIN, b"x"),
        (next, ack.wrapping_sub(1 << 31), ACK, b"x"),
        (next, ack.wrapping_add(1), ACK, b"x"),
    ] {
        peer.send_with((sequence, ack), flags, &[], data);
        assert!(peer.got().iter().all(|one| one.flags == ACK), "{flags}");
        assert_eq!(
            (peer.active(), peer.written().len()),
            (1, 0),
            "{flags} {data:?}"
        );
    }
    // Their answers have a limit.
    for _ in 0..10_000 {
        peer.send_with((next, ack), SYN, &[], &[]);
    }
    assert!(peer.got().len() <= 100);
    peer.send(ACK, b"real");
    assert_eq!(peer.written(), b"real");
    assert!(!peer.socket.borrow().aborted);
}

#[test]
fn truncated_and_damaged_segments_are_counted() {
    let mut peer = Peer::new();
    let whole = segment(
        peer.guest,
        peer.server,
        (peer.next, peer.ack),
        ACK,
        9,
        &[],
        b"data",
    );
    let start = whole.len() - 24;
    let mut damaged = Vec::new();
    // Its header ends early, or claims to be longer than it is, or shorter than a header.
    for (place, byte) in [(start + 12, 0xf0), (start + 12, 0x40), (start + 12, 0)] {
        let mut one = whole.clone();
        one[place] = byte;
        damaged.push(one);
    }
    // A checksum that the guest did not leave to us.
    let mut one = whole.clone();
    one[0] = 0;
    one[start + 16] ^= 0x55;
    damaged.push(one);
    for length in [10, 11, 29, 30, 31, 49] {
        damaged.push(whole[..length].to_vec());
    }
    let count = damaged.len() as u64;
    for one in damaged {
        peer.driver.feed(&[one]);
    }
    peer.driver.turns();
    assert_eq!(peer.driver.counters().invalid, count);
    assert_eq!((peer.written().len(), peer.got().len()), (0, 0));
    peer.driver.feed(&[whole]);
    assert_eq!(peer.written(), b"data");
}

#[test]
fn unknown_segments_are_reset() {
    let mut driver = Driver::new();
    for (flags, expected) in [
        (ACK, Some((RST, 77, 0))),
        (ACK | FIN, Some((RST, 77, 0))),
        (SYN | ACK, Some((RST, 77, 0))),
        (0, Some((RST | ACK, 0, FIRST.wrapping_add(1)))),
        (RST, None),
        (RST | ACK, None),
    ] {
        driver.feed(&[segment(guest(9), SERVER, (FIRST, 77), flags, 1, &[], b"x")]);
        let got = driver.take().first().map(|body| read(body));
        assert_eq!(got.map(|one| (one.flags, one.sequence, one.ack)), expected);
    }
}

#[test]
fn same_port_may_try_again_while_the_server_is_silent() {
    let mut peer = Peer::begin(GUEST, SERVER, OPTIONS);
    // The same SYN, then that of another try.
    peer.driver.feed(&[syn(40_000, SERVER)]);
    assert_eq!(peer.active(), 1);
    let other = segment(peer.guest, SERVER, (5000, 0), SYN, 65_535, &[], &[]);
    peer.driver.feed(&[other]);
    assert_eq!((peer.active(), peer.driver.counters().tcp_opened), (1, 1));
    let got = peer.accept();
    assert_eq!((got.ack, got.options.len()), (5001, 4));
}
