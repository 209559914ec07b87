use super::*;
use crate::link::{Frame, HEADER, ToSwitch};

fn packet(length: usize, byte: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    link::put_packet(&mut frame, &vec![byte; HEADER + length]);
    frame
}

/// The first byte of each packet, and the numbers of the messages.
fn kinds(bytes: &[u8]) -> Vec<u64> {
    let kind = |frame| match frame {
        Frame::Packet(body) => u64::from(body[0]),
        Frame::Control(body) => match link::message(body).unwrap() {
            ToSwitch::Ping { id } => id,
            other => panic!("{other:?}"),
        },
    };
    link::split(bytes).map(kind).collect()
}

#[test]
fn messages_go_before_packets_that_are_not_begun() {
    for (written, expected) in [
        (0, vec![100, 101, 1, 2]),
        (1, vec![1, 100, 101, 2]),
        (18, vec![1, 100, 101, 2]),
        // Between two frames.
        (19, vec![1, 100, 101, 2]),
        (20, vec![1, 2, 100, 101]),
    ] {
        let mut outgoing = Outgoing::default();
        let mut next = [packet(5, 1), packet(5, 2)].concat();
        outgoing.refill(&mut next);
        assert!(next.is_empty());
        let begun = outgoing.rest()[..written].to_vec();
        outgoing.advance(written);
        // Those keep their own order.
        for id in [100, 101] {
            outgoing.put_control(&ToSwitch::Ping { id });
        }
        let all = [begun, outgoing.rest().to_vec()].concat();
        assert_eq!(kinds(&all), expected, "after {written} bytes");
    }
}

#[test]
fn frames_that_wait_are_not_replaced() {
    let mut outgoing = Outgoing::default();
    outgoing.refill(&mut packet(5, 1));
    outgoing.advance(18);
    let mut next = packet(5, 2);
    outgoing.refill(&mut next);
    assert_eq!((outgoing.rest().len(), next.len()), (1, 19));
    outgoing.advance(1000);
    assert!(outgoing.rest().is_empty());
    outgoing.refill(&mut next);
    assert_eq!(kinds(outgoing.rest()), [2]);
    assert_eq!(kinds(&outgoing.take(Vec::new())), [2]);
    assert!(outgoing.rest().is_empty());
}

#[test]
fn messages_for_an_end_that_does_not_read_are_bounded() {
    let mut outgoing = Outgoing::default();
    outgoing.refill(&mut packet(5, 1));
    for id in 100..100_000 {
        outgoing.put_control(&ToSwitch::Ping { id });
    }
    assert!(outgoing.rest().len() < CONTROL + 1000);
    // Once they are written there is room again.
    outgoing.advance(usize::MAX / 2);
    outgoing.refill(&mut Vec::new());
    outgoing.put_control(&ToSwitch::Ping { id: 7 });
    assert_eq!(kinds(outgoing.rest()), [7]);
}
