//! The status document: what the agent sees and does, as one JSON file in the
//! runtime directory, for `wslmesh status` and for monitoring.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Numbers, RecoveryEntry};
use crate::{
    config::Forward,
    fs::{
        file::{self, FileError},
        read_bounded,
    },
    model::{
        Code, Counted, Finding, ForwardStatus, GuestFirewall, HealthEntry, Link, PeerState,
        Severity, Subject,
    },
};

/// Version of the document's form.
pub const VERSION: u32 = 1;

/// The document. Fields may be added within a version, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Document {
    /// [`VERSION`].
    pub version: u32,
    /// The agent's process.
    pub pid: u32,
    /// `active` or `standby`.
    pub role: String,
    /// This distribution's name, where others share its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// The distribution whose agent leads, where that is another one and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The other distributions that this agent serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberEntry>,
    /// WSL's networking mode, `pending` or `unknown`.
    pub mode: String,
    /// The mode that `.wslconfig` asks for, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_mode: Option<String>,
    /// The watched interface.
    pub interface: Option<String>,
    /// Why it is this one, where its default route alone does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_reason: Option<String>,
    /// This distribution's address.
    pub address: Option<IpAddr>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// The watched interface and each tunnel that the configuration names.
    #[serde(default)]
    pub links: Vec<LinkEntry>,
    /// WireGuard devices and their peers. Only by D-Bus and in `wslmesh status`:
    /// gathering them takes time, and they change all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<Vec<WireguardEntry>>,
    /// The ports of WireGuard devices where Windows shares its ports with this machine:
    /// mirrored and consomme mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wireguard_ports: Vec<PortEntry>,
    /// Name resolution; nothing before it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsEntry>,
    /// The tunnel to Windows; nothing where it is not wanted and not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelEntry>,
    /// What becomes of this distribution when nothing on Windows uses it; nothing outside of
    /// WSL, and before it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<LifetimeEntry>,
    /// The generated file.
    pub network_file: PathBuf,
    /// Rules of the port proxy that Windows confirmed, and the address they lead to.
    pub forwards: Option<Forwards>,
    /// Each configured forward: on standby as the leader says.
    #[serde(default)]
    pub served: Vec<ForwardStatus>,
    /// The relay, where it has something to do.
    #[serde(default)]
    pub relay: Option<RelayEntry>,
    /// The one behind it, which leads to services on loopback in NAT mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loopback_relay: Option<RelayEntry>,
    /// Windows' own address.
    pub windows_address: Option<Ipv4Addr>,
    /// Name and MTU of the connected Windows adapter with the lowest MTU, which WSL copies
    /// to eth0 in NAT mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_mtu: Option<(String, u32)>,
    /// Which of Windows' firewalls has the rules for this distribution, in mirrored mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_firewall: Option<GuestFirewall>,
    /// The last recovery after a sleep of Windows or a time without a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<RecoveryEntry>,
    /// Rules that were lost on Windows and made again, since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoredEntry>,
    /// What the agent has counted; nothing on standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
    /// Passes made since the start.
    pub passes: u64,
    /// What the last pass took, in microseconds.
    pub last_pass_us: u64,
    /// What is not as it should be: at most 20 of a code, and one that counts the others.
    pub health: Vec<HealthEntry>,
    /// What these others are about, by code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unlisted: BTreeMap<String, Vec<Subject>>,
}

impl Document {
    /// The warnings and errors about this forward, or about all that were discovered where
    /// it is one of them; also those that are not listed.
    #[must_use]
    pub fn health_of(&self, forward: &str, discovered: bool) -> Vec<HealthEntry> {
        let disturbs = |entry: &&HealthEntry| entry.disturbs(forward, discovered);
        let listed = self.health.iter().filter(disturbs).cloned();
        let is_about = |subjects: &[Subject]| subjects.iter().any(|one| one == forward);
        let others = self.unlisted.iter().filter(|(_, of)| is_about(of));
        let known = others.filter_map(|(code, _)| {
            let code = Code::ALL.iter().find(|one| one.as_str() == code)?;
            let detail = "one of many, of which the agent lists the first";
            Some((&Finding::new(*code, forward, detail)).into())
        });
        listed.chain(known).collect()
    }
}

/// Rules that Windows had lost, as after `netsh interface portproxy reset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestoredEntry {
    /// When they were made again for the last time, in seconds since 1970 (UTC).
    pub unix: u64,
    /// Which these were, as `forward ssh`.
    pub lost: Vec<String>,
    /// How often rules were lost.
    pub times: u32,
}

/// A distribution whose agent is on standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemberEntry {
    /// Its name.
    pub distribution: String,
    /// How many forwards it registered.
    pub forwards: usize,
    /// These forwards, as its configuration has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registered: Vec<Forward>,
    /// What its agent discovered, as forwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<Forward>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkEntry {
    /// Its name.
    pub name: String,
    /// `wireguard`, `wireguard-userspace`, `tun`, `virtual` or `other`.
    pub kind: String,
    /// Its MTU in bytes.
    pub mtu: u32,
}

impl From<&Link> for LinkEntry {
    fn from(link: &Link) -> Self {
        Self {
            name: link.name.to_string(),
            kind: link.kind.to_string(),
            mtu: link.mtu,
        }
    }
}

/// How Windows knows the port of a WireGuard device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortEntry {
    /// The device's interface.
    pub device: String,
    /// Its UDP port.
    pub port: u16,
    /// `userspace`, `reserved`, `claimed`, `due`, `refused`, `closed`, `off` or `unreadable`.
    pub way: String,
    /// The same for a person.
    pub detail: String,
}

/// Name resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DnsEntry {
    /// The first server of /etc/resolv.conf.
    pub server: Option<String>,
    /// Who wrote the file, in words.
    pub source: Option<String>,
    /// Whether it resolved names when it was queried last; nothing where it was not.
    pub works: Option<bool>,
    /// Microseconds that its answer took then.
    pub took_us: Option<u64>,
    /// The configured zones that a tunnel leads to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneEntry>,
}

/// What becomes of a distribution that nothing on Windows uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LifetimeEntry {
    /// `kept`, `stopped` or `unknown`.
    pub state: String,
    /// Why and when.
    pub detail: String,
    /// What to do, where there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    /// Since when the agent has held it open, in seconds since 1970 (UTC); nothing where it
    /// does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since_unix: Option<u64>,
}

/// The tunnel to Windows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelEntry {
    /// `up`, `starting`, `down`, or `failed`.
    pub state: String,
    /// Why it is up, or wanted: `always`, `nat-broken` or `by-hand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is up, in seconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix: Option<u64>,
    /// Whether Windows' NAT works, where it is looked at: `works`, `broken`, or `unclear`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<String>,
    /// What the last look at it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<String>,
    /// The version of the program on Windows; nothing before its first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// How often that was started again since the tunnel's process runs.
    #[serde(default)]
    pub restarts: u32,
    /// Why that was the last time, or why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Bytes that came by it since it is up. Only where the numbers are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
    /// Bytes that went by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// How often the agent has started it.
    #[serde(default)]
    pub starts: u32,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ZoneEntry {
    /// Its domain.
    pub zone: String,
    /// The tunnel.
    pub interface: String,
    /// Its servers.
    pub servers: Vec<IpAddr>,
    /// Whether it resolved when it was asked for last.
    pub works: bool,
}

/// A WireGuard device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WireguardEntry {
    /// Its interface.
    pub device: String,
    /// UDP port it listens on; nothing until one is set.
    pub listen_port: Option<u16>,
    /// Its peers, by their keys.
    pub peers: Vec<PeerEntry>,
    /// Why it could not be read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A peer of a WireGuard device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerEntry {
    /// Its public key in base64.
    pub public_key: String,
    /// Its last address, or the configured one.
    pub endpoint: Option<SocketAddr>,
    /// PersistentKeepalive in seconds, 0 where it is off.
    pub keepalive: u16,
    /// The last handshake in seconds since 1970 (UTC); nothing where there was none.
    pub latest_handshake_unix: Option<u64>,
    /// `answers`, `stale` where that is 180 s ago or more, `never` where there was none.
    #[serde(default)]
    pub state: PeerState,
    /// Bytes from it.
    pub received_bytes: u64,
    /// Bytes to it.
    pub sent_bytes: u64,
}

/// Forwards on Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forwards {
    /// How many.
    pub count: usize,
    /// Where they lead.
    pub connect_address: Ipv4Addr,
}

/// A relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RelayEntry {
    /// Its program or folder on Windows, or `guest`.
    pub location: String,
    /// Whether it serves what it should, as it confirmed.
    pub applied: bool,
    /// UDP sessions now.
    pub sessions: usize,
    /// What it counted when it was asked last; nothing before the first time.
    #[serde(default)]
    pub counters: Option<Counted>,
}

impl Document {
    /// Whether the process that wrote it runs: an agent that was killed leaves
    /// its document behind.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }

    /// What the relay counted, if it was asked.
    #[must_use]
    pub fn counted(&self) -> Option<&Counted> {
        self.relay.as_ref()?.counters.as_ref()
    }

    /// Whether the node is degraded: a warning or an error is in force.
    #[must_use]
    pub fn degraded(&self) -> bool {
        let mut health = self.health.iter();
        health.any(|entry| entry.severity > Severity::Info)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("status.json")
}

/// Writes the document.
///
/// # Errors
/// The runtime directory is not there or not writable.
pub fn write(folder: &Path, document: &Document) -> Result<(), FileError> {
    // systemd makes the folder; an agent that is run by hand makes it itself. If
    // that fails, the file's own error says so.
    fs::create_dir_all(folder).unwrap_or_default();
    let path = path(folder);
    let text = serde_json::to_vec_pretty(document).unwrap_or_default();
    file::write(&path, &text, 0o644)
}

/// Reads the document of the running agent; `None` where none runs.
///
/// # Errors
/// The file cannot be read, or is not a document of this version.
pub fn read(folder: &Path) -> io::Result<Option<Document>> {
    let text = match read_bounded(&path(folder), file::MAX_SIZE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let document: Document = serde_json::from_slice(&text)?;
    if document.version == VERSION {
        return Ok(Some(document));
    }
    Err(io::Error::other(format!(
        "the running agent writes status documents of version {}, this program reads version {VERSION}",
        document.version
    )))
}

/// Removes this process's document: an agent that has ended has no status. The
/// document of another one in the same folder, the leader's, stays.
pub fn remove(folder: &Path) {
    let own = |document: &Document| document.pid == std::process::id();
    if read(folder).ok().flatten().as_ref().is_some_and(own) {
        fs::remove_file(path(folder)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_that_are_not_listed_keep_their_codes() {
        let listed = Finding::new(Code::ForwardLoop, "web", "back");
        let unlisted = |code: Code, of: &str| (code.to_string(), vec![of.to_owned()]);
        let document = Document {
            health: vec![HealthEntry::from(&listed)],
            unlisted: BTreeMap::from([
                unlisted(Code::ForwardTaken, "web"),
                unlisted(Code::ForwardExcluded, "webs"),
                ("of-a-newer-agent".to_owned(), vec!["web".to_owned()]),
            ]),
            ..Document::default()
        };
        let codes = |name| {
            Vec::from_iter(
                document
                    .health_of(name, false)
                    .into_iter()
                    .map(|one| one.code),
            )
        };
        assert_eq!(codes("web"), ["forward-loop", "forward-taken"]);
        assert_eq!(codes("webs"), ["forward-excluded"]);
        assert_eq!(codes("we"), [""; 0]);
    }
}
