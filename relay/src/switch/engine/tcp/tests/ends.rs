//! How connections end, and how long silent ones stay.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn guest_may_close_its_side_first() {
    let mut peer = Peer::new();
    peer.send(ACK | FIN, b"bye");
    assert_eq!(peer.only().ack, peer.next);
    assert!(peer.socket.borrow().finished && !peer.socket.borrow().aborted);
    // The server goes on.
    peer.serve(&pattern(100_000));
    assert_eq!(peer.drain(), pattern(100_000));
    assert_eq!(peer.active(), 1);
    peer.socket.borrow_mut().ended = true;
    peer.serve(b"end");
    let got = peer.only();
    assert!(got.has(FIN) && got.data == b"end", "{got:?}");
    peer.ack = peer.ack.wrapping_add(4);
    peer.send(ACK, &[]);
    assert_eq!((peer.active(), peer.got().len()), (0, 0));
    assert!(peer.socket.borrow().closed && !peer.socket.borrow().aborted);
    assert_eq!(peer.driver.engine.deadline(), None);
}

#[test]
fn server_may_close_its_side_first() {
    let mut peer = Peer::new();
    peer.socket.borrow_mut().ended = true;
    peer.serve(b"hello");
    let got = peer.only();
    assert!(got.has(FIN) && got.data == b"hello", "{got:?}");
    peer.ack = peer.ack.wrapping_add(6);
    peer.send(ACK, &[]);
    assert_eq!(peer.active(), 1);
    peer.send(ACK, &pattern(3000));
    peer.send(ACK, b"more");
    peer.got();
    assert!(!peer.socket.borrow().finished);
    let fin = (peer.next, peer.ack);
    peer.send(ACK | FIN, &[]);
    assert!(peer.socket.borrow().finished && peer.socket.borrow().closed);
    assert_eq!(peer.written().len(), 3004);
    assert_eq!(peer.only().ack, peer.next);
    // The ACK was lost: the FIN is acknowledged again, and all else is reset.
    peer.send_with(fin, ACK | FIN, &[], &[]);
    let got = peer.only();
    assert_eq!(
        (got.flags, got.sequence, got.ack),
        (ACK, peer.ack, peer.next)
    );
    peer.send(ACK, b"x");
    assert_eq!(peer.only().flags, RST);
}

#[test]
fn fin_is_sent_again() {
    let mut peer = Peer::new();
    peer.socket.borrow_mut().ended = true;
    peer.wake();
    assert!(peer.only().has(FIN));
    peer.pass(SECOND / 3);
    let got = peer.only();
    assert!(got.has(FIN) && got.sequence == peer.ack, "{got:?}");
}

#[test]
fn unsent_data_arrives_before_the_end() {
    // Both close with data that the other has not taken yet.
    let mut peer = Peer::new();
    peer.socket.borrow_mut().room = 10;
    peer.send(ACK | FIN, &pattern(30_000));
    assert!(!peer.socket.borrow().finished);
    peer.window = 10;
    peer.send(ACK, &[]);
    peer.got();
    peer.socket.borrow_mut().ended = true;
    peer.serve(&pattern(90_000));
    assert!(peer.got().iter().all(|one| !one.has(FIN)));
    peer.socket.borrow_mut().room = usize::MAX;
    peer.window = 65_535;
    peer.wake();
    assert_eq!(peer.written(), pattern(30_000));
    assert!(peer.socket.borrow().finished);
    peer.ack = peer.ack.wrapping_add(1280);
    peer.send(ACK, &[]);
    assert_eq!(peer.drain(), pattern(90_000)[1280..]);
    assert_eq!(peer.active(), 0);
    assert!(!peer.socket.borrow().aborted);
}

#[test]
fn resets_are_passed_on() {
    // The guest's.
    let mut peer = Peer::new();
    peer.send(RST, &[]);
    assert!(peer.socket.borrow().aborted && peer.socket.borrow().closed);
    assert_eq!((peer.active(), peer.got().len()), (0, 0));
    // The server's: what it sent before arrives.
    let mut peer = Peer::new();
    peer.socket.borrow_mut().input.extend(b"last words");
    peer.socket.borrow_mut().failure = Some(ErrorKind::ConnectionReset);
    peer.wake();
    let got = peer.got();
    assert_eq!(got[0].data, b"last words");
    assert_eq!((got[1].flags, got[1].ack), (RST | ACK, peer.next));
    assert_eq!(got[1].sequence, peer.ack.wrapping_add(10));
    assert_eq!(peer.active(), 0);
    // Found by a write.
    let mut peer = Peer::new();
    peer.socket.borrow_mut().failure = Some(ErrorKind::BrokenPipe);
    peer.send(ACK, b"x");
    assert!(peer.only().has(RST));
    assert_eq!(peer.active(), 0);
    // While the server is being connected.
    let mut peer = Peer::begin(GUEST, SERVER, OPTIONS);
    peer.send(RST | ACK, &[]);
    assert_eq!((peer.active(), peer.got().len()), (0, 0));
    assert!(peer.socket.borrow().closed);
}

#[test]
fn failures_to_connect_reach_the_guest() {
    let v6: SocketAddr = "[2001:db8::9]:80".parse().unwrap();
    for (guest, server) in [(GUEST, SERVER), (GUEST_V6, v6)] {
        let mut peer = Peer::begin(guest, server, OPTIONS);
        peer.socket.borrow_mut().connected = Some(Err(ErrorKind::ConnectionRefused));
        peer.wake();
        let got = peer.only();
        assert_eq!((got.flags, got.ack), (RST | ACK, peer.next));
        assert_eq!((peer.active(), peer.driver.counters().tcp_failed), (0, 1));
        for (error, v4, v6) in [
            (ErrorKind::HostUnreachable, 1, 3),
            (ErrorKind::NetworkUnreachable, 0, 0),
        ] {
            let mut peer = Peer::begin(guest, server, OPTIONS);
            peer.socket.borrow_mut().connected = Some(Err(error));
            peer.wake();
            let all = peer.driver.take();
            let packet = Packet::parse(&all[0]).unwrap();
            let code = if guest.is_ipv4() { [3, v4] } else { [1, v6] };
            assert_eq!((all.len(), &packet.payload[..2]), (1, &code[..]));
            assert!(packet.payload.len() > 8 + 20, "it quotes the SYN");
            assert_eq!(peer.active(), 0);
        }
        // The guest finds out by itself.
        let mut peer = Peer::begin(guest, server, OPTIONS);
        peer.socket.borrow_mut().connected = Some(Err(ErrorKind::TimedOut));
        peer.wake();
        assert_eq!((peer.active(), peer.got().len()), (0, 0));
    }
    // A server that never answers.
    let mut peer = Peer::begin(GUEST, SERVER, OPTIONS);
    peer.pass(MINUTE + SECOND);
    assert_eq!((peer.active(), peer.got().len()), (0, 0));
    assert_eq!(peer.driver.engine.deadline(), None);
}

#[test]
fn idle_connection_wakes_nothing() {
    let mut peer = Peer::new();
    peer.send(ACK, b"question");
    peer.serve(b"answer");
    peer.drain();
    // Its buffers go, then nothing is due for half an hour.
    peer.pass(2 * SECOND);
    assert_eq!(peer.driver.engine.tcp.bytes(), 0);
    assert!(peer.idle() > 29 * MINUTE, "{:?}", peer.idle());
    // Then a guest that lives is asked once, and answers.
    let start = peer.driver.now;
    let (mut wakes, mut probes) = (0, 0);
    while peer.driver.now < start + 600 * MINUTE {
        let idle = peer.idle();
        peer.pass(idle);
        wakes += 1;
        for probe in peer.got() {
            assert_eq!(probe.sequence, peer.ack.wrapping_sub(1));
            assert_eq!((probe.flags, probe.data.len()), (ACK, 0));
            probes += 1;
            peer.send(ACK, &[]);
        }
    }
    assert_eq!(probes, 20);
    assert!(wakes < 45, "{wakes} in 10 hours");
}

#[test]
fn silent_guest_ends() {
    let mut peer = Peer::new();
    peer.pass(29 * MINUTE);
    assert_eq!(peer.got(), []);
    peer.pass(6 * MINUTE);
    let got = peer.got();
    assert_eq!((peer.active(), got.len()), (0, 5), "{got:?}");
    assert!(got[4].has(RST) && peer.socket.borrow().aborted);
    // One that has closed its side is asked sooner: its kernel may have forgotten it.
    let mut peer = Peer::new();
    peer.send(ACK | FIN, &[]);
    peer.got();
    peer.pass(5 * MINUTE);
    assert_eq!((peer.active(), peer.got().len()), (0, 5));
    // It has: its answer to the question ends it.
    let mut peer = Peer::new();
    peer.send(ACK | FIN, &[]);
    peer.pass(2 * MINUTE);
    let probe = peer.got().pop().unwrap();
    assert_eq!((peer.active(), probe.ack), (1, peer.next));
    peer.send(RST, &[]);
    assert_eq!(peer.active(), 0);
    assert!(peer.socket.borrow().aborted);
}

#[test]
fn questions_of_the_guest_are_answered() {
    let mut peer = Peer::new();
    // A keep-alive of Linux has the number before and no data, others' one old byte.
    for data in [&[][..], b"x"] {
        let sequence = peer.next.wrapping_sub(1);
        peer.send_with((sequence, peer.ack), ACK, &[], data);
        let got = peer.only();
        assert_eq!(
            (got.flags, got.ack, got.sequence),
            (ACK, peer.next, peer.ack)
        );
    }
    assert_eq!(peer.written(), b"");
}
