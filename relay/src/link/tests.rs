use proptest::prelude::*;
use serde_json::{json, to_value};

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Packet(Vec<u8>),
    Control(Vec<u8>),
}

fn owned(frame: Frame<'_>) -> Owned {
    match frame {
        Frame::Packet(body) => Owned::Packet(body.to_vec()),
        Frame::Control(body) => Owned::Control(body.to_vec()),
    }
}

fn frame(frame: &Owned) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        Owned::Packet(body) => put_packet(&mut out, body),
        Owned::Control(body) => {
            out.extend_from_slice(&(u32::try_from(body.len()).unwrap() | CONTROL).to_be_bytes());
            out.extend_from_slice(body);
        }
    }
    out
}

fn some_frame() -> impl Strategy<Value = Owned> {
    let bytes = |range| prop::collection::vec(any::<u8>(), range);
    prop_oneof![
        8 => bytes(HEADER..200).prop_map(Owned::Packet),
        1 => (60_000..=HEADER + MAX_PACKET).prop_map(|size| Owned::Packet(vec![7; size])),
        4 => bytes(0..200).prop_map(Owned::Control),
        1 => (400_000..=MAX_LINE).prop_map(|size| Owned::Control(vec![b'x'; size])),
    ]
}

/// How bytes are taken out.
#[derive(Debug, Clone, Copy)]
enum Way {
    Single,
    Whole,
    Take,
}

/// Feeds the bytes in pieces of these sizes, over and over.
fn feed(bytes: &[u8], pieces: &[usize], way: Way) -> (Vec<Owned>, Option<LinkError>) {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    let mut spare = vec![9; 100];
    let mut sizes = pieces.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = frames.space();
        assert!(!space.is_empty());
        let count = space.len().min(rest.len()).min(*sizes.next().unwrap());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        frames.filled(count);
        loop {
            match way {
                Way::Single => match frames.next_frame() {
                    Ok(Some(frame)) => found.push(owned(frame)),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                },
                Way::Whole => match frames.whole() {
                    Ok([]) => break,
                    Ok(some) => {
                        found.extend(split(some).map(owned));
                        let size = some.len();
                        frames.consume(size);
                    }
                    Err(error) => return (found, Some(error)),
                },
                Way::Take => match frames.take(mem::take(&mut spare)) {
                    Ok(None) => break,
                    Ok(Some(some)) => {
                        found.extend(split(&some).map(owned));
                        spare = some;
                    }
                    Err(error) => return (found, Some(error)),
                },
            }
        }
    }
    (found, None)
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Single), Just(Way::Whole), Just(Way::Take)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_frames(
        wanted in prop::collection::vec(some_frame(), 0..12),
        pieces in prop::collection::vec(1..200_000_usize, 1..5),
        way in way(),
    ) {
        let bytes: Vec<u8> = wanted.iter().flat_map(frame).collect();
        prop_assert_eq!(feed(&bytes, &pieces, way), (wanted, None));
    }

    #[test]
    fn garbage_is_frames_and_then_an_error(
        wanted in prop::collection::vec(some_frame(), 0..3),
        garbage in prop::collection::vec(any::<u8>(), 0..2000),
        pieces in prop::collection::vec(1..5000_usize, 1..5),
        way in way(),
    ) {
        let mut bytes: Vec<u8> = wanted.iter().flat_map(frame).collect();
        bytes.extend(garbage);
        let (found, error) = feed(&bytes, &pieces, way);
        prop_assert_eq!(&found[..wanted.len()], &wanted[..]);
        // However it is split.
        prop_assert_eq!((found, error), feed(&bytes, &[usize::MAX], Way::Single));
    }
}

#[test]
fn lengths_have_limits() {
    let result = |length: u32| feed(&length.to_be_bytes(), &[4], Way::Single).1;
    let long = u32::try_from(HEADER + MAX_PACKET).unwrap();
    assert_eq!(result(long), None);
    assert_eq!(result(long + 1), Some(LinkError::Packet(long + 1)));
    assert_eq!(result(10), None);
    assert_eq!(result(9), Some(LinkError::Packet(9)));
    assert_eq!(result(0), Some(LinkError::Packet(0)));
    let line = u32::try_from(MAX_LINE).unwrap();
    assert_eq!(result(CONTROL | line), None);
    assert_eq!(
        result(CONTROL | (line + 1)),
        Some(LinkError::Control(line + 1))
    );
    assert_eq!(
        LinkError::Control(line + 1).to_string(),
        "a control message of 1048577 bytes"
    );
}

#[test]
fn an_invalid_packet_is_not_put() {
    let mut out = vec![1, 2];
    put_packet(&mut out, &[0; 9]);
    put_packet(&mut out, &vec![0; HEADER + MAX_PACKET + 1]);
    assert_eq!(out, [1, 2]);
}

#[test]
fn a_frame_does_not_make_the_buffer_grow_for_good() {
    let bytes = vec![frame(&Owned::Packet(vec![1; 1500])); 3000].concat();
    let mut frames = Frames::default();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let space = frames.space();
        let count = space.len().min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        frames.filled(count);
        while frames.next_frame().unwrap().is_some() {}
    }
    assert_eq!(frames.buffer.len(), ROOM);
}

#[test]
fn messages_have_names() {
    let hello = ToSwitch::Hello {
        version: VERSION,
        program: "0.1.0".to_owned(),
        nameservers: vec![Ipv4Addr::new(10, 0, 0, 53).into()],
    };
    assert_eq!(
        to_value(&hello).unwrap(),
        json!({
            "message": "hello", "version": 1, "program": "0.1.0", "nameservers": ["10.0.0.53"]
        })
    );
    let mut out = Vec::new();
    put_message(&mut out, &hello);
    let Some(Frame::Control(body)) = split(&out).next() else {
        panic!("{out:?}");
    };
    assert_eq!(message::<ToSwitch>(body), Ok(hello));
    let counters = Counters {
        tcp_active: 3,
        ..Counters::default()
    };
    let counters = to_value(FromSwitch::Counters(counters)).unwrap();
    assert_eq!(counters["message"], "counters");
    assert_eq!(counters["tcp-active"], 3);
}

#[test]
fn forwards_have_names() {
    let forward = json!({
        "protocol": "tcp", "listen-address": "0.0.0.0", "listen-port": 8080, "guest-port": 80
    });
    let order = json!({"message": "set-forwards", "generation": 4, "forwards": [forward]});
    let order: ToSwitch = serde_json::from_value(order).unwrap();
    let ToSwitch::SetForwards { forwards, .. } = &order else {
        panic!("{order:?}");
    };
    assert_eq!(forwards[0].guest, None);
    assert_eq!(to_value(forwards[0]).unwrap(), forward);
    let applied = FromSwitch::Applied {
        generation: 4,
        listeners: vec![Listener {
            listen: forwards[0].listen,
            failure: None,
            ipv4_alone: false,
        }],
    };
    let value = to_value(&applied).unwrap();
    assert_eq!(value["message"], "applied");
    assert_eq!(value["listeners"][0]["listen-port"], 8080);
    let body = value.to_string();
    assert_eq!(message::<FromSwitch>(body.as_bytes()), Ok(applied));
}

#[test]
fn unknown_fields_are_accepted_and_unknown_messages_are_not() {
    let ping = br#"{"message":"ping","id":7,"later":true}"#;
    assert_eq!(message(ping), Ok(ToSwitch::Ping { id: 7 }));
    let hello = br#"{"message":"hello","version":1,"program":"0.2.0"}"#;
    let hello = message::<FromSwitch>(hello).unwrap();
    assert!(matches!(hello, FromSwitch::Hello { ipv6: false, .. }));
    let error = message::<ToSwitch>(br#"{"message":"dance"}"#).unwrap_err();
    assert!(error.to_string().contains("unknown variant"), "{error}");
    assert!(message::<ToSwitch>(b"").is_err());
}
