//! Windows' NAT as a look from the guest has found it, and what that means for the tunnel.

use std::{fmt, net::IpAddr};

use super::{InterfaceName, some_of};

/// The link of the tunnel to Windows.
pub const TUNNEL_LINK: &str = "wslmesh0";

/// Where packets leave this machine without the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// Index of the link.
    pub index: u32,
    /// Its name.
    pub link: InterfaceName,
    /// The gateway.
    pub gateway: IpAddr,
}

/// Whether the gateway answers the kernel's solicitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayAnswer {
    /// It does.
    Answers,
    /// It does not.
    Silent,
    /// That cannot be said, with the reason.
    Unknown(String),
}

/// What a look at NAT has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatLook {
    /// Where it looked.
    pub underlay: Underlay,
    /// What the gateway did.
    pub gateway: GatewayAnswer,
    /// The name servers behind it that were queried, or itself where there is none, and
    /// whether each answered, with whatever answer.
    pub servers: Vec<(IpAddr, bool)>,
}

/// What a look says of NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatState {
    /// Something behind the link answers.
    Works,
    /// Neither the gateway nor a name server does.
    Broken,
    /// Neither is certain.
    Unclear,
}

impl NatLook {
    /// One that found out nothing, for this reason.
    #[must_use]
    pub fn unknown(underlay: Underlay, why: String) -> Self {
        Self {
            underlay,
            gateway: GatewayAnswer::Unknown(why),
            servers: Vec::new(),
        }
    }

    /// Both have to fail: Windows' firewall may drop either.
    #[must_use]
    pub fn state(&self) -> NatState {
        match &self.gateway {
            _ if self.servers.iter().any(|(_, answers)| *answers) => NatState::Works,
            GatewayAnswer::Answers => NatState::Works,
            GatewayAnswer::Silent => NatState::Broken,
            GatewayAnswer::Unknown(_) => NatState::Unclear,
        }
    }
}

impl fmt::Display for NatLook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Underlay { link, gateway, .. } = &self.underlay;
        match &self.gateway {
            GatewayAnswer::Answers => write!(f, "the gateway {gateway} answers on {link}")?,
            GatewayAnswer::Silent => write!(f, "the gateway {gateway} does not answer on {link}")?,
            GatewayAnswer::Unknown(why) => {
                write!(
                    f,
                    "whether the gateway {gateway} answers on {link} is unknown ({why})"
                )?;
            }
        }
        let mut servers = self.servers.iter();
        if let Some((server, _)) = servers.find(|(_, answers)| *answers) {
            return write!(f, ", and the name server {server} answers there");
        }
        let servers = self.servers.iter().map(|(server, _)| server.to_string());
        match some_of(servers) {
            _ if self.servers.is_empty() => Ok(()),
            silent => write!(f, ", and no name server answers there ({silent})"),
        }
    }
}

/// Why the agent has the tunnel up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelReason {
    /// `[tunnel] when = "always"`.
    Always,
    /// NAT is broken.
    NatBroken,
}

impl fmt::Display for TunnelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "[tunnel] when = \"always\"",
            Self::NatBroken => "Windows' NAT is broken",
        })
    }
}
