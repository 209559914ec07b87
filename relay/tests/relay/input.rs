//! What stands on standard input and what reads standard output may be anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Event, MAX_LINE, MAX_UDP_SESSIONS, Order, Protocol, VERSION};

use crate::harness::{DEADLINE, Relay, client, datagram, echo, guest, program, udp, within};
use crate::udp::exchange;

/// The reason why the line was refused.
fn refused(relay: &mut Relay, line: &[u8], number: u64) -> String {
    relay.raw(line);
    relay.raw(b"\n");
    match relay.event() {
        Event::Invalid { line, reason } => {
            assert_eq!(line, number);
            assert!(
                reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{reason:?}"
            );
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_order_changes_nothing() {
    let peer = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    let client = client(at);
    let port = exchange(&client, &peer);
    relay.opened();
    let line = |relay: &Relay| relay.want.serial + 1;

    let text = serde_json::to_string(&Order::Want(relay.want.clone())).unwrap();
    let no_forwards = text.replace("\"forwards\":[{", "\"forwards\":[],\"x\":[{");
    let newer = no_forwards.replace("\"version\":1", "\"version\":2");
    let same = text.replace("\"version\":1", "\"version\":2");
    let floating = text.replace("\"version\":1", "\"version\":1.5");
    let idle = text.replace("\"udp-idle-seconds\":180", "\"udp-idle-seconds\":0");
    let sessions = format!("\"udp-sessions\":{}", MAX_UDP_SESSIONS + 1);
    let many = text.replace("\"udp-sessions\":4096", &sessions);
    relay.want.forwards.push(relay.want.forwards[0]);
    let twice = serde_json::to_string(&Order::Want(relay.want.clone())).unwrap();
    relay.want.forwards.pop();
    let mut long = text.clone().into_bytes();
    long.resize(MAX_LINE + 1, b' ');
    let deep = "[".repeat(100_000);

    let first = line(&relay);
    let samples: [(&[u8], &str); 16] = [
        (b"", "not an order"),
        (b"garbage", "not an order"),
        (b"\0\0\0\0", "not an order"),
        (b"null", "not an order"),
        (b"{\"order\":\"halt\"}", "not an order"),
        (b"{\"order\":\"want\"}", "not an order"),
        (
            "{\"order\":\"\u{202e}\u{7f}\\u0007\"}".as_bytes(),
            "not an order",
        ),
        (b"{\"order\":\"report\"}\xff", "not UTF-8"),
        (&text.as_bytes()[..text.len() - 1], "not an order"),
        (no_forwards.as_bytes(), "not an order"),
        (floating.as_bytes(), "not an order"),
        (deep.as_bytes(), "not an order"),
        (newer.as_bytes(), "version 2"),
        (same.as_bytes(), "version 2"),
        (idle.as_bytes(), "udp-idle-seconds"),
        (many.as_bytes(), "udp-sessions"),
    ];
    for (number, (sample, reason)) in (first..).zip(samples) {
        let said = refused(&mut relay, sample, number);
        assert!(said.contains(reason), "{said}");
    }
    let next = first + samples.len() as u64;
    assert!(refused(&mut relay, twice.as_bytes(), next).contains("twice"));
    assert!(refused(&mut relay, &long, next + 1).contains("longer than"));
    assert_eq!(exchange(&client, &peer), port);

    // The longest line that is allowed is one, and so is one with CRLF.
    let mut longest = serde_json::to_vec(&Order::Report).unwrap();
    longest.resize(MAX_LINE - 1, b' ');
    longest.extend(b"\r\n");
    relay.raw(&longest);
    assert!(matches!(relay.event(), Event::Counters { forwards } if forwards.len() == 1));
}

#[test]
fn an_order_may_come_in_pieces() {
    let mut relay = Relay::start();
    for byte in b"{\"order\":\"report\"}" {
        relay.raw(&[*byte]);
    }
    relay.silence();
    relay.raw(b"\n{\"order\":\"report\"}\n{\"order\":");
    for _ in 0..2 {
        assert_eq!(
            relay.event(),
            Event::Counters {
                forwards: Vec::new()
            }
        );
    }
}

#[test]
fn it_ends_with_its_input_and_leaves_nothing() {
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, guest(echo));
    let peer = udp();
    let other = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    let mut stream = crate::harness::connect(at);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    exchange(&client(other), &peer);
    assert!(relay.finish().success());
    assert!(stream.read(&mut [0; 1]).map_or(true, |length| length == 0));
    // Wine says that a program has ended a moment before it closes its sockets.
    let patience = Duration::from_secs(if cfg!(windows) { 10 } else { 0 });
    let deadline = Instant::now() + patience;
    while let Err(error) = UdpSocket::bind(other) {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn half_an_order_at_the_end_is_not_followed() {
    let peer = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    let lines = relay.want.serial + 1;
    relay.want.forwards.clear();
    // Whole but for its end of line.
    relay.raw(&serde_json::to_vec(&Order::Want(relay.want.clone())).unwrap());
    client(at).send(b"x").unwrap();
    assert_eq!(datagram(&peer).0, b"x");
    assert!(relay.finish().success());
    let mut said = Vec::new();
    relay.until(|event| match event {
        Event::Invalid { line, reason } => {
            said.push((line, reason.contains("ended within")));
            Some(())
        }
        Event::Applied { .. } => panic!("{event:?}"),
        _ => None,
    });
    assert_eq!(said, [(lines, true)]);
}

/// A forward of a relay that tells nothing: where it listens, once it does.
fn served_blindly(relay: &mut Relay, peer: &UdpSocket) -> SocketAddr {
    let deadline = Instant::now() + DEADLINE;
    let there = peer.local_addr().expect("an address");
    let patience = Duration::from_millis(100);
    peer.set_read_timeout(Some(patience)).expect("a socket");
    // A port that was free a moment ago may be another program's now.
    loop {
        let at = udp().local_addr().expect("an address");
        relay.listen_blindly(at, there);
        let client = client(at);
        for _ in 0..100 {
            // Until the order is in force, nobody listens.
            client.send(b"x").ok();
            if peer.recv(&mut [0; 1]).is_ok() {
                // Others may have been under way for longer than that.
                while peer.recv(&mut [0; 1]).is_ok() {}
                peer.set_read_timeout(Some(DEADLINE)).expect("a socket");
                return at;
            }
            assert!(Instant::now() < deadline, "nobody listens");
        }
    }
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up() {
    within(2 * DEADLINE, || {
        let peer = udp();
        let (mut relay, stdout) = Relay::start_unread();
        // The pipe takes 64 KiB or less; this is far more.
        let nonsense = "{\"order\":\"nonsense that is quoted in the reason why it is refused\"}\n";
        relay.raw(nonsense.repeat(30_000).as_bytes());
        let at = served_blindly(&mut relay, &peer);
        let clients: Vec<_> = (0..50).map(|_| client(at)).collect();
        for client in &clients {
            exchange(client, &peer);
        }
        #[cfg(target_os = "linux")]
        assert!(relay.memory() < 16 << 20, "{} bytes", relay.memory());

        // Who reads at last gets the whole table.
        let mut table = None;
        relay.order(&Order::Report);
        for line in BufReader::new(stdout).lines() {
            match serde_json::from_str(&line.unwrap()).unwrap() {
                Event::Sessions {
                    complete: true,
                    opened,
                    ..
                } => table = Some(opened.len()),
                Event::Sessions {
                    complete: false,
                    opened,
                    ..
                } => {
                    table = table.map(|known| known + opened.len());
                }
                _ => {}
            }
            if table.is_some_and(|known| known >= 51) {
                break;
            }
        }
        assert_eq!(table, Some(51));
        assert!(relay.finish().success());
    });
}

#[test]
fn a_reader_that_is_gone_holds_nothing_up() {
    let peer = udp();
    let (mut relay, stdout) = Relay::start_unread();
    drop(stdout);
    served_blindly(&mut relay, &peer);
    assert!(relay.finish().success());
}

#[test]
fn the_command_line_knows_two_words() {
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).stdin(Stdio::null());
        command.stderr(Stdio::piped()).output().unwrap()
    };
    let version = run(&["--version"]);
    assert!(version.status.success());
    let text = String::from_utf8(version.stdout).unwrap();
    assert_eq!(
        text.trim_end(),
        concat!("wslmesh-relay ", env!("CARGO_PKG_VERSION"))
    );
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .starts_with("Usage: ")
    );
    for wrong in [["--verbose"].as_slice(), &["--help", "--version"], &[""]] {
        let output = run(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
    // An input that has ended already.
    let nothing = run(&[]);
    assert!(nothing.status.success());
    let ready: Event = serde_json::from_slice(&nothing.stdout).unwrap();
    assert!(matches!(
        ready,
        Event::Ready {
            version: VERSION,
            ..
        }
    ));
}
