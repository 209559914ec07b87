//! Golden, damaged and random texts.

mod errors;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::host::json::line;
use crate::model::{self, DrivePath, Firewall, ForwardBackend, Listen, SyncMode, disturbs, plain};

/// Reads an answer from these bytes alone.
fn parse(stdout: &[u8]) -> Result<Answer, AnswerError> {
    Answer::parse(&crate::interop::Output {
        stdout: stdout.to_vec(),
        stderr: String::new(),
    })
}

fn golden(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/host");
    std::fs::read(format!("{folder}/{name}.json")).expect(name)
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("no port is 0 here")
}

fn forward(address: [u8; 4], listen: u16, connect: u16) -> model::Rule {
    model::Rule {
        name: "known here alone".to_owned(),
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: address.into(),
            listen_port: port(listen),
        },
        connect_port: port(connect),
        backend: ForwardBackend::Portproxy,
        firewall: Firewall::None,
    }
}

fn synced() -> Value {
    serde_json::from_slice(&golden("answer-synced")).expect("the golden answer is JSON")
}

/// The golden answer with one part replaced.
fn synced_with(pointer: &str, value: Value) -> Vec<u8> {
    let mut answer = synced();
    *answer.pointer_mut(pointer).expect(pointer) = value;
    answer.to_string().into_bytes()
}

#[test]
fn requests_are_the_golden_ones() {
    let ssh = forward([0; 4], 2222, 22);
    let local = |backend| model::Rule {
        firewall: Firewall::Local,
        backend,
        ..ssh.clone()
    };
    let mut wireguard = model::Rule {
        backend: ForwardBackend::Relay,
        firewall: Firewall::Full,
        ..forward([0; 4], 51820, 51820)
    };
    wireguard.listen.protocol = Protocol::Udp;
    let web = forward([192, 168, 50, 10], 8080, 80);
    let cases = [
        ("request-none", SyncMode::Nat, vec![]),
        ("request-one", SyncMode::Nat, vec![ssh.clone()]),
        (
            "request-three",
            SyncMode::Nat,
            vec![local(ForwardBackend::Portproxy), web, wireguard],
        ),
        (
            "request-mirrored",
            SyncMode::Mirrored,
            vec![local(ForwardBackend::Guest)],
        ),
    ];
    for (name, mode, forwards) in cases {
        let wanted = RuleSet {
            mode,
            connect_address: Ipv4Addr::new(172, 28, 16, 5),
            rules: forwards,
        };
        let text = line(&Request::Sync(&wanted)).expect(name);
        assert_eq!(text.as_bytes(), golden(name), "{name}");
        assert!(text.is_ascii(), "{name}");
        let asking = line(&Request::SyncAndPorts(&wanted)).expect(name);
        let expected = text.replace("\"sync\"", "\"sync-and-ports\"");
        assert_eq!(asking, expected, "{name}");
    }
}

#[test]
fn every_state_has_a_golden_answer() {
    let cases = [
        ("answer-synced", State::Synced, None),
        (
            "answer-partial",
            State::Partial,
            Some("0.0.0.0/2222 leads to"),
        ),
        (
            "answer-not-elevated",
            State::NotElevated,
            Some("rules that would have to change: 1"),
        ),
        ("answer-service-stopped", State::ServiceStopped, None),
        ("answer-elevated", State::Synced, None),
        ("answer-task-failed", State::TaskFailed, Some("disabled")),
        (
            "answer-task-timeout",
            State::TaskTimeout,
            Some("within 10 s"),
        ),
        (
            "answer-guest-address-unknown",
            State::GuestAddressUnknown,
            Some("the gateway"),
        ),
        (
            "answer-other-version",
            State::OtherVersion,
            Some("contract 3"),
        ),
        (
            "answer-invalid-request",
            State::InvalidRequest,
            Some("forwards[0].listen-port:"),
        ),
        (
            "answer-failed",
            State::Failed,
            Some("verweigert.  (L\u{e4}uft als Benutzer)"),
        ),
    ];
    for (name, state, detail) in cases {
        let answer = parse(&golden(name)).expect(name);
        assert_eq!(answer.state, state, "{name}");
        match detail {
            None => assert_eq!(answer.detail, None, "{name}"),
            Some(part) => {
                assert!(
                    answer.detail.as_deref().expect(name).contains(part),
                    "{name}: {answer:?}"
                );
            }
        }
    }
}

#[test]
fn an_answer_is_read_in_full() {
    let address = Ipv4Addr::new(172, 28, 16, 5);
    let expected = Answer {
        state: State::Synced,
        detail: None,
        elevated: false,
        rules: vec![Rule {
            listen_address: Ipv4Addr::UNSPECIFIED,
            listen_port: port(2222),
            connect_address: address,
            connect_port: port(22),
        }],
        added: 1,
        removed: 0,
        kept: 0,
        restored: vec![Listener {
            listen_address: Ipv4Addr::UNSPECIFIED,
            listen_port: port(2222),
        }],
        conflicts: vec![Conflict {
            listen_address: Ipv4Addr::UNSPECIFIED,
            listen_port: port(8080),
            connect_address: Some("10.0.0.1".into()),
            connect_port: Some(port(80)),
        }],
        taken: vec![
            Taken {
                protocol: Protocol::Tcp,
                listen_address: Ipv4Addr::UNSPECIFIED,
                listen_port: port(8443),
                kind: TakenKind::InUse,
                owner: Some("nginx (1234)".into()),
            },
            Taken {
                protocol: Protocol::Tcp,
                listen_address: Ipv4Addr::UNSPECIFIED,
                listen_port: port(50000),
                kind: TakenKind::Forbidden,
                owner: None,
            },
        ],
        refused: vec![Refused {
            protocol: Protocol::Udp,
            listen_port: port(51820),
            connect_port: port(51820),
            reason: PolicyGap::OutsidePolicy,
        }],
        narrower: vec![Ports {
            protocol: Protocol::Udp,
            listen_port: port(41820),
            connect_port: port(51820),
        }],
        silent: vec![Listen {
            protocol: Protocol::Tcp,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            listen_port: port(8022),
        }],
        firewall: Some(FirewallAnswer {
            state: FirewallState::Done,
            detail: None,
            added: 1,
            removed: 0,
            kept: 0,
            blocks: vec!["Some rule (port 2222)".into()],
            profiles: vec!["public".into()],
            covered: false,
            restored: vec!["the firewall rule for TCP port 2222".into()],
            guest: None,
        }),
        installed: Some(Installed {
            version: "0.1.0".into(),
            contract: CONTRACT,
            relay_forbidden: false,
            relay: DrivePath::new(r"C:\Program Files\wslmesh\wslmesh-relay.exe").ok(),
        }),
        local_app_data: DrivePath::new(r"C:\Users\me\AppData\Local").ok(),
        guest_address: Some(address),
        windows_address: Some(Ipv4Addr::new(192, 168, 50, 10)),
        lowest_mtu: Some(LowestMtu {
            name: "Tailscale".into(),
            mtu: 1280,
        }),
        dynamic: Some(DynamicPorts {
            tcp: "50000-65535".parse().ok(),
            udp: None,
        }),
    };
    assert_eq!(parse(&golden("answer-synced")), Ok(expected));
}

#[test]
fn unusual_answers_are_read() {
    let foreign = parse(&golden("answer-foreign-target")).expect("host name as target");
    let targets: Vec<_> = foreign
        .conflicts
        .iter()
        .map(|c| (c.connect_address.as_deref(), c.connect_port))
        .collect();
    assert_eq!(
        targets,
        [(Some("ubuntu.wsl"), Some(port(80))), (None, None)]
    );
    assert_eq!(
        (foreign.rules.len(), foreign.removed, foreign.kept),
        (2, 2, 2)
    );
    assert_eq!(
        &*foreign.lowest_mtu.expect("it has one").name,
        "vEthernet (\u{c4}u\u{df}erer Switch)"
    );
    let noisy = parse(&synced_with("/lowest-mtu/name", json!("VPN\u{1b}[2J")));
    assert_eq!(
        &*noisy
            .expect("an interface's name")
            .lowest_mtu
            .expect("it has one")
            .name,
        "VPN [2J"
    );
    let noisy = parse(&synced_with("/conflicts/0/connect-address", json!("a\nb")));
    let noisy = noisy
        .expect("a host name")
        .conflicts
        .remove(0)
        .connect_address;
    assert_eq!(noisy.as_deref(), Some("a b"));
    assert_eq!(foreign.local_app_data, None, "a share is no drive");
    for (place, of) in [
        (
            "/firewall/blocks/0",
            (|answer| answer.firewall?.blocks.pop()) as fn(Answer) -> Option<PlainText>,
        ),
        ("/taken/0/owner", |answer| {
            answer.taken.into_iter().next()?.owner
        }),
        ("/installed/version", |answer| {
            Some(answer.installed?.version)
        }),
    ] {
        let noisy = parse(&synced_with(place, json!("a\u{1b}[2Jb"))).expect(place);
        assert_eq!(of(noisy).as_deref(), Some("a [2Jb"), "{place}");
    }
    for relay in [json!(null), json!("C:\\a\\..\\b.exe"), json!("/mnt/c/x")] {
        let answer = parse(&synced_with("/installed/relay", relay)).expect("no path");
        assert_eq!(answer.installed.expect("it is installed").relay, None);
    }
    let mut earlier = synced();
    let fields = earlier.as_object_mut().expect("an object");
    assert!(fields.remove("dynamic").is_some());
    let earlier = parse(earlier.to_string().as_bytes()).expect("an earlier script");
    assert_eq!(earlier.dynamic, None);
    let newer = parse(&golden("answer-newer-fields")).expect("unknown fields");
    assert_eq!((newer.state, newer.rules.len()), (State::Synced, 0));

    let expected = parse(&golden("answer-synced")).expect("the golden answer");
    let text = String::from_utf8(golden("answer-synced")).expect("UTF-8");
    let pretty = serde_json::to_string_pretty(&synced())
        .expect("JSON")
        .replace('\n', "\r\n");
    for around in [
        format!("\u{feff}{text}"),
        format!("\r\n\r\n  {text}\r\n\r\n"),
        format!("\u{feff}\r\n{pretty}\r\n"),
        // As a script prints that was called by the command.
        format!("\r\n\u{feff}{text}"),
    ] {
        assert_eq!(
            parse(around.as_bytes()).as_ref(),
            Ok(&expected),
            "{around:?}"
        );
    }
}

#[test]
fn what_kept_the_script_from_running_is_told() {
    let stderr = "The argument 'x.ps1' to the -File parameter does not exist.";
    let table: [(&[u8], &str, &str); 3] = [
        (b"", stderr, stderr),
        (b"L\x84uft nicht\r\n", "", "L\u{fffd}uft nicht"),
        (b"out", "err", "err out"),
    ];
    for (stdout, stderr, expected) in table {
        let output = crate::interop::Output {
            stdout: stdout.to_vec(),
            stderr: stderr.to_owned(),
        };
        let error = Answer::parse(&output).unwrap_err();
        assert_eq!(error, AnswerError::NotRun(expected.to_owned()));
        assert_eq!(error.code(), model::Code::InteropScript);
    }
}

#[test]
fn plain_text_fits_one_journal_line() {
    for (text, expected) in [
        ("", ""),
        ("Zugriff verweigert", "Zugriff verweigert"),
        ("  one\r\ntwo\n", "one  two"),
        ("bell\u{7}tab\tescape\u{1b}[0m", "bell tab escape [0m"),
        (
            "\u{30a2}\u{30af}\u{30bb}\u{30b9}",
            "\u{30a2}\u{30af}\u{30bb}\u{30b9}",
        ),
        (
            "turned\u{202e}around\u{2028}split\u{85}next",
            "turned around split next",
        ),
    ] {
        assert_eq!(plain(text), expected, "{text:?}");
    }
    assert_eq!(plain(&"\u{e4}".repeat(300)), "\u{e4}".repeat(300));
    assert_eq!(
        plain(&"\u{e4}".repeat(301)),
        format!("{}\u{2026}", "\u{e4}".repeat(299))
    );
}

proptest! {
    #[test]
    fn parse_never_panics(output in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(error) = parse(&output) {
            prop_assert!(!error.to_string().chars().any(disturbs));
        }
    }

    #[test]
    fn parse_of_a_damaged_answer_never_panics(
        cut in 0_usize..400, place in 0_usize..400, byte in any::<u8>(),
    ) {
        let mut output = golden("answer-foreign-target");
        let last = output.len() - 1;
        output[place.min(last)] = byte;
        output.truncate(output.len() - cut.min(last));
        if let Err(error) = parse(&output) {
            prop_assert!(!error.to_string().chars().any(disturbs));
        }
    }

    #[test]
    fn plain_text_is_short_and_printable(text in any::<String>()) {
        let line = plain(&text);
        prop_assert!(line.chars().count() <= 300 && !line.chars().any(disturbs));
    }
}
