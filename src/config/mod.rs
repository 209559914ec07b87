//! The configuration: fragments as on disk, merged, then [`Settings`], which
//! are valid from here on.

mod dependents;
mod drop_in;
mod fragments;
mod import;
mod inputs;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::Ipv4Addr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use dependents::HookTimeout;
pub use drop_in::{Added, DropIn, DropInError, Located, located};
use fragments::SysctlSetting;
pub use fragments::{Backend, Interface, Settle, Underlay};
pub use import::{Import, ImportError, Wanted};
pub use inputs::Source;
use inputs::{Inputs, Placed};

use crate::model::{Dependent, Mode, Patterns, SysctlKey, SysctlValue};
pub use crate::model::{Firewall, Protocol};

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
    /// Who forwards ports on Windows.
    pub backend: Backend,
    /// Units that are told of a new address, in this order.
    pub dependents: Vec<Dependent>,
    /// How long a hook may run.
    pub hook_timeout: Duration,
    /// The forwards, in the order of the files.
    pub forwards: Vec<Forward>,
    /// The files these settings come from.
    pub files: Vec<PathBuf>,
}

/// One forward from Windows to this distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Its name.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Windows' address to listen on.
    pub listen_address: Ipv4Addr,
    /// Windows' port to listen on.
    pub listen_port: NonZeroU16,
    /// Port in this distribution.
    pub connect_port: NonZeroU16,
    /// Whom Windows' firewall should let in.
    pub firewall: Firewall,
}

/// Why a configuration cannot be used. Each text names the file, the place and
/// the fix.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or folder could not be read.
    #[error("{}: cannot read the configuration: {source}; correct its permissions, or name another file with --config", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no such file.
    #[error("{}: there is no such file; name the right one with --config", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A folder or a device stands where a file is expected.
    #[error("{}: is not a regular file; remove it and put the configuration there, or name another file with --config", path.display())]
    NotAFile {
        /// What stands there.
        path: PathBuf,
    },
    /// The file is far larger than any configuration.
    #[error("{}: has {bytes} bytes, more than any configuration (1 MiB); name the right file with --config", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is not UTF-8 text.
    #[error("{}:{line}: is not UTF-8 text; save it as UTF-8, or name another file with --config", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that is not text.
        line: usize,
    },
    /// TOML, a key or a value is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// The keys are right one by one and wrong together.
    #[error("{}", Lines(.0))]
    Invalid(Vec<String>),
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Settings {
    /// Reads and checks the configuration of a source.
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing of a configuration with an error is used.
    pub fn load(source: &Source) -> Result<Self, ConfigError> {
        Self::validate(inputs::read(source, None)?)
    }

    fn validate(inputs: Inputs) -> Result<Self, ConfigError> {
        let mut sysctls = default_sysctls();
        for (key, setting) in inputs.sysctl {
            match setting {
                SysctlSetting::Value(value) => sysctls.insert(key, value),
                SysctlSetting::Leave => sysctls.remove(&key),
            };
        }
        let backend = inputs.backend.unwrap_or(Backend::Auto);
        let forwards = forwards(&inputs.forwards, backend)?;
        Ok(Self {
            interface: inputs.interface.unwrap_or(Interface::Auto),
            config_file: inputs
                .config_file
                .unwrap_or_else(|| PathBuf::from("/etc/wslmesh/wsl-network.conf")),
            settle: inputs.settle.unwrap_or(Settle::Auto),
            mtu_interfaces: inputs
                .mtu_interfaces
                .unwrap_or_else(|| Patterns::new(&["wg*", "tailscale*"])),
            mtu: inputs.mtu_value.unwrap_or(1280),
            underlay: inputs.underlay.unwrap_or(Underlay::Raise),
            sysctls,
            wireguard_interfaces: inputs
                .wireguard_interfaces
                .unwrap_or_else(|| Patterns::new(&["wg*"])),
            keepalive: NonZeroU16::new(inputs.keepalive.unwrap_or(25)),
            backend,
            dependents: dependents::dependents(inputs.units.unwrap_or_default())?,
            hook_timeout: inputs.hook_timeout.unwrap_or(HookTimeout::USUAL),
            forwards,
            files: inputs.files,
        })
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

/// What a forward's name may be.
const NAME_RULE: &str = "name has up to 64 letters, digits, - _ and . only";

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

/// Checks the forwards against each other and reports every trouble at once.
fn forwards(placed: &[Placed], backend: Backend) -> Result<Vec<Forward>, ConfigError> {
    let mut problems = Vec::new();
    for (place, this) in placed.iter().enumerate() {
        let here = format!(
            "{}:{}: forward {:?}",
            this.file.display(),
            this.line,
            this.forward.name
        );
        let forward = &this.forward;
        if !is_name(&forward.name) {
            problems.push(format!("{here}: {NAME_RULE}"));
        }
        if forward.protocol == Protocol::Udp && backend == Backend::Portproxy {
            problems.push(format!("{here}: Windows' portproxy is TCP only; set protocol = \"tcp\", or [host] backend = \"auto\""));
        }
        for earlier in placed.iter().take(place) {
            let there = format!("{}:{}", earlier.file.display(), earlier.line);
            if earlier.forward.name == forward.name {
                problems.push(format!(
                    "{here}: the name is taken at {there}; choose another"
                ));
            }
            if same_listener(&earlier.forward, forward) {
                problems.push(format!(
                    "{here}: listen-port {} {} is taken by forward {:?} at {there}; choose another listen-port",
                    forward.listen_port.0, forward.protocol, earlier.forward.name
                ));
            }
        }
    }
    if !problems.is_empty() {
        return Err(ConfigError::Invalid(problems));
    }
    let settle = |placed: &Placed| {
        let forward = &placed.forward;
        Forward {
            name: forward.name.clone(),
            protocol: forward.protocol,
            listen_address: forward.listen_address,
            listen_port: forward.listen_port.0,
            connect_port: forward.connect_port.unwrap_or(forward.listen_port).0,
            firewall: forward.firewall,
        }
    };
    Ok(placed.iter().map(settle).collect())
}

/// Whether two forwards would listen on the same port: a listener on 0.0.0.0
/// takes the port on every address.
fn same_listener(a: &fragments::Forward, b: &fragments::Forward) -> bool {
    (a.protocol, a.listen_port) == (b.protocol, b.listen_port)
        && overlap(a.listen_address, b.listen_address)
}

fn listens_there(there: &fragments::Forward, new: &Forward) -> bool {
    (there.protocol, there.listen_port.0) == (new.protocol, new.listen_port)
        && overlap(there.listen_address, new.listen_address)
}

fn overlap(a: Ipv4Addr, b: Ipv4Addr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

impl fmt::Display for Settings {
    /// The settings in force as a configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |patterns: &Patterns| {
            patterns
                .iter()
                .map(|p| format!("{:?}", p.to_string()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        for file in &self.files {
            writeln!(f, "# from {}", file.display())?;
        }
        writeln!(
            f,
            "[network]\ninterface = \"{}\"\nconfig-file = {:?}\nsettle = \"{}\"\n",
            self.interface, self.config_file, self.settle
        )?;
        writeln!(
            f,
            "[mtu]\ninterfaces = [{}]\nvalue = {}\nunderlay = \"{}\"\n",
            list(&self.mtu_interfaces),
            self.mtu,
            self.underlay
        )?;
        writeln!(f, "[sysctl]")?;
        for (key, value) in &self.sysctls {
            writeln!(f, "\"{key}\" = \"{value}\"")?;
        }
        let keepalive = self.keepalive.map_or(0, NonZeroU16::get);
        writeln!(
            f,
            "\n[wireguard]\ninterfaces = [{}]\nkeepalive = {keepalive}\n",
            list(&self.wireguard_interfaces)
        )?;
        writeln!(f, "[host]\nbackend = \"{}\"", self.backend)?;
        dependents::show(f, &self.dependents, self.hook_timeout)?;
        for forward in &self.forwards {
            writeln!(
                f,
                "\n[[forward]]\nname = \"{}\"\nprotocol = \"{}\"\nlisten-address = \"{}\"",
                forward.name, forward.protocol, forward.listen_address
            )?;
            writeln!(
                f,
                "listen-port = {}\nconnect-port = {}\nfirewall = \"{}\"",
                forward.listen_port, forward.connect_port, forward.firewall
            )?;
        }
        Ok(())
    }
}

/// Settings as a source would give them, for tests of other modules.
#[cfg(test)]
pub(crate) fn settings(text: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wslmesh.toml");
    std::fs::write(&path, text).unwrap();
    Settings::load(&Source::File(path)).unwrap_or_else(|error| panic!("{error}"))
}

impl Source {
    /// The source for an optional `--config FILE`.
    #[must_use]
    pub fn from_option(file: Option<&Path>) -> Self {
        file.map_or(Self::System, |file| Self::File(file.to_owned()))
    }
}

#[cfg(test)]
mod tests;
