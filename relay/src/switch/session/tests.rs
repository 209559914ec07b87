use super::*;
use crate::link::{GATEWAY_V4, HEADER};
use crate::switch::engine::testing::{Driver, GUEST, body, udp};

fn session() -> (Session<crate::switch::engine::testing::Memory>, Instant) {
    let driver = Driver::new();
    (Session::new(driver.engine, true), driver.now)
}

fn frames(messages: &[ToSwitch]) -> Vec<u8> {
    let mut chunk = Vec::new();
    for message in messages {
        link::put_message(&mut chunk, message);
    }
    chunk
}

fn hello(version: u32) -> ToSwitch {
    ToSwitch::Hello {
        version,
        program: "0.0.1".to_owned(),
        nameservers: vec![[10, 1, 1, 1].into()],
    }
}

/// What is written, of which packets are `None`.
fn written(
    session: &mut Session<crate::switch::engine::testing::Memory>,
) -> Vec<Option<FromSwitch>> {
    let mut all = Vec::new();
    loop {
        let outgoing = session.outgoing(Way::Standard);
        let count = outgoing.rest().len();
        if count == 0 {
            return all;
        }
        all.extend(link::split(outgoing.rest()).map(|frame| match frame {
            Frame::Packet(_) => None,
            Frame::Control(body) => Some(link::message(body).unwrap()),
        }));
        outgoing.advance(count);
    }
}

#[test]
fn first_message_is_a_hello_of_the_same_version() {
    for (chunk, end) in [
        (frames(&[ToSwitch::Ping { id: 1 }]), End::NoHello),
        (
            frames(&[ToSwitch::GetCounters, hello(VERSION)]),
            End::NoHello,
        ),
        (frames(&[hello(VERSION + 1)]), End::Version(VERSION + 1)),
        (frames(&[hello(0)]), End::Version(0)),
    ] {
        let (mut session, now) = session();
        assert_eq!(session.chunk(&chunk, Way::Standard, now), Err(end.clone()));
        let refused = matches!(
            written(&mut session)[..],
            [Some(FromSwitch::Refused { .. })]
        );
        assert_eq!(refused, matches!(end, End::Version(_)));
    }
    let (mut session, now) = session();
    for message in [
        &b"{}"[..],
        b"",
        b"[1]",
        b"{\"message\":\"fly\"}",
        &[0xff; 9],
    ] {
        let length = u32::try_from(message.len()).unwrap() | 1 << 31;
        let chunk = [&length.to_be_bytes()[..], message].concat();
        let end = session.chunk(&chunk, Way::Standard, now);
        assert!(matches!(end, Err(End::Invalid(_))), "{end:?}");
    }
}

#[test]
fn messages_are_answered_before_packets_that_wait() {
    let (mut session, now) = session();
    session
        .chunk(&frames(&[hello(VERSION)]), Way::Standard, now)
        .unwrap();
    let [Some(FromSwitch::Hello { version, ipv6, .. })] = written(&mut session)[..] else {
        panic!("no hello");
    };
    assert_eq!((version, ipv6), (VERSION, true));
    // Port 9 of the gateway is closed, which is a packet to the guest.
    let closed = udp((GUEST, 5).into(), (GATEWAY_V4, 9).into(), b"x");
    let mut chunk = Vec::new();
    link::put_packet(&mut chunk, &closed);
    chunk.extend(frames(&[ToSwitch::Ping { id: 9 }, ToSwitch::GetCounters]));
    link::put_packet(&mut chunk, &closed);
    session.chunk(&chunk, Way::Standard, now).unwrap();
    let all = written(&mut session);
    let [Some(pong), Some(FromSwitch::Counters(counters)), None, None] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(*pong, FromSwitch::Pong { id: 9 });
    // Of when it was asked.
    assert_eq!((counters.packets_in, counters.packets_out), (1, 1));
}

#[test]
fn packets_that_are_none_do_not_end_the_link() {
    let (mut session, now) = session();
    let mut chunk = Vec::new();
    for packet in [
        vec![0; HEADER],
        vec![0xff; HEADER + 40],
        body(GUEST, GATEWAY_V4.into(), 250, &[1, 2, 3]),
    ] {
        link::put_packet(&mut chunk, &packet);
    }
    session.chunk(&chunk, Way::Standard, now).unwrap();
    let counters = session.engine.counters();
    assert_eq!(
        (counters.packets_in, counters.invalid, counters.dropped),
        (3, 2, 1)
    );
}
