use proptest::prelude::*;

use super::super::ip::{Output, Packet};
use super::super::testing::{GUEST, Memory, bodies};
use super::*;
use crate::link::Counters;
use std::time::Instant;

/// A message that asks for records of a name.
fn message(name: &str, kind: u16, extended: Option<u16>) -> Vec<u8> {
    let mut bytes = vec![
        0xab,
        0xcd,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(extended.is_some()),
    ];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    if let Some(size) = extended {
        bytes.extend([0, 0, 41]);
        bytes.extend(size.to_be_bytes());
        bytes.extend([0; 6]);
    }
    bytes
}

fn query(name: &str, kind: u16, extended: Option<u16>) -> Query {
    match Query::parse(&message(name, kind, extended), true) {
        Message::Query(query) => query,
        other => panic!("{name}: {other:?}"),
    }
}

proptest! {
    #[test]
    fn any_message_is_taken(bytes in proptest::collection::vec(any::<u8>(), 0..80), valid: bool) {
        let mut bytes = bytes;
        if valid && bytes.len() > 12 {
            bytes[2..6].copy_from_slice(&[1, 0, 0, 1]);
        }
        if let Message::Query(query) = Query::parse(&bytes, true) {
            prop_assert!(query.answer(NO_ERROR, &[GUEST]).len() <= query.largest);
            query.local();
        }
    }
}

#[test]
fn queries_are_read() {
    let one = query("WWW.Example.COM.", AAAA, None);
    assert_eq!(
        (one.name.as_deref(), one.kind),
        (Some("www.example.com"), AAAA)
    );
    assert_eq!(one.largest, 512);
    for (size, largest) in [(0, 512), (800, 800), (4096, 1232)] {
        assert_eq!(query("a", A, Some(size)).largest, largest);
    }
    // No names of hosts.
    for name in ["", "a b.com", "caf\u{e9}.fr", "a\0.com"] {
        assert_eq!(query(name, A, None).name, None, "{name:?}");
    }
    let mut chaos = message("a.b", A, None);
    *chaos.last_mut().unwrap() = 3;
    let Message::Query(chaos) = Query::parse(&chaos, true) else {
        panic!()
    };
    assert_eq!(chaos.name, None);
}

#[test]
fn malformed_messages_are_refused() {
    let good = message("example.com", A, None);
    for length in 0..good.len() {
        let expected = if length < 12 {
            Message::Invalid
        } else {
            refused(FORMAT_ERROR)
        };
        assert_eq!(Query::parse(&good[..length], true), expected, "{length}");
    }
    let changed = |place: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[place] = value;
        Query::parse(&bytes, true)
    };
    assert_eq!(changed(2, 0x81), Message::Invalid);
    assert_eq!(
        changed(2, 0x21),
        Message::Refused(vec![0xab, 0xcd, 0xa1, 0x84, 0, 0, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(changed(5, 2), refused(FORMAT_ERROR));
    assert_eq!(changed(12, 0xc0), refused(FORMAT_ERROR));
    // A name of more than 255 bytes.
    let long = message(&["a"; 140].join("."), A, None);
    assert_eq!(Query::parse(&long, true), refused(FORMAT_ERROR));
}

fn refused(code: u8) -> Message {
    Message::Refused(vec![0xab, 0xcd, 0x81, 0x80 | code, 0, 0, 0, 0, 0, 0, 0, 0])
}

#[test]
fn answers_have_the_addresses_of_the_type() {
    let addresses = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|text| text.parse().unwrap());
    let asked = query("a.b", A, None);
    let answer = asked.answer(NO_ERROR, &addresses);
    let mut expected = vec![0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
    expected.extend(b"\x01a\x01b\0\0\x01\0\x01");
    for last in [1, 2] {
        expected.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 10, 0, 4, 192, 0, 2, last]);
    }
    assert_eq!(answer, expected);
    assert!(asked.is_answered_by(&answer));
    assert!(!asked.is_answered_by(&asked.message));
    assert!(!query("a.c", A, None).is_answered_by(&answer));
    let answer = query("a.b", AAAA, Some(1232)).answer(NO_SUCH_NAME, &[]);
    assert_eq!(answer[2..12], [0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert!(answer.ends_with(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]));
    // As many as fit.
    let many = vec![addresses[1]; 100];
    let answer = query("a.b", AAAA, None).answer(NO_ERROR, &many);
    assert_eq!((answer.len(), answer[7]), (497, 17));
}

#[test]
fn the_machine_and_the_gateway_have_names() {
    for domain in DOMAINS {
        let local = |name: &str, kind| query(&format!("{name}.{domain}"), kind, None).local();
        assert!(local("host", A).unwrap().ends_with(&[192, 168, 127, 254]));
        assert!(local("GATEWAY", A).unwrap().ends_with(&[192, 168, 127, 1]));
        // There is such a name, but no such address.
        for kind in [AAAA, 15] {
            let answer = local("host", kind).unwrap();
            assert_eq!(answer[3..8], [0x80, 0, 1, 0, 0]);
        }
        assert_eq!(local("other", A), None);
    }
    assert_eq!(query("host.example.com", A, None).local(), None);
}

#[test]
fn answers_find_their_way() {
    let nameserver: SocketAddr = "10.9.8.7:53".parse().unwrap();
    let (guest, config) = (
        SocketAddr::new(GUEST, 4000),
        Config {
            mtu: link::MTU,
            nameservers: vec![nameserver.ip()],
        },
    );
    assert!(is_nameserver(&config, nameserver));
    for (server, is) in [
        ("192.168.127.1:53", true),
        ("[fd77:736c:6d73::1]:53", true),
        ("10.9.8.7:54", false),
        ("10.9.8.8:53", false),
    ] {
        assert_eq!(
            is_nameserver(&config, server.parse().unwrap()),
            is,
            "{server}"
        );
    }
    let (mut network, mut out, mut counters) =
        (Memory::default(), Output::default(), Counters::default());
    let mut waiting = Waiting::default();
    let mut context = Context {
        config: &config,
        network: &mut network,
        out: &mut out,
        counters: &mut counters,
        now: Instant::now(),
    };
    let data = message("example.com", A, None);
    for _ in 0..300 {
        waiting.ask(
            &mut context,
            &Datagram {
                guest,
                server: nameserver,
                data: &data,
            },
        );
    }
    assert_eq!(context.network.0.borrow().asked.len(), WAITING);
    assert_eq!(
        (context.counters.dns_queries, context.counters.dropped),
        (300, 300 - 256)
    );
    let (number, query) = context.network.0.borrow().asked[7].clone();
    let answer = query.answer(SERVER_FAILURE, &[]);
    waiting.answered(&mut context, number, &answer);
    waiting.answered(&mut context, number, &answer); // nobody waits any more
    let local = message("host.docker.internal", A, None);
    waiting.ask(
        &mut context,
        &Datagram {
            guest,
            server: nameserver,
            data: &local,
        },
    );
    waiting.ask(
        &mut context,
        &Datagram {
            guest,
            server: nameserver,
            data: &data[..15],
        },
    );
    waiting.ask(
        &mut context,
        &Datagram {
            guest,
            server: nameserver,
            data: &data[..5],
        },
    );
    assert_eq!(context.counters.invalid, 1);
    let bodies = bodies(context.out);
    let sizes = [answer.len(), local.len() + 16, 12];
    assert_eq!(bodies.len(), 3);
    for (body, size) in bodies.iter().zip(sizes) {
        let packet = Packet::parse(body).unwrap();
        let datagram = Datagram::parse(&packet).unwrap();
        assert_eq!((datagram.guest, datagram.server), (nameserver, guest));
        assert_eq!(datagram.data.len(), size);
    }
}
