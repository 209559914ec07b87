//! What a pass wants changed.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use super::{
    Code, DnsPlan, Finding, ForwardStatus, InterfaceName, LinkKind, Mesh, Node, PublicKey,
    RelayRole, RelaySet, RuleSet, Subject, SysctlKey, SysctlValue, TunnelForward, counted,
};

/// The result of planning: everything that a pass decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Where this distribution is on the network; `None` has a finding.
    pub node: Option<Node>,
    /// What the network file says of the tunnels.
    pub mesh: Mesh,
    /// Each forward with its backend and state; `None` while nothing can be
    /// decided and they are as they were.
    pub forwards: Option<Vec<ForwardStatus>>,
    /// What the tunnel's switch is to listen for.
    pub tunnel: Vec<TunnelForward>,
    /// What name resolution depends on.
    pub dns: DnsPlan,
    /// Changes, the network file first. They do not depend on each other.
    pub actions: Vec<Action>,
    /// What was noticed.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// Notes a finding.
    pub fn find(&mut self, code: Code, subject: impl Into<Subject>, detail: impl Into<String>) {
        self.findings.push(Finding::new(code, subject, detail));
    }
}

/// One change. Each holds the state it was decided on, so that the effect can
/// check whether the world has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Replace the network file.
    WriteNetworkFile(FileChange),
    /// Set a link's MTU.
    SetMtu(MtuChange),
    /// Write a kernel parameter.
    WriteSysctl(SysctlChange),
    /// Give peers a PersistentKeepalive.
    SetKeepalive(KeepaliveChange),
    /// Ask Windows for the UDP port of WireGuard in the kernel.
    ClaimPort(PortClaim),
    /// Make Windows' port forwards these and no others of ours.
    SyncForwards(RuleSet),
    /// Send a relay what to serve; `None` ends it.
    SyncRelay(RelayRole, Option<RelaySet>),
}

/// A new content for the network file. Its `Debug` has no content: it is a user's file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// Its content when the change was decided; `None` where there was no file.
    pub before: Option<Vec<u8>>,
    /// Its content from now on.
    pub after: Vec<u8>,
    /// The keys whose values change.
    pub keys: Vec<String>,
}

/// A new MTU for a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MtuChange {
    /// The link's index.
    pub index: u32,
    /// The link's name.
    pub name: InterfaceName,
    /// Whether the link is up. Until then its owner is at work on it: wg-quick gives a
    /// new device its MTU and takes it up in one step.
    pub up: bool,
    /// MTU when the change was decided.
    pub from: u32,
    /// MTU from now on, 576 to 65535.
    pub to: u32,
    /// Why, for the journal; empty where it is plain.
    pub why: String,
}

/// A new value for a kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlChange {
    /// The parameter.
    pub key: SysctlKey,
    /// Value when the change was decided.
    pub from: SysctlValue,
    /// Value from now on.
    pub to: SysctlValue,
}

/// A PersistentKeepalive for peers that have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepaliveChange {
    /// The device's link index.
    pub index: u32,
    /// The device's name.
    pub name: InterfaceName,
    /// Kernel or userspace.
    pub kind: LinkKind,
    /// The peers without one.
    pub peers: Vec<PublicKey>,
    /// Seconds, 1 to 65535.
    pub seconds: u16,
}

/// A port that Windows is to pass on to this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortClaim {
    /// The device.
    pub name: InterfaceName,
    /// Its UDP port.
    pub port: u16,
    /// Its IPv4 socket, as in [`KernelPorts`](super::KernelPorts).
    pub socket: u64,
}

impl Action {
    /// What this action changes, for people too; one at a time is in flight for each.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::WriteNetworkFile(_) => "network file".to_owned(),
            Self::SetMtu(change) => format!("{} mtu", change.name),
            Self::WriteSysctl(change) => change.key.to_string(),
            Self::SetKeepalive(change) => format!("{} keepalives", change.name),
            Self::ClaimPort(claim) => format!("{} port", claim.name),
            Self::SyncForwards(_) => "Windows forwards".to_owned(),
            Self::SyncRelay(RelayRole::Entry, _) => "relay forwards".to_owned(),
            Self::SyncRelay(RelayRole::Loopback, _) => "relay to loopback".to_owned(),
        }
    }

    /// Whether its previous value is saved for `wslmesh restore`.
    #[must_use]
    pub fn can_be_restored(&self) -> bool {
        matches!(self, Self::SetMtu(_) | Self::WriteSysctl(_))
    }

    /// Whether both want the same end, whatever their start.
    #[must_use]
    pub fn same_end(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::WriteNetworkFile(a), Self::WriteNetworkFile(b)) => a.after == b.after,
            (Self::SetMtu(a), Self::SetMtu(b)) => (a.index, a.up, a.to) == (b.index, b.up, b.to),
            (Self::WriteSysctl(a), Self::WriteSysctl(b)) => (&a.key, &a.to) == (&b.key, &b.to),
            (Self::SetKeepalive(a), Self::SetKeepalive(b)) => {
                (a.index, &a.peers, a.seconds) == (b.index, &b.peers, b.seconds)
            }
            (Self::ClaimPort(a), Self::ClaimPort(b)) => a == b,
            (Self::SyncForwards(a), Self::SyncForwards(b)) => a.same(b),
            (Self::SyncRelay(_, a), Self::SyncRelay(_, b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Debug for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileChange")
            .field("path", &self.path)
            .field("bytes", &self.after.len())
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteNetworkFile(change) => {
                let verb = change.before.as_ref().map_or("create", |_| "rewrite");
                write!(f, "{verb} {}", change.path.display())?;
                match change.keys.as_slice() {
                    _ if change.before.is_none() => Ok(()),
                    [] => Ok(()),
                    [some @ .., last] if some.len() < 3 => {
                        let some = some.iter().map(|key| format!("{key}, "));
                        write!(f, " ({}{last})", some.collect::<String>())
                    }
                    [first, rest @ ..] => write!(f, " ({first} and {} more)", rest.len()),
                }
            }
            Self::SetMtu(change) => {
                write!(f, "{} mtu {} -> {}", change.name, change.from, change.to)?;
                match change.why.as_str() {
                    "" => Ok(()),
                    why => write!(f, " ({why})"),
                }
            }
            Self::WriteSysctl(change) => write!(
                f,
                "{} {:?} -> {:?}",
                change.key,
                change.from.as_str(),
                change.to.as_str()
            ),
            Self::SetKeepalive(change) => {
                let peers = counted(change.peers.len(), "peer");
                write!(
                    f,
                    "{} keepalive {} s on {peers}",
                    change.name, change.seconds
                )
            }
            Self::ClaimPort(claim) => {
                write!(
                    f,
                    "claim UDP port {} of {} from Windows",
                    claim.port, claim.name
                )
            }
            Self::SyncForwards(set) if set.rules.is_empty() => {
                f.write_str("ask what Windows has, and withdraw what is not wanted")
            }
            Self::SyncForwards(set) => {
                let forwards = forwards(set.rules.iter().map(|rule| rule.name.as_str()));
                write!(f, "ask Windows for {forwards}")?;
                match set.listens().next() {
                    Some(_) => write!(f, " -> {}", set.connect_address),
                    None => Ok(()),
                }
            }
            Self::SyncRelay(RelayRole::Entry, None) => f.write_str("end the relay"),
            Self::SyncRelay(RelayRole::Loopback, None) => {
                f.write_str("end the relay that leads to loopback")
            }
            Self::SyncRelay(_, Some(set)) => {
                let forwards = forwards(set.forwards.iter().map(|(name, _)| name.as_str()));
                write!(
                    f,
                    "let the relay {} serve {forwards}",
                    set.location.in_words()
                )?;
                match set.forwards.first() {
                    Some((_, first)) => write!(f, " -> {}", first.connect_address),
                    None => Ok(()),
                }
            }
        }
    }
}

/// How many forwards have these names, each as often as it has ports.
fn forwards<'a>(names: impl Iterator<Item = &'a str>) -> String {
    counted(BTreeSet::from_iter(names).len(), "forward")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_file_is_not_printed() {
        let change = FileChange {
            path: "/x".into(),
            before: Some(b"old".to_vec()),
            after: b"secret".to_vec(),
            keys: vec!["A".to_owned()],
        };
        let text = format!("{:?}", Action::WriteNetworkFile(change));
        let words = r#"WriteNetworkFile(FileChange { path: "/x", bytes: 6, keys: ["A"], .. })"#;
        assert_eq!(text, words);
    }
}
