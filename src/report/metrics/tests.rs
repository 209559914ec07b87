mod day;

use std::collections::BTreeSet;

use super::*;
use crate::{
    model::{Code, Finding},
    report::{
        ClockNumbers, DnsEntry, LinkEntry, PeerEntry, RecoveryEntry, Tracker, TunnelEntry,
        ZoneEntry,
    },
};

const NOW: u64 = 1_800_000_000;

fn peer(latest_handshake_unix: Option<u64>) -> PeerEntry {
    PeerEntry {
        public_key: "secret-looking".to_owned(),
        endpoint: None,
        keepalive: 25,
        latest_handshake_unix,
        state: match latest_handshake_unix {
            Some(at) if at == NOW - 180 => PeerState::Answers,
            Some(_) => PeerState::Stale,
            None => PeerState::Never,
        },
        received_bytes: 1,
        sent_bytes: 2,
    }
}

fn device(device: &str, peers: Vec<PeerEntry>, error: Option<&str>) -> WireguardEntry {
    WireguardEntry {
        device: device.to_owned(),
        listen_port: Some(51_820),
        peers,
        error: error.map(str::to_owned),
    }
}

/// A document in which everything has a value.
fn full() -> Document {
    let relay = RelayEntry {
        location: "guest".to_owned(),
        applied: true,
        sessions: 3,
        counters: None,
    };
    let took = Durations {
        count: 3,
        total_us: 1_500_000,
        last_us: Some(250_000),
    };
    Document {
        role: "active".to_owned(),
        mode: "nat".to_owned(),
        interface: Some("eth0".to_owned()),
        address: Some([172, 20, 1, 5].into()),
        links: vec![LinkEntry {
            name: "wg0".to_owned(),
            kind: "wireguard".to_owned(),
            mtu: 1280,
        }],
        wireguard: Some(vec![
            device(
                "wg0",
                vec![peer(Some(NOW - 180)), peer(Some(NOW - 181)), peer(None)],
                None,
            ),
            device("wg1", Vec::new(), Some("hangs")),
        ]),
        relay: Some(relay.clone()),
        loopback_relay: Some(RelayEntry {
            applied: false,
            ..relay
        }),
        tunnel: Some(TunnelEntry {
            state: "up".to_owned(),
            received_bytes: Some(5_000),
            sent_bytes: Some(700),
            starts: 2,
            ..TunnelEntry::default()
        }),
        dns: Some(DnsEntry {
            server: None,
            source: None,
            works: Some(true),
            took_us: Some(1_500),
            zones: vec![ZoneEntry {
                zone: "mesh.\"\\\ninternal".to_owned(),
                interface: "wg0".to_owned(),
                servers: Vec::new(),
                works: false,
            }],
        }),
        resumed: Some(RecoveryEntry {
            ended_unix: NOW - 60,
            sign: crate::model::ResumeSign::Clock,
            away_s: 3_600,
            duration_ms: 1_940,
            broken: Vec::new(),
            repaired: Vec::new(),
            failed: Vec::new(),
            summary: String::new(),
        }),
        health: vec![(&Finding::new(Code::ForwardTaken, "web", "taken")).into()],
        numbers: Some(Numbers {
            address_changes: 4,
            outages: took,
            passes: took,
            windows_calls: took,
            windows_calls_failed: 1,
            interop_failures: BTreeMap::from([("interop-timeout".to_owned(), 2)]),
            recoveries: took,
            recoveries_incomplete: 1,
            away_s: 3_600,
            clock_steps: 1,
            clock: Some(ClockNumbers {
                compared_unix: 1_800_000_000,
                ahead_ms: -12,
            }),
            ..Numbers::since(NOW - 600)
        }),
        ..Document::default()
    }
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
}

#[test]
fn every_metric_has_samples_with_its_labels() {
    let text = render(&full(), NOW);
    for metric in Metric::ALL {
        let (name, kind, labels, help) = metric.facts();
        let kind = format!("{kind:?}").to_lowercase();
        has(&text, &format!("# TYPE {name} {kind}"));
        has(&text, &format!("# HELP {name} {help}"));
        let of = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let samples = Vec::from_iter(text.lines().filter(of));
        assert!(!samples.is_empty(), "{name}");
        for sample in samples {
            let mut rest = sample.strip_prefix(name).unwrap();
            for (at, label) in labels.iter().enumerate() {
                let start = format!("{}{label}=\"", if at == 0 { '{' } else { ',' });
                assert!(rest.contains(&start), "{sample}: {label}");
                rest = rest.split_once(&start).unwrap().1;
            }
            assert_eq!(rest.contains('}'), !labels.is_empty(), "{sample}");
        }
    }
    let types = text.lines().filter(|line| line.starts_with("# TYPE "));
    assert_eq!(types.count(), Metric::ALL.len());
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let mut names = BTreeSet::new();
    for metric in Metric::ALL {
        let (name, kind, _, help) = metric.facts();
        assert!(name.starts_with("wslmesh_") && names.insert(name), "{name}");
        let is_counter = kind == Kind::Counter;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        assert!(help.ends_with('.') && !help.contains('\n'), "{help}");
    }
}

#[test]
fn values() {
    let text = render(&full(), NOW);
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "wslmesh_up 1",
        &format!(
            "wslmesh_info{{version=\"{version}\",mode=\"nat\",role=\"active\",interface=\"eth0\"}} 1"
        ),
        "wslmesh_collected_timestamp_seconds 1800000000",
        "wslmesh_findings{code=\"forward-taken\",severity=\"warning\"} 1",
        "wslmesh_outage_seconds_total 1.5",
        "wslmesh_last_outage_seconds 0.25",
        "wslmesh_interface_mtu_bytes{interface=\"wg0\",kind=\"wireguard\"} 1280",
        "wslmesh_wireguard_peers{device=\"wg0\",state=\"answers\"} 1",
        "wslmesh_wireguard_peers{device=\"wg0\",state=\"stale\"} 1",
        "wslmesh_wireguard_peers{device=\"wg0\",state=\"never\"} 1",
        "wslmesh_wireguard_newest_handshake_timestamp_seconds{device=\"wg0\"} 1799999820",
        "wslmesh_wireguard_oldest_handshake_timestamp_seconds{device=\"wg0\"} 1799999819",
        "wslmesh_wireguard_up{device=\"wg1\"} 0",
        "wslmesh_forwards{state=\"down\"} 0",
        "wslmesh_relay_up{relay=\"loopback\"} 0",
        "wslmesh_windows_calls_total{result=\"ok\"} 2",
        "wslmesh_interop_failures_total{code=\"interop-timeout\"} 2",
        "wslmesh_interop_failures_total{code=\"mode-unknown\"} 0",
        "wslmesh_clock_ahead_seconds -0.012",
        "wslmesh_last_recovery_seconds 1.94",
        "wslmesh_dns_zone_up{zone=\"mesh.\\\"\\\\\\ninternal\"} 0",
    ] {
        has(&text, line);
    }
    assert!(!text.contains("secret-looking") && !text.contains("wg1\",state"));
}

#[test]
fn a_thousand_findings_are_one_series() {
    let found = |number: usize| Finding::new(Code::ForwardTaken, format!("f{number:03}"), "lost");
    let mut tracker = Tracker::default();
    tracker.update((0..1_000).map(found));
    let document = Document {
        health: tracker.listed().map(Into::into).collect(),
        unlisted: tracker.unlisted(),
        ..Document::default()
    };
    let text = render(&document, NOW);
    has(
        &text,
        "wslmesh_findings{code=\"forward-taken\",severity=\"warning\"} 1000",
    );
    assert_eq!(text.matches("\nwslmesh_findings{").count(), 1);
}

#[test]
fn what_is_not_known_is_left_out() {
    let text = render(&Document::default(), NOW);
    has(&text, "wslmesh_up 1");
    for name in ["address_up", "passes", "dns", "relay", "wireguard", "clock"] {
        assert!(
            !text.contains(&format!("\nwslmesh_{name}")),
            "{name}\n{text}"
        );
    }
    assert!(!text.contains("NaN"));
    let mut unanswered = Document {
        numbers: Some(Numbers::since(NOW)),
        ..Document::default()
    };
    has(&render(&unanswered, NOW), "wslmesh_address_up 0");
    let finding = Finding::new(Code::ObserveFailed, "", "the kernel does not answer");
    unanswered.health.push((&finding).into());
    assert!(!render(&unanswered, NOW).contains("\nwslmesh_address_up"));
}
