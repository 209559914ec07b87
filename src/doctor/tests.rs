//! A described machine for the tables of the checks: WSL 2 in NAT mode with a running
//! agent and a tunnel, where every check passes.

mod page;

use std::{collections::BTreeMap, fs};

use super::read::Root;
use crate::{
    config::settings,
    doctor::{
        CHECKS, Check, Verdict,
        facts::{
            Disk, Facts, Guarded, Interop, Kernel, Limits, Local, OpenFiles, Pollers, Pressure,
            Process, Secrecy, UnitState, UnitTasks, Units, Used,
        },
    },
    interop::{Drives, ini::Ini},
    model::{
        Address, DefaultRoute, Device, DeviceReading, DnsAnswer, GatewayAnswer, HealthEntry,
        HostMemory, IdleTimeouts, InterfaceName, Link, LinkKind, Mode, ModeState, NatLook,
        NetworkFile, Observation, Peer, PeerState, Protocol, PublicKey, Reply, ResolvConf,
        ResolvFile, Resolver, Socket, SysctlReading, Underlay,
    },
    observe::{DnsCheck, Drift, Machine},
    report::{ClockHistory, Document, PeerEntry, WireguardEntry},
};

pub(super) fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

/// The check of this name.
pub(crate) fn check(id: &str) -> &'static Check {
    CHECKS.iter().find(|check| check.id == id).unwrap()
}

/// A root with these files, by path and text.
pub(super) fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root(folder.path().to_owned());
    for (path, text) in files {
        write(&root, path, text);
    }
    (folder, root)
}

/// Writes a file below a root.
pub(super) fn write(root: &Root, path: &str, text: &str) {
    let path = root.at(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Its clock.
const NOW: u64 = 1_800_000_000;

/// The configuration of the machine.
pub(super) const CONFIG: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n\
     [[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 41820\n";

pub(super) fn healthy() -> Facts {
    let mut facts = Facts {
        root: true,
        now_unix: NOW,
        wsl: true,
        wsl_version: Some("2.6.1.0".into()),
        settings: Ok(settings(CONFIG)),
        observation: Ok(observation()),
        nat: Some(nat_look(GatewayAnswer::Answers, true)),
        peers: vec![WireguardEntry {
            device: "wg0".into(),
            listen_port: Some(41820),
            peers: vec![peer(Some(NOW - 30), true, 25)],
            error: None,
        }],
        clock_history: ClockHistory::default(),
        agent: Some(document(&[])),
        units: Ok(units()),
        wslconfig: Ok(Some(Ini::wslconfig(
            "[general]\ninstanceIdleTimeout=-1\n".as_bytes(),
        ))),
        idle: Ok(IdleTimeouts {
            instance_ms: Some(-1),
            ..IdleTimeouts::default()
        }),
        wslconfig_near: Vec::new(),
        installed: false,
        windows_disk: Some((
            "/mnt/c".into(),
            Disk {
                total: 500_000,
                available: 90_000,
                ..Disk::default()
            },
        )),
        interop: Ok(Interop {
            entry: Some(("WSLInterop".into(), true)),
            init: true,
            way: Ok("/mnt/c/powershell.exe by /run/WSL/1_interop".into()),
            named: None,
        }),
        local: Ok(local()),
    };
    let settings = settings(CONFIG);
    facts.change(|observation| {
        observation.sysctls = settings
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

/// C: at /mnt/c and D: elsewhere, as by fstab.
const DRIVES: &str = "90 72 0:46 / /mnt/c rw - 9p C:\\134 rw,aname=drvfs;path=C:\\134\n\
    91 72 0:47 / /srv/d rw - 9p D: rw,aname=drvfs;path=D:\n";

fn local() -> Local {
    Local {
        release: "6.6.87.2-microsoft-standard-WSL2".into(),
        systemd: true,
        wsl_conf: Ok(Some(Ini::wsl_conf("[boot]\nsystemd=true\n".as_bytes()))),
        wsl_conf_near: Vec::new(),
        routes: vec![("eth0".into(), "172.28.16.0/20".parse().unwrap())],
        sockets: Ok(vec![
            socket(Protocol::Tcp, "0.0.0.0", 22),
            socket(Protocol::Udp, "0.0.0.0", 41820),
        ]),
        passes_on: false,
        legacy_nat: Ok(false),
        mtu_probing: Some("1".into()),
        watches: Some("524288".into()),
        dns: DnsCheck {
            resolver: resolver(),
            answer: DnsAnswer::Asked {
                server: [10, 255, 255, 254].into(),
                udp: Reply::Code(0, false),
                tcp: Reply::Code(0, false),
                took_us: 900,
            },
        },
        drift: Drift {
            host: Ok(12),
            rtc: None,
        },
        follows: Some(true),
        drives: Drives::of(DRIVES.as_bytes(), b"", |_| None),
        processes: vec![Process {
            name: "sshd".into(),
            arguments: "sshd -D".into(),
            folder: Some("/".into()),
            program: Some("/usr/sbin/sshd".into()),
            service: Some("ssh.service".into()),
            files: None,
            open: Some(OpenFiles {
                count: 7,
                limit: 1024,
            }),
        }],
        data_root: None,
        guarded: vec![
            guarded("/etc/wslmesh", Secrecy::OwnFolder, 0o755),
            guarded("/root/.ssh/id_ed25519", Secrecy::Secret, 0o600),
        ],
        hidden_keys: Vec::new(),
        pollers: Pollers::default(),
        memory: Some(Machine {
            memory: 8000,
            available: 6000,
            swap: 2000,
            swap_free: 2000,
            processors: Some(8),
        }),
        disk: Some(Disk {
            total: 250_000,
            available: 200_000,
            inodes: 1_000_000,
            inodes_free: 900_000,
        }),
        pressure: Some(Pressure {
            some_60: 0.2,
            some_300: 0.1,
            full_60: 0.1,
        }),
        oom_kills: Some(0),
        limits: Limits {
            files: used(2048, u64::MAX >> 1),
            tasks: used(300, 32_768),
            connections: used(40, 65_536),
            units: vec![UnitTasks {
                name: "ssh.service".into(),
                tasks: Used {
                    used: 1,
                    most: 4915,
                },
                refused: 0,
            }],
        },
        kernel: Kernel {
            wireguard: Some("loaded"),
            userspace: None,
            tun: true,
            bridge_filter: true,
            modules: true,
        },
    }
}

/// As WSL has it by default.
/// A look at Windows' NAT.
pub(super) fn nat_look(gateway: GatewayAnswer, answers: bool) -> NatLook {
    let address = [172, 28, 16, 1].into();
    NatLook {
        underlay: Underlay {
            index: 2,
            link: name("eth0"),
            gateway: address,
        },
        gateway,
        servers: vec![(address, answers)],
    }
}

fn resolver() -> Resolver {
    Resolver {
        file: ResolvFile::Read(ResolvConf::parse(b"nameserver 10.255.255.254\n")),
        link: Some("/mnt/wsl/resolv.conf".into()),
        immutable: false,
    }
}

pub(super) fn socket(protocol: Protocol, address: &str, port: u16) -> Socket {
    Socket {
        protocol,
        address: address.parse().unwrap(),
        port,
        ipv6_only: false,
    }
}

fn used(used: u64, most: u64) -> Option<Used> {
    Some(Used { used, most })
}

fn guarded(path: &str, secrecy: Secrecy, mode: u32) -> Guarded {
    Guarded {
        path: path.into(),
        real: path.into(),
        secrecy,
        state: Some((0, mode)),
    }
}

/// A peer whose key begins with AQEBAQEB.
pub(super) fn peer(handshake: Option<u64>, endpoint: bool, keepalive: u16) -> PeerEntry {
    PeerEntry {
        public_key: PublicKey::new([1; 32]).base64(),
        endpoint: endpoint.then(|| "192.0.2.1:51820".parse().unwrap()),
        keepalive,
        latest_handshake_unix: handshake,
        state: PeerState::default(),
        received_bytes: 0,
        sent_bytes: 0,
    }
}

fn units() -> Units {
    let running = ["wslmesh.service", "tailscaled.service"];
    Units {
        states: running
            .map(|name| (name.to_owned(), unit("active", "enabled")))
            .into(),
        failed: Vec::new(),
        clock_kept: Some(true),
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
            severity: serde_json::from_value((*severity).into()).unwrap(),
            subject: "x".into(),
            detail: "it broke".into(),
            remediation: "Repair it".into(),
        })
        .collect();
    document
}

pub(super) fn link(index: u32, link: &str, kind: LinkKind, mtu: u32) -> Link {
    Link {
        index,
        name: name(link),
        kind,
        up: true,
        carrier: true,
        mtu,
        guid: None,
    }
}

fn observation() -> Observation {
    Observation {
        links: vec![
            link(1, "lo", LinkKind::Loopback, 65536),
            link(2, "eth0", LinkKind::Other, 1500),
            link(3, "wg0", LinkKind::WireGuard, 1280),
            link(4, "tailscale0", LinkKind::Tun, 1280),
        ],
        addresses: vec![
            address(1, "127.0.0.1/8"),
            address(1, "10.255.255.254/32"),
            address(2, "172.28.16.5/20"),
            address(3, "10.99.0.1/24"),
            address(4, "100.101.102.103/32"),
        ],
        routes: vec![route(2, 0)],
        mode: ModeState::Known(Mode::Nat),
        network_file: NetworkFile::Missing,
        resolver: resolver(),
        zone_links: BTreeMap::new(),
        sysctls: Default::default(),
        wireguard: [(name("wg0"), DeviceReading::Device(device(41820, 25)))].into(),
        carriers: BTreeMap::new(),
        kernel_ports: Default::default(),
        host: HostMemory::default(),
    }
}

/// A device with one peer.
pub(super) fn device(port: u16, keepalive: u16) -> Device {
    Device {
        listen_port: Some(port),
        mark: 0,
        peers: [(
            PublicKey::new([1; 32]),
            Peer {
                keepalive,
                ..Peer::default()
            },
        )]
        .into(),
    }
}

pub(super) fn address(link: u32, net: &str) -> Address {
    Address {
        link,
        net: net.parse().unwrap(),
        global: !net.starts_with("127."),
        secondary: false,
        state: crate::model::AddressState::Ready,
        created: 0,
    }
}

pub(super) fn route(link: u32, metric: u32) -> DefaultRoute {
    DefaultRoute {
        ipv6: false,
        link,
        gateway: Some("172.28.16.1".parse().unwrap()),
        source: None,
        metric,
        towards_gateway: None,
    }
}

impl Verdict {
    /// The fix of the most severe finding, where it differs from the check's own.
    pub(super) fn remediation(&self) -> Option<&str> {
        let first = self.findings().first()?;
        Some(first.remediation.as_str()).filter(|own| !own.is_empty())
    }
}

impl Facts {
    /// What this machine's files say, to change it.
    pub(super) fn local_mut(&mut self) -> &mut Local {
        self.local.as_mut().unwrap()
    }

    /// Changes the network.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Observation)) {
        change(self.observation.as_mut().unwrap());
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
            self.change(|observation| observation.network_file = NetworkFile::Content(after));
        }
    }

    /// The same machine outside of WSL.
    pub(super) fn elsewhere(&mut self) {
        self.wsl = false;
        self.wsl_version = None;
        self.local_mut().release = "6.12.1".into();
        self.change(|observation| observation.mode = ModeState::Known(Mode::NotWsl));
        self.write_file();
    }
}

/// Compares a check with rows of `"case": change of the healthy machine => verdict,
/// part of its detail`.
macro_rules! table {
    ($check:expr; $($case:literal: $change:expr => $verdict:ident, $part:literal;)*) => {{
        let check = $crate::doctor::tests::check($check);
        $(
            let mut facts = $crate::doctor::tests::healthy();
            let change: fn(&mut $crate::doctor::Facts) = $change;
            change(&mut facts);
            let verdict = check.run(&facts);
            let (id, name) = (check.id, stringify!($verdict).to_lowercase());
            assert_eq!(verdict.name(), name, "{id}: {}: {verdict:?}", $case);
            assert!(
                verdict.detail().contains($part),
                "{id}: {}: {verdict:?} lacks {:?}", $case, $part
            );
        )*
    }};
}
pub(super) use table;

#[test]
fn every_check_passes_on_the_healthy_machine() {
    // It discovers nothing, has no containers, is not in mirrored mode; of Defender nothing
    // is known.
    let skipped = "ports-exposed ports-kept ports-published kernel-bridge defender";
    for (check, verdict) in super::examine(&healthy(), &[]) {
        let is_skipped = skipped.split(' ').any(|id| id == check.id);
        let expected = if is_skipped { "skipped" } else { "ok" };
        assert_eq!(verdict.name(), expected, "{}: {verdict:?}", check.id);
    }
}

#[test]
fn no_check_warns_where_nothing_can_be_read() {
    let mut facts = healthy();
    facts.settings = Err("x".into());
    facts.observation = Err("x".into());
    facts.units = Err("x".into());
    facts.local_mut().sockets = Err("x".into());
    facts.local_mut().mtu_probing = None;
    facts.local_mut().watches = None;
    facts.wsl = false;
    let nothing = Facts {
        local: Err("x".into()),
        ..facts.clone()
    };
    for facts in [facts, nothing] {
        for (check, verdict) in super::examine(&facts, &[]) {
            if check.id != "configuration" {
                assert!(!verdict.is_bad(), "{}: {verdict:?}", check.id);
            }
        }
    }
}

#[test]
fn no_fix_names_wslconfig_outside_of_wsl() {
    let mut facts = healthy();
    facts.elsewhere();
    facts.agent = None;
    facts.local_mut().memory = Some(Machine::default());
    facts.local_mut().kernel.tun = false;
    facts.local_mut().kernel.modules = false;
    let mut count = 0;
    let found = super::examine(&facts, &["resources".into(), "kernel".into()]);
    for (check, verdict) in found {
        for finding in verdict.findings() {
            count += 1;
            let remediation = match finding.remediation.as_str() {
                "" => check.remediation,
                own => own,
            };
            assert!(
                !remediation.contains("wslconfig"),
                "{}: {remediation}",
                check.id
            );
        }
    }
    assert_eq!(count, 4);
}
