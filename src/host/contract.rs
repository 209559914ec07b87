//! What the agent and `refresh.ps1` say to each other: one JSON request on the
//! script's standard input, one JSON answer on its standard output.
//!
//! Everything that comes back is untrusted text of another system. It is checked
//! here once; past [`Answer::parse`] addresses are addresses, ports are ports,
//! paths are plain paths of a drive, and free text is short and has no control
//! characters, so that it may go to a journal.

use std::{net::Ipv4Addr, num::NonZeroU16};

use serde::{Deserialize, Deserializer, Serialize};

use super::json::{AnswerError, object};
use crate::interop::Output;
use crate::model::{DrivePath, DynamicPorts, GuestFirewall, Listen, PlainText, Protocol, RuleSet};

/// The version of what an installation leaves on Windows: files, policy, rules. Version 1
/// (wslmesh 0.1.0) had TCP served by the port proxy.
pub const CONTRACT: u32 = 2;

/// One call of the script: the whole wanted state, never a difference. Without
/// forwards all rules of ours are withdrawn, table and firewall.
#[derive(Debug, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(super) enum Request<'a> {
    /// Makes our rules equal to the wanted ones.
    Sync(&'a RuleSet),
    /// The same, and asks for the ports that Windows hands out by itself, which takes netsh
    /// up to 2 s for each protocol.
    SyncAndPorts(&'a RuleSet),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All wanted rules without a conflict are installed, as read back.
    Synced,
    /// Reading back found something else than was wanted; `detail` says what, or the firewall's does.
    Partial,
    /// A port proxy rule must change, the Windows process lacks administrator rights, and no
    /// task may do it: nothing was changed.
    NotElevated,
    /// The Windows service iphlpsvc, which does the forwarding, is not running: nothing was changed.
    ServiceStopped,
    /// The script refused the request; `detail` names the field.
    InvalidRequest,
    /// Something went wrong on Windows; `detail` names the step.
    Failed,
    /// The installed task is missing, disabled or could not be started.
    TaskFailed,
    /// The installed task was started and gave no answer in time.
    TaskTimeout,
    /// The task could not determine the guest's address: WSL's registry values are missing
    /// or unusable. Rules that lead to it stay as they were; all else was done.
    GuestAddressUnknown,
    /// A later request of the same Windows user took the place of this one.
    Superseded,
    /// What is installed speaks another version of the contract.
    OtherVersion,
}

/// One rule of ours, as read back from Windows' table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// The Windows address that is listened on; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The Windows port that is listened on.
    pub listen_port: NonZeroU16,
    /// Where connections are led to.
    pub connect_address: Ipv4Addr,
    /// The port that connections are led to.
    pub connect_port: NonZeroU16,
}

/// Another tool's rule that has an address and port where we want to listen. Its target is whatever
/// that tool wrote: netsh takes host names, and the registry takes anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Conflict {
    /// The Windows address that is taken; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The Windows port that is taken.
    pub listen_port: NonZeroU16,
    /// An IPv4 address or a host name, as plain text; none where it could not be read.
    pub connect_address: Option<PlainText>,
    /// The port it leads to; none where it could not be read.
    pub connect_port: Option<NonZeroU16>,
}

/// Where a rule of the port proxy listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listener {
    /// The Windows address that is listened on; 0.0.0.0 means all.
    pub listen_address: Ipv4Addr,
    /// The Windows port that is listened on.
    pub listen_port: NonZeroU16,
}

/// A port that a rule about to be made needs and cannot have; the rule was not made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Taken {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address that was tried.
    pub listen_address: Ipv4Addr,
    /// The port that was tried.
    pub listen_port: NonZeroU16,
    /// Why it cannot be had.
    pub kind: TakenKind,
    /// The program and its process number as plain text, where Windows names it.
    pub owner: Option<PlainText>,
}

impl Taken {
    /// Where a rule would have listened.
    pub(super) fn listen(&self) -> Listen {
        Listen {
            protocol: self.protocol,
            listen_address: self.listen_address.into(),
            listen_port: self.listen_port,
        }
    }
}

/// Why a port cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenKind {
    /// Another program listens there (WSAEADDRINUSE, 10048).
    InUse,
    /// Windows keeps it: an excluded range, or a program that does not share
    /// (WSAEACCES, 10013).
    Forbidden,
}

/// A forward that the installed policy does not cover; it was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refused {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Windows' port.
    pub listen_port: NonZeroU16,
    /// The guest's port.
    pub connect_port: NonZeroU16,
    /// Why.
    pub reason: PolicyGap,
}

/// The ports of a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ports {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Windows' port.
    pub listen_port: NonZeroU16,
    /// The guest's port.
    pub connect_port: NonZeroU16,
}

/// Why a policy does not cover a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyGap {
    /// No grant holds its ports.
    OutsidePolicy,
    /// Its grant has another listen address.
    ListenAddress,
    /// Its grant's firewall lets in fewer; for the port proxy and the guest also: more.
    Firewall,
    /// Its grant is for another backend.
    Backend,
}

/// The result for the firewall's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FirewallAnswer {
    /// How it ended.
    pub state: FirewallState,
    /// More about it, as plain text.
    pub detail: Option<PlainText>,
    /// Rules made.
    pub added: u32,
    /// Rules of ours taken away.
    pub removed: u32,
    /// Rules of ours that were installed already.
    pub kept: u32,
    /// Enabled inbound Block rules that beat ours, by name, as plain text.
    pub blocks: Vec<PlainText>,
    /// The profiles of Windows' networks now, as plain text.
    pub profiles: Vec<PlainText>,
    /// Whether our rules hold in all of them.
    pub covered: bool,
    /// Rules among those made that were ours and lost, as plain text. The task of an earlier
    /// version does not say.
    #[serde(default)]
    pub restored: Vec<PlainText>,
    /// Which firewall has the rules for guests; none in NAT mode.
    #[serde(default)]
    pub guest: Option<GuestFirewall>,
}

/// How the firewall's part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirewallState {
    /// The wanted rules are installed, as read back; `detail` says why they may have no
    /// effect, or what else is wrong.
    Done,
    /// They are not; `detail` says which step.
    Failed,
}

/// What `wslmesh host install` left on Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installed {
    /// The package's version, as plain text.
    pub version: PlainText,
    /// The version of the contract that the installed script speaks.
    pub contract: u32,
    /// The relay's program; none where it is missing.
    #[serde(default, deserialize_with = "drive_path")]
    pub relay: Option<DrivePath>,
    /// Whether a policy of Windows (AppLocker, Smart App Control) kept it from being started
    /// at the installation, which then left the port proxy in its place.
    #[serde(default)]
    pub relay_forbidden: bool,
}

/// The connected Windows interface whose IPv4 MTU is the lowest: WSL gives the
/// guest's eth0 the same value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LowestMtu {
    /// The interface's alias, as plain text.
    pub name: PlainText,
    /// Bytes.
    pub mtu: u32,
}

/// What the script reported. Fields that a newer script may add are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// How the call ended.
    pub state: State,
    /// More about it for a person, in any language, as plain text.
    pub detail: Option<PlainText>,
    /// Whether the Windows process has administrator rights.
    pub elevated: bool,
    /// Our port proxy rules as read back from the registry.
    pub rules: Vec<Rule>,
    /// Rules that this call made or re-pointed.
    pub added: u32,
    /// Rules of ours that this call took away.
    pub removed: u32,
    /// Wanted rules that were installed already; where a call changes nothing, all rules of ours.
    pub kept: u32,
    /// Rules among those made that the ledger had as ours and Windows had lost, as after
    /// `netsh interface portproxy reset`. The task of an earlier version does not say.
    #[serde(default)]
    pub restored: Vec<Listener>,
    /// Rules of other tools that conflict, left untouched.
    pub conflicts: Vec<Conflict>,
    /// Ports that new rules need and cannot have.
    pub taken: Vec<Taken>,
    /// Forwards that the installed policy does not cover.
    pub refused: Vec<Refused>,
    /// Forwards of the relay whose own firewall lets in fewer than their grant's.
    #[serde(default)]
    pub narrower: Vec<Ports>,
    /// Where the relay should listen, and nothing does.
    #[serde(default)]
    pub silent: Vec<Listen>,
    /// The firewall's part; none where it may not be changed.
    pub firewall: Option<FirewallAnswer>,
    /// What is installed on Windows for this user.
    pub installed: Option<Installed>,
    /// The user's %LOCALAPPDATA%.
    #[serde(default, deserialize_with = "drive_path")]
    pub local_app_data: Option<DrivePath>,
    /// The guest's address as the elevated task found it; none when no task ran.
    pub guest_address: Option<Ipv4Addr>,
    /// Windows' own IPv4 address on its default route, where it is known.
    pub windows_address: Option<Ipv4Addr>,
    /// The interface that lowers the guest's MTU, where it is known.
    pub lowest_mtu: Option<LowestMtu>,
    /// The ports that Windows hands out by itself, where they were asked for. The script of an
    /// earlier version does not know them.
    #[serde(default)]
    pub dynamic: Option<DynamicPorts>,
}

/// A path of a drive, or nothing: a redirected folder may be on a share, where
/// the relay cannot be unpacked, and the rest of the answer is as good as ever.
fn drive_path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DrivePath>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| DrivePath::new(&text).ok()))
}

impl Answer {
    /// Reads what the script printed. A byte order mark and white space around the
    /// object are passed over.
    ///
    /// # Errors
    /// Anything but exactly one answer of this contract's version; each way to
    /// fail has its own [`AnswerError`].
    pub fn parse(output: &Output) -> Result<Self, AnswerError> {
        object(output)
    }
}

#[cfg(test)]
mod tests;
