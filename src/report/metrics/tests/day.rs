//! A day of a node, minute by minute, in which the cause of each alert of docs/prometheus
//! occurs once: tests/metrics has Prometheus read it. What is expected when is in
//! tests/metrics/day.py.

use std::{
    env,
    fmt::Write,
    fs,
    net::IpAddr,
    ops::Range,
    time::{Duration, Instant},
};

use super::{device, full, peer};
use crate::{
    model::{
        Code, Finding, ForwardState, ForwardStatus, HostOutcome, RecoveryStep, RuleSet, SyncMode,
    },
    report::{ClockSample, Document, Numbers, SampleCause, render_metrics},
};

/// Minutes.
const DAY: u64 = 1_440;
const STOPPED: Range<u64> = 60..80;
const KILLED: Range<u64> = 120..140;
const NO_ADDRESS: Range<u64> = 180..195;
const FORWARD_DOWN: Range<u64> = 240..290;
const CHANGES: Range<u64> = 300..360;
const SILENT: Range<u64> = 420..450;
const UNREADABLE: Range<u64> = 480..500;
const RELAY_DOWN: Range<u64> = 540..560;
const NO_WINDOWS: Range<u64> = 600..640;
const CLOCK_WRONG: Range<u64> = 700..730;
const DNS_DOWN: Range<u64> = 760..790;
const RESUMED: u64 = 820;
const SLOW: Range<u64> = 900..960;

/// Takes what happens in a minute.
fn count(numbers: &mut Numbers, minute: u64, begin: Instant) {
    let took = match SLOW.contains(&minute) {
        true => Duration::from_millis(800),
        false => Duration::from_millis(2),
    };
    numbers.passed(
        took,
        address(minute),
        begin + Duration::from_secs(minute * 60),
    );
    let fails = NO_WINDOWS.contains(&minute);
    let is_call = match (NO_WINDOWS.start - 10..NO_WINDOWS.end).contains(&minute) {
        true => fails && minute.is_multiple_of(3),
        false => minute.is_multiple_of(20),
    };
    if is_call {
        let failure = Finding::new(Code::InteropTimeout, "", "");
        numbers.called_windows(&HostOutcome {
            wanted: RuleSet::nothing(SyncMode::Nat),
            settled: !fails,
            findings: Vec::from_iter(fails.then_some(failure)),
            facts: None,
            changed: None,
            took: Duration::from_millis(700),
            rules_remain: None,
            restored: Vec::new(),
        });
    }
    if minute == RESUMED {
        let mut entry = full().resumed.unwrap();
        entry.failed = vec![RecoveryStep::Dns];
        numbers.recovered(&entry);
    }
}

fn address(minute: u64) -> Option<IpAddr> {
    let changes = (minute.clamp(CHANGES.start, CHANGES.end) - CHANGES.start) / 7;
    let last = u8::try_from(changes).unwrap();
    (!NO_ADDRESS.contains(&minute)).then(|| [172, 20, 0, last].into())
}

fn forward() -> ForwardStatus {
    let forward = serde_json::json!({
        "name": "web",
        "protocol": "tcp",
        "listen-address": "0.0.0.0",
        "listen-port": 8080,
        "connect-port": 80,
        "backend": "relay",
        "state": "up",
    });
    serde_json::from_value(forward).unwrap()
}

fn document(numbers: &Numbers, minute: u64, base: u64) -> Document {
    let mut document = full();
    document.address = address(minute);
    let (newest, error) = match minute {
        _ if SILENT.contains(&minute) => (SILENT.start, None),
        _ if UNREADABLE.contains(&minute) => (minute, Some("hangs")),
        _ => (minute - minute % 2, None),
    };
    let peers = vec![peer(Some(base + newest * 60)), peer(None)];
    document.wireguard = Some(vec![device("wg0", peers, error)]);
    let relay = |up: bool| {
        let mut relay = full().relay;
        relay.iter_mut().for_each(|relay| relay.applied = up);
        relay
    };
    document.relay = relay(!RELAY_DOWN.contains(&minute));
    document.loopback_relay = relay(true);
    if let Some(dns) = &mut document.dns {
        dns.works = Some(!DNS_DOWN.contains(&minute));
        dns.zones.iter_mut().for_each(|zone| {
            (zone.zone, zone.works) = ("mesh.internal".to_owned(), true);
        });
    }
    if let Some(resumed) = &mut document.resumed {
        resumed.ended_unix = base;
    }
    let mut forward = forward();
    document.health.clear();
    if FORWARD_DOWN.contains(&minute) {
        forward.state = ForwardState::Down;
        document.health = vec![(&Finding::new(Code::ForwardTaken, "web", "")).into()];
    } else if document.address.is_none() {
        document.health = vec![(&Finding::new(Code::NoAddress, "eth0", "")).into()];
    }
    document.served = vec![forward];
    let mut numbers = numbers.clone();
    let ahead_ms = match CLOCK_WRONG.contains(&minute) {
        true => 30_000,
        false => -12,
    };
    numbers.looked_at_clock(&ClockSample {
        boot_ms: 0,
        unix: i64::try_from(base + minute * 60).unwrap(),
        ahead_ms: Some(ahead_ms),
        by_rtc: false,
        set_ms: 0,
        cause: SampleCause::Time,
    });
    document.numbers = Some(numbers);
    document
}

/// The file of each minute after `# MINUTE MODIFIED`; nothing follows where there is none.
/// The day begins at `base`, in seconds since 1970.
fn frames(base: u64) -> String {
    let begin = Instant::now();
    let mut numbers = Numbers::since(base);
    let (mut file, mut modified) = (String::new(), 0);
    let mut frames = String::new();
    for minute in 0..DAY {
        if STOPPED.contains(&minute) {
            (numbers, file) = (Numbers::since(base + STOPPED.end * 60), String::new());
        } else if KILLED.contains(&minute) {
            numbers = Numbers::since(base + KILLED.end * 60);
        } else {
            count(&mut numbers, minute, begin);
            modified = base + minute * 60;
            file = render_metrics(&document(&numbers, minute, base), modified);
        }
        write!(frames, "# {minute} {modified}\n{file}").unwrap();
    }
    frames
}

/// `WSLMESH_METRICS_DAY=BASE:FILE` writes it.
#[test]
fn day_has_every_cause() {
    let day = frames(0);
    assert_eq!(day.matches("\nwslmesh_up 1\n").count(), 1_420);
    for sample in [
        "wslmesh_address_up 0",
        "wslmesh_address_changes_total 8",
        "wslmesh_outage_seconds_total 900",
        "wslmesh_windows_calls_total{result=\"failed\"} 14",
        "wslmesh_recoveries_total{result=\"incomplete\"} 1",
        "wslmesh_findings{code=\"no-address\",severity=\"error\"} 1",
        "wslmesh_clock_ahead_seconds 30",
    ] {
        assert!(day.contains(&format!("\n{sample}\n")), "{sample}");
    }
    if let Some((base, file)) = env::var("WSLMESH_METRICS_DAY")
        .ok()
        .as_deref()
        .and_then(|to| to.split_once(':'))
    {
        fs::write(file, frames(base.parse().unwrap())).unwrap();
    }
}
