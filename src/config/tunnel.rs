//! `[tunnel]`: when the agent starts the tunnel.

use serde::{Deserialize, Serialize};

/// When the network leads through the tunnel to Windows instead of through Windows' NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelWhen {
    /// The agent starts none; `wslmesh tunnel up` does.
    #[default]
    Never,
    /// While neither the gateway nor a name server behind it answers, in NAT mode.
    NatBroken,
    /// Always, in every networking mode.
    Always,
}
