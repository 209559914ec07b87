use std::net::SocketAddrV6;

use proptest::prelude::*;
use serde_json::{from_str, json, to_string, to_value};

use super::*;

fn port() -> impl Strategy<Value = NonZeroU16> {
    (1..=u16::MAX).prop_map(|port| NonZeroU16::new(port).unwrap())
}

fn listen() -> impl Strategy<Value = Listen> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    (protocol, any::<IpAddr>(), port()).prop_map(|(protocol, listen_address, listen_port)| Listen {
        protocol,
        listen_address,
        listen_port,
    })
}

fn session() -> impl Strategy<Value = Session> {
    let client = (any::<IpAddr>(), any::<u16>());
    (listen(), client, port()).prop_map(|(listen, (address, of), port)| Session {
        listen_address: listen.listen_address,
        listen_port: listen.listen_port,
        client: SocketAddr::new(address, of),
        port,
    })
}

fn command() -> impl Strategy<Value = Command> {
    let admit = prop_oneof![
        Just(Admit::Any),
        Just(Admit::Local),
        Just(Admit::Host),
        any::<IpAddr>().prop_map(Admit::Behind),
    ];
    let header = prop::option::of(Just(ProxyProtocol::V2));
    let forward = (listen(), any::<IpAddr>(), port(), admit, header);
    let forward = forward.prop_map(
        |(listen, connect_address, connect_port, admit, proxy_protocol)| Forward {
            listen,
            connect_address,
            connect_port,
            admit,
            proxy_protocol,
        },
    );
    let limits = any::<[u32; 5]>().prop_map(|n| Limits {
        udp_sessions: n[0],
        tcp_connections: n[1],
        tcp_connections_per_source: n[2],
        udp_unanswered_seconds: n[3],
        udp_idle_seconds: n[4],
    });
    let forwards = prop::collection::vec(forward, 0..4);
    let sessions = prop::collection::vec(session(), 0..4);
    let set = (any::<(u32, u64)>(), forwards, sessions, limits);
    let set = set.prop_map(
        |((version, serial), forwards, sessions, limits)| SetForwards {
            version,
            serial,
            forwards,
            sessions,
            limits,
        },
    );
    prop_oneof![
        set.prop_map(Command::SetForwards),
        Just(Command::GetCounters)
    ]
}

fn failure() -> impl Strategy<Value = Option<Failure>> {
    let kind = prop_oneof![
        Just(FailureKind::InUse),
        Just(FailureKind::Forbidden),
        Just(FailureKind::NoAddress),
        Just(FailureKind::Other),
    ];
    let failure = (kind, any::<i32>()).prop_map(|(kind, code)| Failure { kind, code });
    prop::option::of(failure)
}

fn event() -> impl Strategy<Value = Event> {
    let listener = (listen(), failure(), any::<bool>());
    let listener = listener.prop_map(|(listen, failure, ipv4_alone)| Listener {
        listen,
        failure,
        ipv4_alone,
    });
    let counters = (listen(), any::<[u64; 5]>(), any::<u32>());
    let counters = counters.prop_map(|(listen, n, active)| Counters {
        listen,
        active,
        opened: n[0],
        failed: n[1],
        refused: n[2],
        bytes_in: n[3],
        bytes_out: n[4],
    });
    let sessions = || prop::collection::vec(session(), 0..4);
    prop_oneof![
        any::<(u32, String)>().prop_map(|(version, program)| Event::Ready {
            version,
            program,
            attached: None
        }),
        (any::<u64>(), prop::collection::vec(listener, 0..4))
            .prop_map(|(serial, listeners)| Event::Applied { serial, listeners }),
        (any::<bool>(), sessions(), sessions()).prop_map(|(complete, opened, closed)| {
            Event::Sessions {
                complete,
                opened,
                closed,
            }
        }),
        (listen(), any::<(u32, u64, Option<IpAddr>)>()).prop_map(
            |(listen, (limit, count, source))| Event::Refused {
                listen,
                limit,
                source,
                count,
            }
        ),
        prop::collection::vec(counters, 0..4).prop_map(|forwards| Event::Counters { forwards }),
        any::<(u64, String)>().prop_map(|(line, reason)| Event::Invalid { line, reason }),
        Just(Event::Elevated),
    ]
}

proptest! {
    #[test]
    fn command_is_one_line_and_round_trips(command in command()) {
        let line = to_string(&command).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(from_str::<Command>(&line).unwrap(), command);
    }

    #[test]
    fn event_is_one_line_and_round_trips(event in event()) {
        let line = to_string(&event).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(from_str::<Event>(&line).unwrap(), event);
    }
}

/// A change of these needs a new [`VERSION`].
#[test]
fn wire_format_is_stable() {
    let set = json!({
        "command": "set-forwards", "version": 5, "serial": 7,
        "forwards": [{
            "protocol": "udp", "listen-address": "0.0.0.0", "listen-port": 51820,
            "connect-address": "172.20.1.5", "connect-port": 51821, "admit": "local"
        }],
        "sessions": [{
            "listen-address": "0.0.0.0", "listen-port": 51820,
            "client": "192.168.1.9:40000", "port": 50001
        }],
        "limits": {
            "udp-sessions": 1, "tcp-connections": 2, "tcp-connections-per-source": 3,
            "udp-unanswered-seconds": 4, "udp-idle-seconds": 5
        }
    });
    let command: Command = serde_json::from_value(set.clone()).unwrap();
    assert_eq!(to_value(command).unwrap(), set);
    assert_eq!(
        to_value(Command::GetCounters).unwrap(),
        json!({"command": "get-counters"})
    );

    let listen = Listen {
        protocol: Protocol::Tcp,
        listen_address: Ipv4Addr::LOCALHOST.into(),
        listen_port: NonZeroU16::new(80).unwrap(),
    };
    let failure = Some(Failure {
        kind: FailureKind::InUse,
        code: 10048,
    });
    let ipv4_alone = false;
    let listeners = vec![Listener {
        listen,
        failure,
        ipv4_alone,
    }];
    let applied = Event::Applied {
        serial: 7,
        listeners,
    };
    assert_eq!(
        to_value(applied).unwrap(),
        json!({"event": "applied", "serial": 7, "listeners": [{
            "protocol": "tcp", "listen-address": "127.0.0.1", "listen-port": 80,
            "failure": {"kind": "in-use", "code": 10048}
        }]})
    );
    assert_eq!(
        to_value(Event::Elevated).unwrap(),
        json!({"event": "elevated"})
    );
}

#[test]
fn largest_table_fits_into_a_line() {
    let longest = Ipv6Addr::from_bits(u128::MAX);
    let session = Session {
        listen_address: longest.into(),
        listen_port: NonZeroU16::MAX,
        client: SocketAddrV6::new(longest, u16::MAX, 0, u32::MAX).into(),
        port: NonZeroU16::MAX,
    };
    let event = Event::Sessions {
        complete: true,
        opened: vec![session; usize::try_from(MAX_UDP_SESSIONS).unwrap()],
        closed: Vec::new(),
    };
    let length = to_string(&event).unwrap().len();
    assert!(length < MAX_LINE, "{length}");
}

#[test]
fn overlapping_addresses_want_one_port() {
    let at = |address: &str| Listen {
        protocol: Protocol::Tcp,
        listen_address: address.parse().unwrap(),
        listen_port: NonZeroU16::new(80).unwrap(),
    };
    let table = [
        ("0.0.0.0", "127.0.0.2", true),
        ("192.168.1.5", "192.168.1.5", true),
        ("192.168.1.5", "127.0.0.1", true),
        ("192.168.1.5", "192.168.1.6", false),
        ("192.168.1.5", "127.0.0.2", false),
        ("127.0.0.1", "127.0.0.2", false),
        ("127.0.0.2", "127.0.0.3", false),
        ("::", "::", true),
        ("::", "0.0.0.0", true),
        ("::", "127.0.0.1", true),
        ("::", "192.168.1.5", true),
        ("::", "::1", true),
        ("::", "2001:db8::5", true),
        ("0.0.0.0", "::1", false),
        ("0.0.0.0", "2001:db8::5", false),
        ("127.0.0.1", "::1", false),
        ("127.0.0.1", "2001:db8::5", false),
        ("192.168.1.5", "::1", false),
        ("2001:db8::5", "2001:db8::5", true),
        ("2001:db8::5", "2001:db8::6", false),
        ("2001:db8::5", "::1", true),
        ("fe80::5", "::1", true),
    ];
    for (one, other, expected) in table {
        let (first, second) = (at(one), at(other));
        assert_eq!(first.overlaps(&second), expected, "{one} {other}");
        assert_eq!(second.overlaps(&first), expected, "{other} {one}");
    }
}
