//! What the guest's side of the tunnel to Windows says of itself.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
pub use wslmesh_relay::link::{Counters as TunnelCounters, Forward as TunnelForward};
use wslmesh_relay::protocol::Listener;

use super::Code;

/// The state of the tunnel, as `wslmesh tunnel run` writes it. Fields may be added within a
/// version, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TunnelState {
    /// [`TunnelState::VERSION`].
    pub version: u32,
    /// The process that wrote it.
    pub pid: u32,
    /// Whether packets pass: the switch answers, and the routes are there.
    pub up: bool,
    /// Since when it is up or down, in seconds since 1970.
    pub since_unix: u64,
    /// The version of the switch's program; empty before its first answer.
    pub switch: String,
    /// Whether the switch's machine has IPv6.
    pub ipv6: bool,
    /// By what packets go; absent while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<TunnelWay>,
    /// Why they go by the standard streams; absent while another way is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_reason: Option<String>,
    /// The link's addresses with their prefixes.
    pub addresses: Vec<String>,
    /// The name servers whose addresses lead through the tunnel.
    pub nameservers: Vec<IpAddr>,
    /// Those of which only port 53 does, because they are this machine's gateway as well.
    pub nameservers_by_port: Vec<IpAddr>,
    /// How often the switch was started again since the process started.
    pub restarts: u32,
    /// Why the switch was started again last, or why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The health code of that, as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_code: Option<String>,
    /// The counters of the switch that runs, at most 5 s old while packets pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<TunnelCounters>,
}

/// Which forwards the switch listens for, and why not for others.
pub type TunnelListeners = Vec<Listener>;

/// What the agent sends the tunnel's process, in a line of JSON: the whole list each time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelOrder {
    /// The forwards that the configuration wants.
    pub forwards: Vec<TunnelForward>,
}

/// What the tunnel's process answers, in a line of JSON, and again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelAnswer {
    /// `None` while no switch has answered.
    pub listeners: Option<TunnelListeners>,
}

/// Longest line of an order, in bytes: a thousand forwards have less.
pub const TUNNEL_MAX_ORDER: u64 = 512 << 10;

/// A socket of the tunnel's process; `runtime` is its own runtime directory or the agent's.
#[must_use]
pub fn tunnel_socket(runtime: &Path, name: &str) -> PathBuf {
    runtime.with_file_name("wslmesh-tunnel").join(name)
}

/// By what packets of the tunnel go to its switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelWay {
    /// The switch's standard input and output.
    StandardStreams,
    /// A socket between a virtual machine and its host.
    Vsock,
    /// A Unix socket.
    UnixSocket,
}

impl fmt::Display for TunnelWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StandardStreams => "standard streams",
            Self::Vsock => "vsock",
            Self::UnixSocket => "Unix socket",
        })
    }
}

impl TunnelState {
    /// The version of this form.
    pub const VERSION: u32 = 1;

    /// The health code of the last failure; `None` where there was none, or this version does
    /// not know it.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        let word = self.last_code.as_deref()?;
        Code::ALL.iter().copied().find(|code| code.as_str() == word)
    }
}
