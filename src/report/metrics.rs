//! The status document as numbers, in Prometheus' text format. Each series is bounded by
//! what is configured: peers and findings are counted, not listed.

mod registry;

use std::collections::BTreeMap;

use prometheus::{
    TextEncoder,
    proto::{self, LabelPair, MetricFamily, MetricType},
};

pub use self::registry::{Kind, Metric};
use super::{
    Document, Durations, INTEROP_FAILURES, Numbers, RelayEntry, WireguardEntry, tracker::OTHERS,
};
use crate::model::{Code, ForwardState, PeerState};

/// The document as text; `now_unix` is when it was collected, in seconds since 1970 (UTC).
#[must_use]
pub fn render(document: &Document, now_unix: u64) -> String {
    let mut page = Page::default();
    page.add(Metric::Up, &[], 1.0);
    let interface = document.interface.as_deref().unwrap_or_default();
    let labels = [
        env!("CARGO_PKG_VERSION"),
        &document.mode,
        &document.role,
        interface,
    ];
    page.add(Metric::Info, &labels, 1.0);
    page.add(Metric::Collected, &[], whole(now_unix));
    page.health(document);
    page.forwards(document);
    if let Some(numbers) = &document.numbers {
        let code = Code::ObserveFailed.as_str();
        // Where the kernel does not answer the address is not known.
        if !document.health.iter().any(|entry| entry.code == code) {
            page.add(Metric::AddressUp, &[], truth(document.address.is_some()));
        }
        page.numbers(numbers);
    }
    for link in &document.links {
        let mtu = f64::from(link.mtu);
        page.add(Metric::InterfaceMtu, &[&link.name, &link.kind], mtu);
    }
    for device in document.wireguard.iter().flatten() {
        page.wireguard(device);
    }
    if let Some(resumed) = &document.resumed {
        let (took, ended) = (whole(resumed.duration_ms) / 1e3, whole(resumed.ended_unix));
        page.add(Metric::LastRecovery, &[], took);
        page.add(Metric::LastRecoveryEnd, &[], ended);
    }
    page.tunnel(document);
    page.dns(document);
    page.text()
}

/// Samples by metric, in the order of the table.
#[derive(Debug, Default)]
struct Page(BTreeMap<Metric, Vec<proto::Metric>>);

impl Page {
    /// Adds a sample with the values of its labels.
    fn add(&mut self, metric: Metric, values: &[&str], value: f64) {
        let (_, kind, names, _) = metric.facts();
        let label = |(name, value): (&&str, &&str)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        };
        let mut sample = proto::Metric::default();
        sample.set_label(names.iter().zip(values).map(label).collect());
        match kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
        }
        self.0.entry(metric).or_default().push(sample);
    }

    /// The same where there is a value.
    fn add_some(&mut self, metric: Metric, values: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.add(metric, values, value);
        }
    }

    fn health(&mut self, document: &Document) {
        self.add(Metric::Degraded, &[], truth(document.degraded()));
        let mut found = BTreeMap::<(&str, String), usize>::new();
        for entry in &document.health {
            let unlisted = document.unlisted.get(&entry.code).map_or(0, Vec::len);
            let key = (entry.code.as_str(), entry.severity.to_string());
            let count = found.entry(key).or_insert(unlisted);
            // One entry says how many are not listed.
            *count += usize::from(entry.subject != OTHERS);
        }
        for ((code, severity), count) in found {
            self.add(Metric::Findings, &[code, &severity], count as f64);
        }
    }

    fn forwards(&mut self, document: &Document) {
        for state in [ForwardState::Up, ForwardState::Pending, ForwardState::Down] {
            let served = document.served.iter();
            let count = served.filter(|forward| forward.state == state).count();
            self.add(Metric::Forwards, &[&state.to_string()], count as f64);
        }
        let mut relay = |name: &str, entry: &Option<RelayEntry>| {
            let Some(entry) = entry else { return };
            self.add(Metric::RelayUp, &[name], truth(entry.applied));
            self.add(Metric::RelaySessions, &[name], entry.sessions as f64);
        };
        relay("entry", &document.relay);
        relay("loopback", &document.loopback_relay);
    }

    fn numbers(&mut self, numbers: &Numbers) {
        self.add(Metric::StartTime, &[], whole(numbers.since_unix));
        let changes = whole(numbers.address_changes);
        self.add(Metric::AddressChanges, &[], changes);
        let count = |of: Durations| whole(of.count);
        self.add(Metric::Outages, &[], count(numbers.outages));
        self.took(numbers.outages, Metric::OutageSeconds, Metric::LastOutage);
        self.add(Metric::Passes, &[], count(numbers.passes));
        self.took(numbers.passes, Metric::PassSeconds, Metric::LastPass);
        let (calls, failed) = (numbers.windows_calls, numbers.windows_calls_failed);
        let ok = whole(calls.count.saturating_sub(failed));
        self.add(Metric::WindowsCalls, &["ok"], ok);
        self.add(Metric::WindowsCalls, &["failed"], whole(failed));
        self.took(calls, Metric::WindowsCallSeconds, Metric::LastWindowsCall);
        for code in INTEROP_FAILURES.map(|code| code.as_str()) {
            // From 0 on, so that the first failure is an increase.
            let count = numbers.interop_failures.get(code).copied();
            let count = whole(count.unwrap_or_default());
            self.add(Metric::InteropFailures, &[code], count);
        }
        let (recoveries, incomplete) = (numbers.recoveries, numbers.recoveries_incomplete);
        let complete = whole(recoveries.count.saturating_sub(incomplete));
        self.add(Metric::Recoveries, &["complete"], complete);
        self.add(Metric::Recoveries, &["incomplete"], whole(incomplete));
        let seconds = micros_in_seconds(recoveries.total_us);
        self.add(Metric::RecoverySeconds, &[], seconds);
        self.add(Metric::AwaySeconds, &[], whole(numbers.away_s));
        self.add(Metric::ClockSteps, &[], whole(numbers.clock_steps));
        if let Some(clock) = numbers.clock {
            let (ahead, at) = (clock.ahead_ms as f64 / 1e3, clock.compared_unix as f64);
            self.add(Metric::ClockAhead, &[], ahead);
            self.add(Metric::ClockCompared, &[], at);
        }
    }

    fn took(&mut self, of: Durations, total: Metric, last: Metric) {
        self.add(total, &[], micros_in_seconds(of.total_us));
        self.add_some(last, &[], of.last_us.map(micros_in_seconds));
    }

    fn wireguard(&mut self, entry: &WireguardEntry) {
        let device = entry.device.as_str();
        let up = entry.error.is_none();
        self.add(Metric::WireguardUp, &[device], truth(up));
        if !up {
            return;
        }
        let peers = entry.peers.iter();
        let handshakes = Vec::from_iter(peers.filter_map(|peer| peer.latest_handshake_unix));
        let states = [
            ("answers", PeerState::Answers),
            ("stale", PeerState::Stale),
            ("never", PeerState::Never),
        ];
        for (state, is) in states {
            let count = entry.peers.iter().filter(|peer| peer.state == is).count();
            self.add(Metric::WireguardPeers, &[device, state], count as f64);
        }
        let newest = handshakes.iter().max().map(|at| whole(*at));
        self.add_some(Metric::WireguardNewest, &[device], newest);
        let oldest = handshakes.iter().min().map(|at| whole(*at));
        self.add_some(Metric::WireguardOldest, &[device], oldest);
    }

    fn tunnel(&mut self, document: &Document) {
        let Some(tunnel) = &document.tunnel else {
            return;
        };
        self.add(Metric::TunnelUp, &[], truth(tunnel.state == "up"));
        self.add(Metric::TunnelStarts, &[], f64::from(tunnel.starts));
        self.add(Metric::TunnelRestarts, &[], f64::from(tunnel.restarts));
        let received = tunnel.received_bytes.map(whole);
        self.add_some(Metric::TunnelBytes, &["received"], received);
        self.add_some(Metric::TunnelBytes, &["sent"], tunnel.sent_bytes.map(whole));
    }

    fn dns(&mut self, document: &Document) {
        let Some(dns) = &document.dns else { return };
        self.add_some(Metric::DnsUp, &[], dns.works.map(truth));
        let took = dns.took_us.map(micros_in_seconds);
        self.add_some(Metric::DnsResponse, &[], took);
        for zone in &dns.zones {
            self.add(Metric::ZoneUp, &[&zone.zone], truth(zone.works));
        }
    }

    fn text(self) -> String {
        let family = |(metric, samples): (Metric, Vec<proto::Metric>)| {
            let (name, kind, _, help) = metric.facts();
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(match kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
            });
            family.set_metric(samples);
            family
        };
        let families = Vec::from_iter(self.0.into_iter().map(family));
        let mut text = String::new();
        // It fails only for a family without a name or a sample.
        let encoded = TextEncoder::new().encode_utf8(&families, &mut text);
        encoded.unwrap_or_default();
        text
    }
}

/// Seconds of so many microseconds.
fn micros_in_seconds(us: u64) -> f64 {
    whole(us) / 1e6
}

/// As a sample: exact up to 2^53.
fn whole(number: u64) -> f64 {
    number as f64
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests;
