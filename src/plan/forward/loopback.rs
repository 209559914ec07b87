//! Services that listen on loopback alone, in NAT mode. What Windows sends comes to this
//! distribution's own address, where such a service does not listen: a second relay takes it
//! there and leads to loopback.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{Decision, relay};
use crate::{
    config::{Forward, Settings},
    model::{
        Admit, Code, Finding, ForwardState, Listen, Node, Observation, RelayForward, RelayLocation,
    },
};

/// Where the relay in the guest takes what is for this forward's port in here.
pub(super) fn listen(forward: &Forward, node: &Node) -> Listen {
    Listen {
        protocol: forward.protocol,
        listen_address: node.address(),
        listen_port: forward.connect_port.first(),
    }
}

/// Adds the second relay to what NAT mode has decided, one status for each forward.
pub(super) fn behind_windows(
    decision: &mut Decision,
    settings: &Settings,
    seen: &Observation,
    node: &Node,
) {
    let mut relayed = Vec::<relay::Named>::new();
    // By their places: there may be a thousand.
    let mut places = BTreeMap::new();
    for (forward, status) in settings.forwards.iter().zip(&mut decision.forwards) {
        let connect_address = forward.connect_address.filter(|_| status.backend.is_some());
        let Some(connect_address) = connect_address.map(IpAddr::from) else {
            continue;
        };
        let at = listen(forward, node);
        let other = places.get(&at);
        if let Some((other, _)) = other.filter(|(_, to)| *to != connect_address) {
            status.state = ForwardState::Down;
            let text = format!("forward {other:?} leads {at} to another loopback address");
            let finding = Finding::new(Code::ForwardTaken, forward.name.as_str(), text);
            decision.findings.push(finding);
            continue;
        }
        if other.is_none() {
            places.insert(at, (&forward.name, connect_address));
            let relay = RelayForward {
                listen: at,
                connect_address,
                connect_port: forward.connect_port.first(),
                // Windows alone, whose own relay or firewall has admitted the client.
                admit: windows(node).map_or(Admit::Host, Admit::Behind),
                // The first relay writes it, who knows the client.
                proxy_protocol: None,
            };
            relayed.push((forward.name.clone(), relay));
        }
        let (inner, finding) =
            relay::judge(forward, at, &RelayLocation::Guest, &seen.host.loopback);
        status.state = status.state.max(inner.state);
        decision.findings.extend(finding);
    }
    // A forward that does not ask for loopback, and comes to it by the port of one that does.
    for (forward, status) in settings.forwards.iter().zip(&decision.forwards) {
        let at = listen(forward, node);
        let is_plain = forward.connect_address.is_none() && status.backend.is_some();
        if let Some((other, to)) = places.get(&at).filter(|_| is_plain) {
            let text = format!(
                "{} leads into the listener of forward {other:?} ({at}), and by it to {to}",
                super::listen(forward)
            );
            let finding = Finding::new(Code::ForwardChain, forward.name.as_str(), text);
            decision.findings.push(finding);
        }
    }
    decision.loopback = relay::set(Some(RelayLocation::Guest), relayed);
}

/// Windows' address in WSL's network: the gateway. Where another program has taken the default
/// route, as a VPN may, it is the first address of the subnet, which Windows has there unless
/// its registry says otherwise (`NatGatewayIpAddress` of HKLM\SOFTWARE\Microsoft\Windows\
/// CurrentVersion\Lxss): then it is refused, and no other is let in.
fn windows(node: &Node) -> Option<IpAddr> {
    let first = match node.net {
        IpNet::V4(net) => net.hosts().next().map(IpAddr::V4),
        IpNet::V6(_) => None,
    };
    node.gateway.or(first)
}
