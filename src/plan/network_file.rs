//! The generated network file.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Node,
    env_file::{EnvFile, Key, TEMPLATE, Value, Values},
};
use crate::{
    config::Settings,
    model::{
        Action, Code, FileChange, Finding, Link, ModeState, NetworkFile, Observation, Patterns,
        Plan,
    },
};

pub(super) fn plan(settings: &Settings, seen: &Observation, node: Option<&Node>) -> Plan {
    let mut plan = Plan::default();
    let before = match &seen.network_file {
        NetworkFile::Unreadable(why) => {
            plan.findings.push(Finding::new(
                Code::NetworkFileUnreadable,
                settings.config_file.display().to_string(),
                why.as_str(),
            ));
            return plan;
        }
        NetworkFile::Missing => None,
        NetworkFile::Content(content) => Some(content.as_slice()),
    };
    let file = match EnvFile::parse(before.unwrap_or(TEMPLATE.as_bytes())) {
        Ok(file) => file,
        Err(error) => {
            let path = settings.config_file.display();
            plan.findings.push(Finding::new(
                Code::NetworkFileUnreadable,
                path.to_string(),
                format!("{path}:{error}"),
            ));
            return plan;
        }
    };
    // Without an address the last one stays: a file that empties itself at
    // every flap would be worse for its readers.
    let Some(node) = node else { return plan };
    let mut values = values(settings, seen, node);
    match Value::name(node.link.name.as_str()) {
        Some(name) => drop(values.insert(Key::WslInterface, Some(name))),
        None => plan.findings.push(Finding::new(
            Code::NetworkFileName,
            node.link.name.as_str(),
            format!("{:?} is not written", node.link.name.as_str()),
        )),
    }
    let after = file.set(&values);
    if before != Some(after.as_slice()) {
        plan.actions.push(Action::WriteNetworkFile(FileChange {
            path: settings.config_file.clone(),
            before: before.map(<[u8]>::to_vec),
            after,
        }));
    }
    plan
}

fn values(settings: &Settings, seen: &Observation, node: &Node) -> Values {
    let mut values = Values::from([
        (Key::WslIp, Some(Value::from(IpAddr::V4(node.address())))),
        (
            Key::WslNetwork,
            Some(Value::from(IpNet::V4(node.net.trunc()))),
        ),
        (
            Key::WslGateway,
            node.gateway.map(|gateway| Value::from(IpAddr::V4(gateway))),
        ),
        (Key::WslMtu, Some(Value::from(node.link.mtu))),
        (Key::PrimaryDns, seen.dns.map(Value::from)),
        (
            Key::KeepaliveInterval,
            Some(Value::from(
                settings
                    .keepalive
                    .map_or(0, |keepalive| u32::from(keepalive.get())),
            )),
        ),
        (
            Key::MeshIpTailscale,
            address_of(seen, |link| tailscale().matches(&link.name)),
        ),
    ]);
    match &seen.mode {
        // The answer is on its way; what an earlier run wrote is still true
        // unless the answer says otherwise.
        ModeState::Pending => {}
        mode @ (ModeState::Known(_) | ModeState::Unknown(_)) => {
            drop(values.insert(Key::WslNetworkingMode, Value::name(&mode.to_string())))
        }
    }
    if let Some(windows) = seen.host.facts.windows_address {
        values.insert(Key::WindowsHostIp, Some(Value::from(IpAddr::V4(windows))));
    }
    let wireguard = seen
        .links
        .iter()
        .find(|link| link.kind.is_wireguard() && settings.wireguard_interfaces.matches(&link.name));
    values.insert(
        Key::MeshIpWireguard,
        wireguard.and_then(|device| address_of(seen, |link| link.index == device.index)),
    );
    match wireguard.map(|link| {
        seen.wireguard
            .get(&link.name)
            .and_then(|reading| reading.device())
    }) {
        // Not readable now: the port of a moment ago is the better guess.
        Some(None) => {}
        Some(Some(device)) => drop(values.insert(
            Key::MeshPortWireguard,
            device.listen_port.map(|port| Value::from(u32::from(port))),
        )),
        None => drop(values.insert(Key::MeshPortWireguard, None)),
    }
    values
}

fn tailscale() -> Patterns {
    Patterns::new(&["tailscale*"])
}

/// First address of the first such link, IPv4 before IPv6.
fn address_of(seen: &Observation, is: impl Fn(&Link) -> bool) -> Option<Value> {
    let link = seen.links.iter().find(|link| is(link))?;
    let mut addresses: Vec<IpAddr> = seen
        .addresses
        .iter()
        .filter(|address| address.link == link.index && address.global)
        .map(|address| address.net.addr())
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().map(|address| Value::from(*address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::settings,
        model::{LinkKind, Mode},
        plan::testing::Machine,
    };

    fn outcome(machine: &Machine) -> Result<Option<String>, Code> {
        let (settings, seen) = (settings(""), machine.seen());
        let node = super::super::node(&settings, &seen).ok();
        let plan = plan(&settings, &seen, node.as_ref());
        match (plan.actions.first(), plan.findings.first()) {
            (_, Some(finding)) => Err(finding.code),
            (Some(Action::WriteNetworkFile(change)), None) => {
                Ok(Some(String::from_utf8(change.after.clone()).unwrap()))
            }
            (Some(other), None) => panic!("{other}"),
            (None, None) => Ok(None),
        }
    }

    fn with_file(machine: Machine, text: &str) -> Machine {
        machine.with(|seen| seen.network_file = NetworkFile::Content(text.into()))
    }

    /// The lines that state something.
    fn stated(text: &str) -> Vec<&str> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty() && !line.ends_with("=\"\""))
            .collect()
    }

    #[test]
    fn a_new_file_comes_from_the_template() {
        let machine = Machine::nat()
            .link("wg0", LinkKind::WireGuard, 1280)
            .address("wg0", "fd00::7/64")
            .address("wg0", "10.99.0.1/24")
            .device("wg0", 51820, &[])
            .link("tailscale0", LinkKind::Tun, 1280)
            .address("tailscale0", "100.64.0.9/32")
            .with(|seen| {
                seen.dns = Some("10.255.255.254".parse().unwrap());
                seen.host.facts.windows_address = Some("192.168.50.10".parse().unwrap());
            });
        let text = outcome(&machine).unwrap().unwrap();
        assert!(text.starts_with("# wsl-network.conf"));
        assert_eq!(
            stated(&text),
            [
                "WSL_IP=\"172.28.16.5\"",
                "WSL_NETWORK=\"172.28.16.0/20\"",
                "WSL_GATEWAY=\"172.28.16.1\"",
                "WSL_MTU=\"1500\"",
                "WSL_INTERFACE=\"eth0\"",
                "WSL_NETWORKING_MODE=\"nat\"",
                "PRIMARY_DNS=\"10.255.255.254\"",
                "MESH_IP_TAILSCALE=\"100.64.0.9\"",
                "MESH_IP_WIREGUARD=\"10.99.0.1\"",
                "MESH_PORT_WIREGUARD=\"51820\"",
                "KEEPALIVE_INTERVAL=\"25\"",
                "WINDOWS_HOST_IP=\"192.168.50.10\"",
            ]
        );
        assert_eq!(
            outcome(&with_file(machine, &text)),
            Ok(None),
            "and then nothing is to do"
        );
    }

    #[test]
    fn what_is_not_known_is_left_or_emptied() {
        let full = outcome(
            &Machine::nat()
                .link("wg0", LinkKind::WireGuard, 1280)
                .device("wg0", 51820, &[]),
        )
        .unwrap()
        .unwrap();
        let has = |machine: Machine, line: &str| {
            let text = outcome(&with_file(machine, &full))
                .unwrap()
                .unwrap_or_else(|| full.clone());
            assert!(
                text.lines().any(|found| found == line),
                "{line} not in:\n{text}"
            );
        };
        has(
            Machine::nat().with(|seen| seen.mode = ModeState::Pending),
            "WSL_NETWORKING_MODE=\"nat\"",
        );
        has(
            Machine::nat().mode(Mode::Mirrored),
            "WSL_NETWORKING_MODE=\"mirrored\"",
        );
        has(
            Machine::nat().with(|seen| seen.mode = ModeState::Unknown("x".into())),
            "WSL_NETWORKING_MODE=\"unknown\"",
        );
        has(Machine::nat(), "MESH_PORT_WIREGUARD=\"\"");
        has(
            Machine::nat().link("wg0", LinkKind::WireGuard, 1280),
            "MESH_PORT_WIREGUARD=\"51820\"",
        );
        assert_eq!(
            outcome(&with_file(Machine::new(), &full)),
            Ok(None),
            "no address: the file stays"
        );
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_left_alone() {
        assert_eq!(
            outcome(&with_file(Machine::nat(), "A=\"open\nWSL_IP=1\n")),
            Err(Code::NetworkFileUnreadable)
        );
        assert_eq!(
            outcome(
                &Machine::nat()
                    .with(|seen| seen.network_file = NetworkFile::Unreadable("x".into()))
            ),
            Err(Code::NetworkFileUnreadable)
        );
    }

    #[test]
    fn an_unsafe_interface_name_is_never_written() {
        let machine = Machine::new()
            .link("e$(reboot)", LinkKind::Other, 1500)
            .address("e$(reboot)", "10.0.0.2/8")
            .route("e$(reboot)", "10.0.0.1", 0);
        let (settings, seen) = (settings(""), machine.seen());
        let node = super::super::node(&settings, &seen).ok();
        let plan = plan(&settings, &seen, node.as_ref());
        assert_eq!(
            plan.findings.first().map(|finding| finding.code),
            Some(Code::NetworkFileName)
        );
        let Some(Action::WriteNetworkFile(change)) = plan.actions.first() else {
            panic!("no write")
        };
        let text = String::from_utf8(change.after.clone()).unwrap();
        assert!(text.contains("WSL_IP=\"10.0.0.2\"") && !text.contains("reboot"));
    }
}
