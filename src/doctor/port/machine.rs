//! A port where all is right, for the tests to break.

use std::net::Ipv4Addr;

use super::facts::{Holder, Owner, PortFacts, Tested, served_by, way};
use crate::{
    config::{Settings, settings},
    model::{
        ForwardState, ForwardStatus, HealthEntry, Listen, Mode, ModeState, PortFirewall, PortOwner,
        Protocol, ProxyRule, Reach, Severity, Socket, WindowsConnect, WindowsEnd, WindowsPort,
    },
};

pub(super) const CONFIG: &str =
    "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n";
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(172, 28, 16, 5);
pub(super) const NETWORK: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 10);

pub(super) fn forwards() -> Settings {
    settings(CONFIG)
}

/// A port of this configuration as it is where all is right: served by the relay in NAT
/// mode, and a service that answers.
pub(super) fn of(settings: &Settings, protocol: Protocol, port: u16) -> PortFacts {
    let (listen_port, connect_port, forward) = way(settings, protocol, port.try_into().unwrap());
    let mode = ModeState::Known(Mode::Nat);
    let connect = |to, address, port: std::num::NonZeroU16| WindowsConnect {
        to,
        address,
        port: port.get(),
        code: 0,
        milliseconds: 3,
        closed: false,
    };
    PortFacts {
        served_by: served_by(settings, forward.as_ref(), &mode),
        protocol,
        listen_port,
        connect_port,
        status: None,
        others: Vec::new(),
        node: Ok(NODE.into()),
        holders: Ok(vec![holder("0.0.0.0", sshd(), connect_port.get())]),
        passes_on: false,
        here: (protocol == Protocol::Tcp).then_some(Reach::Answers),
        agent: true,
        health: Vec::new(),
        windows: Ok(WindowsPort {
            owners: Some(vec![owner("0.0.0.0", "wslmesh-relay", 5120)]),
            dynamic: Some(
                (49152.try_into().unwrap(), 65535.try_into().unwrap())
                    .try_into()
                    .unwrap(),
            ),
            rules: Some(Vec::new()),
            firewall: Some(PortFirewall {
                allows: vec!["wslmesh-relay".into()],
                profiles: vec!["private".into()],
                ..PortFirewall::default()
            }),
            allowed: Some(true),
            addresses: vec![NETWORK, [172, 28, 16, 1].into()],
            windows_address: Some(NETWORK),
            connects: Some(vec![
                connect(WindowsEnd::Guest, NODE.into(), connect_port),
                connect(
                    WindowsEnd::Listener,
                    Ipv4Addr::LOCALHOST.into(),
                    listen_port,
                ),
                connect(WindowsEnd::Network, NETWORK.into(), listen_port),
            ]),
            ..WindowsPort::default()
        }),
        forward,
        mode,
        tested: Tested::default(),
    }
}

pub(super) fn sshd() -> Owner {
    Owner::Process {
        name: "sshd".into(),
        id: 412,
        unit: Some("ssh.service".into()),
    }
}

pub(super) fn holder(address: &str, owner: Owner, port: u16) -> Holder {
    Holder {
        socket: Socket {
            protocol: Protocol::Tcp,
            address: address.parse().unwrap(),
            port,
            ipv6_only: false,
        },
        user: "root".into(),
        owner,
    }
}

pub(super) fn owner(address: &str, process: &str, id: u32) -> PortOwner {
    PortOwner {
        address: address.into(),
        process: process.into(),
        id,
    }
}

pub(super) fn rule(listen: (&str, u16), connect: (&str, u16), ours: bool) -> ProxyRule {
    ProxyRule {
        listen_address: listen.0.into(),
        listen_port: listen.1,
        connect_address: Some(connect.0.into()),
        connect_port: Some(connect.1),
        ours,
    }
}

pub(super) fn windows(facts: &mut PortFacts) -> &mut WindowsPort {
    facts.windows.as_mut().unwrap()
}

pub(super) fn unanswered(facts: &mut PortFacts, ends: &[WindowsEnd], code: u32) {
    for one in windows(facts).connects.iter_mut().flatten() {
        if ends.contains(&one.to) {
            one.code = code;
        }
    }
}

pub(super) fn nothing_listens(facts: &mut PortFacts) {
    facts.holders = Ok(Vec::new());
    facts.here = None;
}

pub(super) fn health(code: &str) -> HealthEntry {
    HealthEntry {
        code: code.into(),
        severity: Severity::Warning,
        subject: "ssh".into(),
        detail: "it did not start".into(),
        remediation: "Do that".into(),
    }
}

pub(in crate::doctor) fn status(distribution: &str) -> ForwardStatus {
    ForwardStatus {
        name: format!("{distribution}/web"),
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            listen_port: 8080.try_into().unwrap(),
        },
        connect_port: 80.try_into().unwrap(),
        connect_address: None,
        backend: None,
        ports: 1,
        state_ports: None,
        state: ForwardState::Up,
        distribution: Some(distribution.into()),
        owner: None,
        answers: None,
        unanswered: None,
        discovered: None,
    }
}
