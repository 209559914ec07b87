//! The table of the metrics: docs/metrics.md and the files for Prometheus are tested
//! against it.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins at 0 with the agent.
    Counter,
    /// It has any value.
    Gauge,
}

macro_rules! registry {
    ($($variant:ident, $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        /// A metric. Names are stable across versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// All, in the order of the file.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name, its kind, its labels and what it means.
            #[must_use]
            pub fn facts(self) -> (&'static str, Kind, &'static [&'static str], &'static str) {
                match self {
                    $(Self::$variant => ($name, Kind::$kind, &[$($label),*], $help),)*
                }
            }
        }
    };
}

registry! {
    Up, "wslmesh_up", Gauge, [], "1 while the agent runs.";
    Info, "wslmesh_info", Gauge, ["version", "mode", "role", "interface"],
        "1, with the agent's version, WSL's networking mode, active or standby, and the watched interface.";
    StartTime, "wslmesh_start_time_seconds", Gauge, [],
        "When the agent began to count, in seconds since 1970.";
    Collected, "wslmesh_collected_timestamp_seconds", Gauge, [],
        "When these numbers were collected, in seconds since 1970.";
    Degraded, "wslmesh_degraded", Gauge, [], "1 while a warning or an error is in force.";
    Findings, "wslmesh_findings", Gauge, ["code", "severity"],
        "Findings in force by health code; of an info at most 20.";
    AddressUp, "wslmesh_address_up", Gauge, [], "1 while the node has a usable address.";
    AddressChanges, "wslmesh_address_changes_total", Counter, [],
        "How often the node got another address.";
    Outages, "wslmesh_outages_total", Counter, [],
        "Times without an address that ended, as passes saw them.";
    OutageSeconds, "wslmesh_outage_seconds_total", Counter, [], "Seconds of these outages.";
    LastOutage, "wslmesh_last_outage_seconds", Gauge, [], "Seconds of the last outage.";
    Passes, "wslmesh_passes_total", Counter, [], "Passes made.";
    PassSeconds, "wslmesh_pass_seconds_total", Counter, [], "Seconds that passes took.";
    LastPass, "wslmesh_last_pass_seconds", Gauge, [], "Seconds that the last pass took.";
    InterfaceMtu, "wslmesh_interface_mtu_bytes", Gauge, ["interface", "kind"],
        "MTU of the watched interface and of each tunnel.";
    WireguardUp, "wslmesh_wireguard_up", Gauge, ["device"],
        "1 where the WireGuard device could be read.";
    WireguardPeers, "wslmesh_wireguard_peers", Gauge, ["device", "state"],
        "Peers by their last handshake when the numbers were collected: answers (within 180 s), stale, never.";
    WireguardNewest, "wslmesh_wireguard_newest_handshake_timestamp_seconds", Gauge, ["device"],
        "The newest handshake of a device's peers, in seconds since 1970.";
    WireguardOldest, "wslmesh_wireguard_oldest_handshake_timestamp_seconds", Gauge, ["device"],
        "The oldest of their last handshakes, in seconds since 1970; peers without one do not count.";
    Forwards, "wslmesh_forwards", Gauge, ["state"],
        "Forwards by state: up, pending, down.";
    RelayUp, "wslmesh_relay_up", Gauge, ["relay"],
        "1 where the relay serves what it should: entry (which clients reach), loopback (behind it).";
    RelaySessions, "wslmesh_relay_sessions", Gauge, ["relay"], "UDP sessions of the relay.";
    WindowsCalls, "wslmesh_windows_calls_total", Counter, ["result"],
        "Calls to Windows about forwards: ok, failed (to be made again).";
    WindowsCallSeconds, "wslmesh_windows_call_seconds_total", Counter, [],
        "Seconds that these calls took.";
    LastWindowsCall, "wslmesh_last_windows_call_seconds", Gauge, [],
        "Seconds that the last of them took.";
    InteropFailures, "wslmesh_interop_failures_total", Counter, ["code"],
        "Failed calls to Windows about forwards and the networking mode, by health code.";
    ClockAhead, "wslmesh_clock_ahead_seconds", Gauge, [],
        "This clock minus Windows' at the last comparison, in seconds.";
    ClockCompared, "wslmesh_clock_compared_timestamp_seconds", Gauge, [],
        "When that was, in seconds since 1970.";
    ClockSteps, "wslmesh_clock_steps_total", Counter, [],
        "How often the clock was set, by whatever program.";
    Recoveries, "wslmesh_recoveries_total", Counter, ["result"],
        "Recoveries after a sleep of Windows or a time without a network: complete, incomplete.";
    RecoverySeconds, "wslmesh_recovery_seconds_total", Counter, [],
        "Seconds that recoveries took.";
    LastRecovery, "wslmesh_last_recovery_seconds", Gauge, [],
        "Seconds that the last recovery took.";
    LastRecoveryEnd, "wslmesh_last_recovery_timestamp_seconds", Gauge, [],
        "When it ended, in seconds since 1970.";
    AwaySeconds, "wslmesh_away_seconds_total", Counter, [],
        "Seconds asleep or without a network before recoveries.";
    TunnelUp, "wslmesh_tunnel_up", Gauge, [],
        "1 while the tunnel to Windows is up; there where it is wanted, up, or NAT is looked at.";
    TunnelStarts, "wslmesh_tunnel_starts_total", Counter, [],
        "How often the agent has started the tunnel.";
    TunnelRestarts, "wslmesh_tunnel_restarts_total", Counter, [],
        "How often the tunnel's program on Windows was started again since the tunnel's process runs.";
    TunnelBytes, "wslmesh_tunnel_bytes_total", Counter, ["direction"],
        "Bytes through the tunnel since it is up: received, sent.";
    DnsUp, "wslmesh_dns_up", Gauge, [],
        "1 where the first server of /etc/resolv.conf resolved names when it was queried last.";
    DnsResponse, "wslmesh_dns_last_response_seconds", Gauge, [],
        "Seconds that its answer took then.";
    ZoneUp, "wslmesh_dns_zone_up", Gauge, ["zone"],
        "1 where a configured zone resolved when it was queried last.";
}
