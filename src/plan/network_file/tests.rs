use super::*;
use crate::{
    config::settings,
    model::{LinkKind, Mode, ResolvConf, ResolvFile},
    plan::tests::machine::{Machine, planned},
};

fn outcome(machine: &Machine) -> Result<Option<String>, Code> {
    let (settings, seen) = (settings(""), machine.seen());
    let plan = planned(&settings, &seen, plan);
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
            let conf = ResolvConf::parse(b"nameserver 10.255.255.254\n");
            seen.resolver.file = ResolvFile::Read(conf);
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
fn ipv6_alone_has_plain_values() {
    let machine = Machine::new()
        .link("eth0", LinkKind::Other, 1500)
        .address("eth0", "2001:db8:0:1::5/64")
        .route("eth0", "fe80::1", 1024);
    let text = outcome(&machine).unwrap().unwrap();
    assert_eq!(
        stated(&text)[..3],
        [
            "WSL_IP=\"2001:db8:0:1::5\"",
            "WSL_NETWORK=\"2001:db8:0:1::/64\"",
            "WSL_GATEWAY=\"fe80::1\"",
        ]
    );
    // IPv4 comes, and every value is replaced.
    let both = with_file(machine.clone(), &text)
        .address("eth0", "192.168.1.9/24")
        .route("eth0", "192.168.1.1", 0);
    let text = outcome(&both).unwrap().unwrap();
    assert!(!text.contains("db8") && !text.contains("fe80"), "{text}");
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
fn a_file_without_a_key_of_ours_is_left_alone() {
    let of = |text| outcome(&with_file(Machine::nat(), text));
    for foreign in ["root:x:0:0:root:/root:/bin/sh\n", "# WSL_IP=1\n", "A=1\n"] {
        assert_eq!(of(foreign), Err(Code::NetworkFileUnreadable), "{foreign:?}");
    }
    for ours in ["", "\n \n", "A=1\nWSL_IP=\n"] {
        assert!(of(ours).is_ok_and(|text| text.is_some()), "{ours:?}");
    }
}

#[test]
fn a_file_that_cannot_be_understood_is_left_alone() {
    assert_eq!(
        outcome(&with_file(Machine::nat(), "A=\"open\nWSL_IP=1\n")),
        Err(Code::NetworkFileUnreadable)
    );
    assert_eq!(
        outcome(
            &Machine::nat().with(|seen| seen.network_file = NetworkFile::Unreadable("x".into()))
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
    let plan = planned(&settings, &seen, plan);
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

#[test]
fn of_several_devices_the_first_by_name_with_an_address() {
    let mesh = |machine: &Machine| {
        let text = outcome(machine).unwrap().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("MESH_"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let two = |first: &str, second: &str| {
        Machine::nat()
            .link(first, LinkKind::WireGuard, 1280)
            .link(second, LinkKind::WireGuard, 1280)
            .device("wg0", 51820, &[])
            .device("wg1", 51821, &[])
    };
    let address = |machine: Machine| {
        machine
            .address("wg0", "10.99.0.1/24")
            .address("wg1", "10.98.0.1/24")
    };
    let expected = mesh(&address(two("wg0", "wg1")));
    assert!(expected.contains(&"MESH_IP_WIREGUARD=\"10.99.0.1\"".to_owned()));
    assert!(expected.contains(&"MESH_PORT_WIREGUARD=\"51820\"".to_owned()));
    assert_eq!(mesh(&address(two("wg1", "wg0"))), expected, "made again");
    let later = mesh(&two("wg0", "wg1").address("wg1", "10.98.0.1/24"));
    assert!(later.contains(&"MESH_IP_WIREGUARD=\"10.98.0.1\"".to_owned()));
    assert!(later.contains(&"MESH_PORT_WIREGUARD=\"51821\"".to_owned()));
}
