//! A userspace network in a world: the guest's only way out is a tun or tap, and what it
//! reaches is a server in the windows namespace. Ours, and its peers to compare with.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ROLE;
use crate::agent::LIMIT;
use crate::guest_side::{GUEST_SIDE, GuestSide, OtherEnd};
use crate::net_probe::NET_PROBE;
use crate::net_server::{NET_SERVER, READY};
use crate::options::{PEERS, RELAY};
use crate::process::Process;
use crate::topology::{Place, WINDOWS_ADDRESS};
use crate::world::{World, until};
use crate::wsl_stdio::WSL_STDIO;

/// What carries the guest's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `wslmesh-relay switch`, its standard streams in pipes.
    Switch,
    /// The same through the emulation of WSL's standard streams, with a thread for each end
    /// as on Windows.
    SwitchOverStdio,
    /// The first, and every hundredth frame is lost in both directions.
    SwitchWithLoss,
    /// gvisor-tap-vsock's gvproxy, MTU 1500, its best that all guests take.
    Gvproxy,
    /// passt with Ethernet's MTU.
    Passt,
    /// passt with its default, the largest.
    PasstLarge,
    /// slirp4netns with its best MTU; it has a tap of its own.
    Slirp4netns,
}

impl Kind {
    /// With the MTU, where a program has several.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Switch => "wslmesh",
            Self::SwitchOverStdio => "wslmesh, WSL's stdio",
            Self::SwitchWithLoss => "wslmesh, 1 % lost",
            Self::Gvproxy => "gvproxy",
            Self::Passt => "passt 1500",
            Self::PasstLarge => "passt 65520",
            Self::Slirp4netns => "slirp4netns 65520",
        }
    }

    fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Switch | Self::SwitchOverStdio | Self::SwitchWithLoss
        )
    }
}

const DEVICE: &str = "wslmesh0";
/// The socket of a peer on which QEMU would connect.
const SOCKET: &str = "/tmp/qemu.sock";
const LARGE: u32 = 65_520;

/// It runs until this is dropped.
pub(crate) struct Network<'w> {
    world: &'w World,
    kind: Kind,
    /// The one that holds the connections first, where it is known by its process.
    processes: Vec<Process<'w>>,
    _server: Process<'w>,
}

impl<'w> Network<'w> {
    /// Starts it, and the server; both answer afterwards. The world's own network is cut off.
    pub(crate) fn start(world: &'w World, kind: Kind) -> Result<Self> {
        // The kernel's default differs between machines.
        for place in [Place::Guest, Place::Windows] {
            let reno = ["sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"];
            world.run(place, &reno, b"")?.ok()?;
        }
        world.shell("ip link set eth0 down")?;
        let server = world.spawn(
            Place::Windows,
            &["/init", ROLE, NET_SERVER, WINDOWS_ADDRESS],
            &[],
        )?;
        until("the server", LIMIT, || {
            Ok(server.stdout()?.contains(READY).then_some(()))
        })?;
        let mut network = Self {
            world,
            kind,
            processes: Vec::new(),
            _server: server,
        };
        if kind.is_ours() {
            network.start_switch()?;
        } else {
            network.start_peer()?;
        }
        let answered = until("an answer through the network", LIMIT, || {
            let answer = network.probe("refused")?;
            Ok(answer.is_ok().then_some(()))
        });
        answered.with_context(|| network.says())?;
        Ok(network)
    }

    fn start_switch(&mut self) -> Result<()> {
        let mut argv = vec!["nsenter", "--net=/run/netns/windows", RELAY, "switch"];
        let mut pipe = 1 << 20;
        if self.kind == Kind::SwitchOverStdio {
            argv.push("--threads");
            argv.splice(..0, ["/init", ROLE, WSL_STDIO]);
            pipe = 65_536;
        }
        let argv = argv.into_iter().map(str::to_owned).collect();
        self.guest_side(&GuestSide {
            device: DEVICE.to_owned(),
            tap: false,
            mtu: 1500,
            lose: if self.kind == Kind::SwitchWithLoss {
                100
            } else {
                0
            },
            to: OtherEnd::Program(argv, pipe),
        })
    }

    fn guest_side(&mut self, options: &GuestSide) -> Result<()> {
        let options = serde_json::to_string(options)?;
        let argv = ["/init", ROLE, GUEST_SIDE, &options];
        self.processes.push(self.world.spawn_guest(&argv, &[])?);
        Ok(())
    }

    fn start_peer(&mut self) -> Result<()> {
        if !self.world.path(PEERS).join("suite").exists() {
            bail!("it is not there (tools/peers.sh brings it)");
        }
        let (mtu, socket) = (self.kind.mtu(), format!("unix://{SOCKET}"));
        let text = mtu.to_string();
        let arguments = match self.kind {
            Kind::Gvproxy => vec!["-listen-qemu", &socket, "-ssh-port", "-1", "-mtu", &text],
            Kind::Passt | Kind::PasstLarge => vec![
                "-f",
                "-s",
                SOCKET,
                "-m",
                &text,
                "-a",
                "192.168.127.2",
                "-n",
                "24",
                "-g",
                "192.168.127.1",
            ],
            _ => vec![
                "--mtu",
                &text,
                "--cidr",
                "192.168.127.0/24",
                "--netns-type=path",
                "/run/netns/guest",
                DEVICE,
            ],
        };
        let program = format!("{PEERS}/bin/{}", self.kind.program());
        let argv: Vec<&str> = std::iter::once(program.as_str()).chain(arguments).collect();
        self.processes
            .push(self.world.spawn(Place::Windows, &argv, &[])?);
        if self.kind == Kind::Slirp4netns {
            let link = format!("ip link show {DEVICE}");
            until("slirp4netns' tap", LIMIT, || {
                Ok(self
                    .world
                    .guest(&["sh", "-c", &link])?
                    .success()
                    .then_some(()))
            })
            .with_context(|| self.says())?;
            let set_up = format!(
                "ip addr add 192.168.127.100/24 dev {DEVICE}; ip link set {DEVICE} mtu {mtu} up; \
                 ip route add default via 192.168.127.2 dev {DEVICE}"
            );
            self.world.shell(&set_up)?;
            return Ok(());
        }
        until("the socket for QEMU", LIMIT, || {
            Ok(self.world.path(SOCKET).exists().then_some(()))
        })
        .with_context(|| self.says())?;
        self.guest_side(&GuestSide {
            device: DEVICE.to_owned(),
            tap: true,
            mtu,
            lose: 0,
            to: OtherEnd::Socket(SOCKET.to_owned()),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What its processes have said.
    fn says(&self) -> String {
        let says = |process: &Process<'_>| {
            let (out, error) = (process.stdout(), process.stderr());
            format!("{}{}", out.unwrap_or_default(), error.unwrap_or_default())
        };
        self.processes.iter().map(says).collect()
    }

    pub(crate) fn world(&self) -> &'w World {
        self.world
    }

    /// Starts a part of the lab in the guest.
    pub(crate) fn spawn(&self, role: &[&str]) -> Result<Process<'w>> {
        let argv: Vec<&str> = ["/init", ROLE]
            .into_iter()
            .chain(role.iter().copied())
            .collect();
        self.world.spawn_guest(&argv, &[])
    }

    /// Runs a part of the lab in the guest, which must succeed.
    pub(crate) fn run(&self, role: &[&str]) -> Result<String> {
        self.spawn(role)?.finish(Duration::from_secs(60))?.ok()
    }

    /// What a probe of [`crate::net_probe::PROBES`] says; the inner error is the network's.
    pub(crate) fn probe(&self, name: &str) -> Result<Result<String, String>> {
        let process = self.spawn(&[NET_PROBE, name, WINDOWS_ADDRESS])?;
        let Some(status) = process.wait(Duration::from_secs(60))? else {
            return Ok(Err("hangs".to_owned()));
        };
        let text = process.stdout()?.trim().to_owned();
        Ok(match status {
            crate::control::Status::Code(0) => Ok(text),
            _ => Err(format!("{text}{}", process.stderr()?.trim())),
        })
    }

    /// The process that holds the connections, by its id in the world.
    pub(crate) fn pid(&self) -> Result<u32> {
        if !self.kind.is_ours() {
            return Ok(self.processes.first().context("no process")?.pid());
        }
        for entry in std::fs::read_dir(self.world.path("/proc"))? {
            let entry = entry?;
            let name = entry.file_name();
            // A process may end while this looks.
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
                && comm.trim() == "wslmesh-relay"
            {
                return Ok(pid);
            }
        }
        bail!("no wslmesh-relay")
    }

    /// Its resident memory in kB.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = self.world.read(format!("/proc/{}/status", self.pid()?))?;
        field(&status, "VmRSS:")
    }

    /// How often all of its threads have waited so far.
    pub(crate) fn waits(&self) -> Result<u64> {
        let tasks = format!("/proc/{}/task", self.pid()?);
        let mut sum = 0;
        for task in std::fs::read_dir(self.world.path(tasks))? {
            let status = std::fs::read_to_string(task?.path().join("status"))?;
            sum += field(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(sum)
    }
}

impl Kind {
    fn mtu(self) -> u32 {
        match self {
            Self::PasstLarge | Self::Slirp4netns => LARGE,
            _ => 1500,
        }
    }

    /// The peer's program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Gvproxy => "gvproxy",
            Self::Passt | Self::PasstLarge => "passt",
            Self::Slirp4netns => "slirp4netns",
            _ => "wslmesh-relay",
        }
    }
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name}"))?.parse()?)
}

/// Where a port of the server is.
pub(crate) fn server(port: u16) -> String {
    format!("{WINDOWS_ADDRESS}:{port}")
}
