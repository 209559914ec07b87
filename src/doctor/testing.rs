//! A described machine for the tables of the checks: WSL 2 in NAT mode with an
//! agent that is well and a tunnel, where every check is content.

use crate::{
    config::settings,
    doctor::{
        Check, Grade,
        facts::{Facts, Systemd, Text, UnitState, Units, Wsl},
        ini::Ini,
        sockets::Socket,
    },
    model::{
        Address, DefaultRoute, Device, DeviceReading, HostMemory, InterfaceName, Link, LinkKind,
        Mode, ModeState, NetworkFile, Observation, Protocol, PublicKey, SysctlReading,
    },
    report::{Document, HealthEntry},
};

pub(super) fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

/// The configuration of the machine.
pub(super) const CONFIG: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n\
     [[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 41820\n";

pub(super) fn healthy() -> Facts {
    let mut facts = Facts {
        wsl: Wsl {
            is: true,
            release: "6.6.87.2-microsoft-standard-WSL2".into(),
            version: Some("2.6.1.0".into()),
        },
        settings: Ok(settings(CONFIG)),
        seen: Ok(seen()),
        agent: Some(document(&[])),
        systemd: Systemd {
            running: true,
            units: Ok(units()),
        },
        wsl_conf: Text::Content(Ini::parse("[boot]\nsystemd=true\n")),
        sockets: Text::Content(vec![
            socket(Protocol::Tcp, "0.0.0.0", 22),
            socket(Protocol::Udp, "0.0.0.0", 41820),
        ]),
        sysctls: [("net.ipv4.tcp_mtu_probing", "1".to_owned())].into(),
    };
    let settings = settings(CONFIG);
    facts.change(|seen| {
        seen.sysctls = settings
            .sysctls
            .iter()
            .map(|(key, value)| {
                let value = SysctlReading::Value {
                    value: value.clone(),
                    writable: true,
                };
                (key.clone(), value)
            })
            .collect();
    });
    facts.write_file();
    facts
}

pub(super) fn socket(protocol: Protocol, address: &str, port: u16) -> Socket {
    Socket {
        protocol,
        address: address.parse().unwrap(),
        port,
    }
}

fn units() -> Units {
    Units {
        states: [("wslmesh.service".to_owned(), unit("active", "enabled"))].into(),
        failed: Vec::new(),
    }
}

pub(super) fn unit(active: &str, file: &str) -> UnitState {
    UnitState {
        active: active.into(),
        file: file.into(),
    }
}

/// A status document with these findings: code and severity.
pub(super) fn document(health: &[(&str, &str)]) -> Document {
    let text = r#"{"version":1,"pid":1,"role":"active","mode":"nat","interface":"eth0","address":"172.28.16.5",
        "gateway":"172.28.16.1","network-file":"/etc/wslmesh/wsl-network.conf","forwards":null,
        "windows-address":null,"passes":3,"last-pass-us":900,"health":[]}"#;
    let mut document: Document = serde_json::from_str(text).unwrap();
    document.health = health
        .iter()
        .map(|(code, severity)| HealthEntry {
            code: (*code).to_owned(),
            severity: (*severity).to_owned(),
            subject: "x".into(),
            detail: "it broke".into(),
            cure: "Mend it".into(),
        })
        .collect();
    document
}

fn seen() -> Observation {
    let link = |index, link: &str, kind, mtu| Link {
        index,
        name: name(link),
        kind,
        mtu,
        guid: None,
    };
    Observation {
        links: vec![
            link(1, "lo", LinkKind::Loopback, 65536),
            link(2, "eth0", LinkKind::Other, 1500),
            link(3, "wg0", LinkKind::WireGuard, 1280),
        ],
        addresses: vec![
            address(1, "127.0.0.1/8"),
            address(1, "10.255.255.254/32"),
            address(2, "172.28.16.5/20"),
            address(3, "10.99.0.1/24"),
        ],
        routes: vec![route(2, 0)],
        mode: ModeState::Known(Mode::Nat),
        network_file: NetworkFile::Missing,
        dns: Some("10.255.255.254".parse().unwrap()),
        sysctls: Default::default(),
        wireguard: [(name("wg0"), DeviceReading::Device(device(41820, 25)))].into(),
        host: HostMemory::default(),
    }
}

/// A device with one peer.
pub(super) fn device(port: u16, keepalive: u16) -> Device {
    Device {
        listen_port: Some(port),
        peers: [(PublicKey::new([1; 32]), keepalive)].into(),
    }
}

pub(super) fn address(link: u32, net: &str) -> Address {
    Address {
        link,
        net: net.parse().unwrap(),
        global: !net.starts_with("127."),
        secondary: false,
    }
}

pub(super) fn route(link: u32, metric: u32) -> DefaultRoute {
    DefaultRoute {
        link,
        gateway: Some("172.28.16.1".parse().unwrap()),
        source: None,
        metric,
    }
}

impl Facts {
    /// Changes the network.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Observation)) {
        change(self.seen.as_mut().unwrap());
    }

    /// Writes the network file as the agent would.
    pub(super) fn write_file(&mut self) {
        let after = self.plan().unwrap().actions.into_iter().find_map(|action| {
            if let crate::model::Action::WriteNetworkFile(change) = action {
                Some(change.after)
            } else {
                None
            }
        });
        if let Some(after) = after {
            self.change(|seen| seen.network_file = NetworkFile::Content(after));
        }
    }

    /// No WSL: the same machine elsewhere.
    pub(super) fn elsewhere(&mut self) {
        self.wsl.is = false;
        self.wsl.release = "6.12.1".into();
        self.wsl.version = None;
        self.change(|seen| seen.mode = ModeState::Known(Mode::NotWsl));
        self.write_file();
    }
}

/// One row of a table: what is done to the healthy machine, how the check then
/// ends, and a part of what it says.
pub(super) type Row<'a> = (&'a str, fn(&mut Facts), Grade, &'a str);

/// Holds a check to its table, and to being content with the healthy machine.
pub(super) fn table(check: Check, rows: &[Row]) {
    let before = check.run(&healthy());
    assert!(
        before.grade <= Grade::Ok,
        "{} on the healthy machine: {before:?}",
        check.id()
    );
    for (case, change, grade, part) in rows {
        let mut facts = healthy();
        change(&mut facts);
        let verdict = check.run(&facts);
        assert_eq!(verdict.grade, *grade, "{}: {case}: {verdict:?}", check.id());
        assert!(
            verdict.detail.contains(part),
            "{}: {case}: {verdict:?} lacks {part:?}",
            check.id()
        );
    }
}

#[test]
fn every_check_is_content_with_the_healthy_machine() {
    for (check, verdict) in super::examine(&healthy(), &[]) {
        assert_eq!(verdict.grade, Grade::Ok, "{}: {verdict:?}", check.id());
    }
}

#[test]
fn no_check_is_troubled_where_nothing_can_be_read() {
    let mut facts = healthy();
    facts.settings = Err("x".into());
    facts.seen = Err("x".into());
    facts.systemd.units = Err("x".into());
    facts.sockets = Text::Unreadable("x".into());
    facts.sysctls.clear();
    facts.wsl.is = false;
    for (check, verdict) in super::examine(&facts, &[]) {
        if check != Check::Configuration {
            assert!(!verdict.grade.is_trouble(), "{}: {verdict:?}", check.id());
        }
    }
}
