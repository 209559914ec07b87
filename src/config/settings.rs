//! The settings: defaults, what each key of a file sets, and the same as a file.

use std::{collections::BTreeMap, fmt, num::NonZeroU16, path::PathBuf, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use toml::ser::ValueSerializer;

use super::{
    clock::Clock,
    dependents::HookTimeout,
    discovery::Discovery,
    dns::{Dns, Zones},
    listen_address,
    reader::Read,
    textfile::Textfile,
    tunnel::TunnelWhen,
    values::{Backend, Forward, Interface, Settle, Underlay, absolute_path, bounded, host_backend},
    verify::Verify,
};
use crate::model::{Dependent, Follows, Link, LinkKind, Mode, Patterns, SysctlKey, SysctlValue};

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which interface is watched.
    pub interface: Interface,
    /// The generated network file.
    pub config_file: PathBuf,
    /// How long the network must be quiet before a pass.
    pub settle: Settle,
    /// Tunnels whose MTU is kept.
    pub mtu_interfaces: Patterns,
    /// Their MTU in bytes, 576 to 65535.
    pub mtu: u16,
    /// What to do when the interface below is too small for them.
    pub underlay: Underlay,
    /// Kernel parameters and the values to keep them at.
    pub sysctls: BTreeMap<SysctlKey, SysctlValue>,
    /// WireGuard devices whose peers get keepalives.
    pub wireguard_interfaces: Patterns,
    /// PersistentKeepalive in seconds; `None` leaves peers alone.
    pub keepalive: Option<NonZeroU16>,
    /// Whether Windows is asked for the ports of WireGuard in the kernel.
    pub claim_port: bool,
    /// Who forwards ports on Windows.
    pub backend: Backend,
    /// How often Windows is asked whether it still has the port proxy's rules.
    pub verify: Verify,
    /// Which listening ports become forwards.
    pub discovery: Discovery,
    /// Name resolution.
    pub dns: Dns,
    /// Whether a `wsl.exe` on Windows holds this distribution open.
    pub hold_open: bool,
    /// When the tunnel is started.
    pub tunnel_when: TunnelWhen,
    /// Whether the clock is set.
    pub clock: Clock,
    /// Where the numbers are written for node_exporter.
    pub textfile: Textfile,
    /// Units that follow the address or the tunnels, in this order.
    pub dependents: Vec<Dependent>,
    /// What those follow that say nothing themselves.
    pub dependents_on: Follows,
    /// How long a hook may run.
    pub hook_timeout: Duration,
    /// The forwards, in the order of the files.
    pub forwards: Vec<Forward>,
    /// The files these settings come from.
    pub files: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interface: Interface::Auto,
            config_file: PathBuf::from("/etc/wslmesh/wsl-network.conf"),
            settle: Settle::Auto,
            mtu_interfaces: Patterns::new(&[Patterns::WIREGUARD, "wg*", "tailscale*"]),
            mtu: 1280,
            underlay: Underlay::Raise,
            sysctls: default_sysctls(),
            wireguard_interfaces: Patterns::new(&["wg*"]),
            keepalive: NonZeroU16::new(25),
            claim_port: true,
            backend: Backend::Auto,
            verify: Verify::default(),
            discovery: Discovery::default(),
            dns: Dns::default(),
            hold_open: false,
            tunnel_when: TunnelWhen::default(),
            clock: Clock::default(),
            textfile: Textfile::default(),
            dependents: Vec::new(),
            dependents_on: Follows::ADDRESS,
            hook_timeout: Duration::from_secs(30),
            forwards: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// Buffers for fast transfers through the tunnel and keepalives that notice a
/// dead connection within two minutes instead of two hours. UDP, which the
/// tunnel itself uses, takes its buffers from the same two maxima.
fn default_sysctls() -> BTreeMap<SysctlKey, SysctlValue> {
    [
        ("net.core.rmem_max", "134217728"),
        ("net.core.wmem_max", "134217728"),
        ("net.ipv4.tcp_rmem", "4096 87380 134217728"),
        ("net.ipv4.tcp_wmem", "4096 65536 134217728"),
        ("net.ipv4.tcp_keepalive_time", "60"),
        ("net.ipv4.tcp_keepalive_intvl", "10"),
        ("net.ipv4.tcp_keepalive_probes", "6"),
        ("net.ipv4.udp_rmem_min", "16384"),
        ("net.ipv4.udp_wmem_min", "16384"),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((SysctlKey::parse(key).ok()?, SysctlValue::new(value))))
    .collect()
}

/// What is done with each key of the settings: reading or writing it.
pub(super) trait Keys {
    /// The keys that follow are of this table.
    fn table(&mut self, name: &'static str);

    /// A key whose value is read by a function.
    fn key_with<T: Serialize>(&mut self, key: &'static str, value: &mut T, read: Read<T>);

    /// A key whose value reads itself.
    fn key<T: Serialize + DeserializeOwned>(&mut self, key: &'static str, value: &mut T) {
        self.key_with(key, value, |from| T::deserialize(from));
    }

    /// The keys of `[sysctl]`.
    fn sysctls(&mut self, sysctls: &mut BTreeMap<SysctlKey, SysctlValue>);

    /// The zones of `[dns]`.
    fn zones(&mut self, key: &'static str, zones: &mut Zones);

    /// The units of `[dependents]`.
    fn units(&mut self, key: &'static str, units: &mut Vec<Dependent>);
}

impl Settings {
    /// Who forwards this one.
    #[must_use]
    pub fn backend_of(&self, forward: &Forward) -> Backend {
        match (self.backend, forward.backend.unwrap_or(self.backend)) {
            (Backend::None, _) => Backend::None,
            // Nothing else writes the header.
            (_, Backend::Auto) if forward.proxy_protocol.is_some() => Backend::Relay,
            (_, backend) => backend,
        }
    }

    /// The tunnels whose MTU is set: what `[mtu] interfaces` names, but not the node's
    /// own link.
    #[must_use]
    pub fn tunnels<'a>(&self, links: &'a [Link], node: Option<&Link>) -> Vec<&'a Link> {
        let is_tunnel = |link: &&Link| {
            let is_node = node.is_some_and(|node| node.index == link.index);
            self.mtu_interfaces.covers(link) && link.kind != LinkKind::Loopback && !is_node
        };
        links.iter().filter(is_tunnel).collect()
    }

    /// Every key but the forwards', in the order in which they are shown.
    pub(super) fn keys(&mut self, keys: &mut impl Keys) {
        keys.table("network");
        keys.key("interface", &mut self.interface);
        keys.key_with("config-file", &mut self.config_file, |from| {
            absolute_path(from)
        });
        keys.key("settle", &mut self.settle);

        keys.table("mtu");
        keys.key("interfaces", &mut self.mtu_interfaces);
        // 576 is the least that IPv4 hosts must take (RFC 1122).
        keys.key_with("value", &mut self.mtu, |from| {
            bounded(from, 576..=65535, "MTU")
        });
        keys.key("underlay", &mut self.underlay);

        keys.table("sysctl");
        keys.sysctls(&mut self.sysctls);

        keys.table("wireguard");
        keys.key("interfaces", &mut self.wireguard_interfaces);
        let mut keepalive = self.keepalive.map_or(0, NonZeroU16::get);
        keys.key_with("keepalive", &mut keepalive, |from| {
            bounded(from, 0..=65535, "keepalive in seconds")
        });
        self.keepalive = NonZeroU16::new(keepalive);
        keys.key("claim-port", &mut self.claim_port);

        keys.table("host");
        keys.key_with("backend", &mut self.backend, |from| host_backend(from));
        keys.key("verify", &mut self.verify);

        keys.table("discovery");
        let discovery = &mut self.discovery;
        keys.key("tcp", &mut discovery.tcp);
        keys.key("udp", &mut discovery.udp);
        keys.key("deny", &mut discovery.deny);
        keys.key("interfaces", &mut discovery.interfaces);
        keys.key("containers", &mut discovery.containers);
        keys.key("loopback", &mut discovery.loopback);
        keys.key_with("listen-address", &mut discovery.listen_address, |from| {
            listen_address::read(from)
        });
        keys.key("firewall", &mut discovery.firewall);

        keys.table("dns");
        keys.key("repair", &mut self.dns.repair);
        keys.zones("zones", &mut self.dns.zones);

        keys.table("clock");
        keys.key("step-above", &mut self.clock.step_above);
        keys.key("step-back", &mut self.clock.step_back);

        keys.table("lifetime");
        keys.key("keep-alive", &mut self.hold_open);

        keys.table("tunnel");
        keys.key("when", &mut self.tunnel_when);

        keys.table("metrics");
        keys.key("textfile", &mut self.textfile);

        keys.table("dependents");
        keys.units("units", &mut self.dependents);
        keys.key("on", &mut self.dependents_on);
        let mut timeout = HookTimeout(self.hook_timeout);
        keys.key("hook-timeout", &mut timeout);
        self.hook_timeout = timeout.0;
    }

    /// Quiet time before a pass and the longest that events can put it off.
    #[must_use]
    pub fn settle_times(&self, mode: Option<Mode>) -> (Duration, Duration) {
        match self.settle {
            Settle::Auto if mode.is_some_and(Mode::flaps) => {
                (Duration::from_secs(1), Duration::from_secs(3))
            }
            Settle::Auto => (Duration::from_millis(50), Duration::from_millis(500)),
            Settle::Quiet(quiet) => (quiet, (quiet * 10).min(Duration::from_secs(30))),
        }
    }
}

/// Writes the settings as a file.
struct Writer(String);

impl Writer {
    fn line(&mut self, key: &str, value: &impl Serialize) {
        let mut text = String::new();
        // Serialising into memory cannot fail: no value here is without a form in TOML.
        if value.serialize(ValueSerializer::new(&mut text)).is_ok() {
            self.0
                .push_str(&format!("{key} = {}\n", in_lines(key, text)));
        }
    }
}

/// Columns of a terminal.
const WIDTH: usize = 80;

/// An array that is too long for one line on several; inline tables have to be on one.
fn in_lines(key: &str, text: String) -> String {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let inner = inner.filter(|inner| !inner.contains('{'));
    let Some(inner) = inner.filter(|_| key.len() + 3 + text.len() > WIDTH) else {
        return text;
    };
    let mut lines = vec![String::new()];
    for value in inner.split(", ") {
        match lines.last_mut() {
            Some(line) if !line.is_empty() && line.len() + value.len() + 2 <= WIDTH => {
                *line = format!("{line} {value},");
            }
            _ => lines.push(format!("    {value},")),
        }
    }
    format!("[{}\n]", lines.join("\n"))
}

impl Keys for Writer {
    fn table(&mut self, name: &'static str) {
        let before = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{before}[{name}]\n"));
    }

    fn key_with<T: Serialize>(&mut self, key: &'static str, value: &mut T, _: Read<T>) {
        self.line(key, value);
    }

    fn sysctls(&mut self, sysctls: &mut BTreeMap<SysctlKey, SysctlValue>) {
        for (key, value) in sysctls {
            self.line(&format!("\"{key}\""), &value.as_str());
        }
    }

    fn zones(&mut self, key: &'static str, zones: &mut Zones) {
        self.line(key, zones);
    }

    fn units(&mut self, key: &'static str, units: &mut Vec<Dependent>) {
        self.line(key, units);
    }
}

impl fmt::Display for Settings {
    /// The settings in force as a configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "# from {}", file.display())?;
        }
        let mut writer = Writer(String::new());
        self.clone().keys(&mut writer);
        f.write_str(&writer.0)?;
        self.forwards
            .iter()
            .try_for_each(|forward| write!(f, "\n{}", forward.block()))
    }
}
