//! Any input on standard input, and any reader of standard output.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Command, Event, MAX_LINE, MAX_UDP_SESSIONS, Protocol, VERSION};

use crate::harness::{DEADLINE, Relay, client, datagram, echo, guest, program, udp, within};
use crate::udp::{confirm, exchange};

/// Writes a line and returns why it is invalid.
fn refused(relay: &mut Relay, line: &[u8], number: u64) -> String {
    relay.write(line);
    relay.write(b"\n");
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
fn invalid_command_changes_nothing() {
    let peer = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    let client = client(at);
    let port = confirm(&client, &peer);
    relay.opened();
    let line = |relay: &Relay| relay.wanted.serial + 1;

    let text = serde_json::to_string(&Command::SetForwards(relay.wanted.clone())).unwrap();
    let no_forwards = text.replace("\"forwards\":[{", "\"forwards\":[],\"x\":[{");
    let version = format!("\"version\":{VERSION}");
    let newer = no_forwards.replace(&version, "\"version\":9");
    let same = text.replace(&version, "\"version\":9");
    let floating = text.replace(&version, "\"version\":1.5");
    let admits = text.replace("\"forwards\":[{", "\"forwards\":[{\"admit\":\"everyone\",");
    let idle = text.replace("\"udp-idle-seconds\":180", "\"udp-idle-seconds\":0");
    let unanswered = text.replace("unanswered-seconds\":30", "unanswered-seconds\":0");
    let sessions = format!("\"udp-sessions\":{}", MAX_UDP_SESSIONS + 1);
    let many = text.replace("\"udp-sessions\":4096", &sessions);
    relay.wanted.forwards.push(relay.wanted.forwards[0]);
    let twice = serde_json::to_string(&Command::SetForwards(relay.wanted.clone())).unwrap();
    relay.wanted.forwards.pop();
    let mut long = text.clone().into_bytes();
    long.resize(MAX_LINE + 1, b' ');
    let deep = "[".repeat(100_000);

    let first = line(&relay);
    let samples: [(&[u8], &str); 18] = [
        (b"", "not a command"),
        (b"garbage", "not a command"),
        (b"\0\0\0\0", "not a command"),
        (b"null", "not a command"),
        (b"{\"command\":\"halt\"}", "not a command"),
        (b"{\"command\":\"set-forwards\"}", "not a command"),
        (
            "{\"command\":\"\u{202e}\u{7f}\\u0007\"}".as_bytes(),
            "not a command",
        ),
        (b"{\"command\":\"get-counters\"}\xff", "not UTF-8"),
        (&text.as_bytes()[..text.len() - 1], "not a command"),
        (no_forwards.as_bytes(), "not a command"),
        (floating.as_bytes(), "not a command"),
        (admits.as_bytes(), "`everyone`"),
        (deep.as_bytes(), "not a command"),
        (newer.as_bytes(), "version 9"),
        (same.as_bytes(), "version 9"),
        (idle.as_bytes(), "udp-idle-seconds"),
        (unanswered.as_bytes(), "udp-unanswered-seconds"),
        (many.as_bytes(), "udp-sessions"),
    ];
    for (number, (sample, reason)) in (first..).zip(samples) {
        let error = refused(&mut relay, sample, number);
        assert!(error.contains(reason), "{error}");
    }
    let next = first + samples.len() as u64;
    assert!(refused(&mut relay, twice.as_bytes(), next).contains("duplicate forward"));
    assert!(refused(&mut relay, &long, next + 1).contains("longer than"));
    assert_eq!(exchange(&client, &peer), port);

    // The longest line that is allowed is one, and so is one with CRLF.
    let mut longest = serde_json::to_vec(&Command::GetCounters).unwrap();
    longest.resize(MAX_LINE - 1, b' ');
    longest.extend(b"\r\n");
    relay.write(&longest);
    assert!(matches!(relay.event(), Event::Counters { forwards } if forwards.len() == 1));
}

#[test]
fn command_may_arrive_in_pieces() {
    let mut relay = Relay::start();
    for byte in b"{\"command\":\"get-counters\"}" {
        relay.write(&[*byte]);
    }
    relay.expect_no_event();
    relay.write(b"\n{\"command\":\"get-counters\"}\n{\"command\":");
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
fn exits_at_end_of_input_and_frees_its_ports() {
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
    // Wine reports the exit of a program a moment before it closes its sockets.
    let grace = Duration::from_secs(if cfg!(windows) { 10 } else { 0 });
    let deadline = Instant::now() + grace;
    while let Err(error) = UdpSocket::bind(other) {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn truncated_command_at_end_of_input_is_ignored() {
    let peer = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    let lines = relay.wanted.serial + 1;
    relay.wanted.forwards.clear();
    // Whole but for its end of line.
    relay.write(&serde_json::to_vec(&Command::SetForwards(relay.wanted.clone())).unwrap());
    client(at).send(b"x").unwrap();
    assert_eq!(datagram(&peer).0, b"x");
    assert!(relay.finish().success());
    let mut invalid = Vec::new();
    relay.until(|event| match event {
        Event::Invalid { line, reason } => {
            invalid.push((line, reason.contains("ended within")));
            Some(())
        }
        Event::Applied { .. } => panic!("{event:?}"),
        _ => None,
    });
    assert_eq!(invalid, [(lines, true)]);
}

/// Adds a forward to a relay whose events are not read, and returns where it
/// listens.
fn forward_without_events(relay: &mut Relay, peer: &UdpSocket) -> SocketAddr {
    let deadline = Instant::now() + DEADLINE;
    let there = peer.local_addr().expect("an address");
    let timeout = Duration::from_millis(100);
    peer.set_read_timeout(Some(timeout)).expect("a socket");
    // Another program may have taken the port by now.
    loop {
        let at = udp().local_addr().expect("an address");
        relay.set_udp_forward(at, there);
        let client = client(at);
        for _ in 0..100 {
            // Until the command is in force, the port is closed.
            client.send(b"x").ok();
            if peer.recv(&mut [0; 1]).is_ok() {
                // More of them may still be in flight.
                while peer.recv(&mut [0; 1]).is_ok() {}
                peer.set_read_timeout(Some(DEADLINE)).expect("a socket");
                return at;
            }
            assert!(Instant::now() < deadline, "the port stays closed");
        }
    }
}

#[test]
fn slow_reader_does_not_block_data() {
    within(2 * DEADLINE, || {
        let peer = udp();
        let (mut relay, stdout) = Relay::start_unread();
        // The pipe takes 64 KiB or less; this is far more.
        let nonsense =
            "{\"command\":\"nonsense that is quoted in the reason why it is refused\"}\n";
        relay.write(nonsense.repeat(30_000).as_bytes());
        let at = forward_without_events(&mut relay, &peer);
        let clients: Vec<_> = (0..50).map(|_| client(at)).collect();
        for client in &clients {
            confirm(client, &peer);
        }
        #[cfg(target_os = "linux")]
        assert!(relay.memory() < 16 << 20, "{} bytes", relay.memory());

        // A reader that catches up gets the whole table.
        let mut table = None;
        relay.send(&Command::GetCounters);
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
            if table.is_some_and(|known| known >= 50) {
                break;
            }
        }
        assert_eq!(table, Some(50));
        assert!(relay.finish().success());
    });
}

#[test]
fn closed_output_does_not_block_data() {
    let peer = udp();
    let (mut relay, stdout) = Relay::start_unread();
    drop(stdout);
    forward_without_events(&mut relay, &peer);
    assert!(relay.finish().success());
}

#[test]
fn command_line_options() {
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
    // With standard input at its end.
    let ended = run(&[]);
    assert!(ended.status.success());
    let ready: Event = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(matches!(
        ready,
        Event::Ready {
            version: VERSION,
            ..
        }
    ));
}
