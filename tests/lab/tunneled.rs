//! A world whose Windows has a network and whose NAT lets nothing through, and the tunnel's
//! process in its guest.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::ROLE;
use crate::agent::LIMIT;
use crate::double::relay::RelayRun;
use crate::net_client::{NET_CLIENT, TALK};
use crate::net_probe::NET_PROBE;
use crate::net_server::{NET_SERVER, READY, port};
use crate::notify::Notify;
use crate::options::AGENT;
use crate::process::Process;
use crate::resolver::DNS;
use crate::topology::Place;
use crate::world::{World, until};

/// A server on the home network, which only Windows reaches.
pub(crate) const SERVER: &str = "192.168.50.20";
pub(crate) const SERVER_V6: &str = "2001:db8::20";
/// The name server of resolv.conf, which only Windows reaches.
pub(crate) const NAMES: &str = "192.168.50.53";
/// What it answers for each name.
pub(crate) const NAMED: [&str; 2] = [SERVER, SERVER_V6];
pub(crate) const LINK: &str = "wslmesh0";

/// The home network's part, while this lives.
pub(crate) struct Outside<'w> {
    processes: Vec<Process<'w>>,
}

impl World {
    /// NAT lets nothing through. Windows has a network, with IPv6 where that is wanted, and a
    /// name server in it that is the guest's too.
    pub(crate) fn nat_is_broken(&self, ipv6: bool) -> Result<Outside<'_>> {
        let mut outside = self.outside(ipv6)?;
        self.lan(&["ip", "addr", "add", "192.168.50.53/24", "dev", "eth0"])?
            .ok()?;
        self.shell(&format!(
            "rm -rf /etc/resolv.conf; echo 'nameserver {NAMES}' >/etc/resolv.conf"
        ))?;
        let (at, how) = (format!("{NAMES}:53"), format!("a={}", NAMED.join(",")));
        let argv = ["/init", ROLE, DNS, &at, &how];
        outside.processes.push(self.spawn(Place::Lan, &argv, &[])?);
        until("a name server", LIMIT, || {
            let sockets = self.lan(&["ss", "-Htln", "sport", "=", "53"])?.ok()?;
            Ok(sockets.contains(NAMES).then_some(()))
        })?;
        // Windows keeps its address, and does not answer for it.
        self.host(&["ip", "link", "set", "vEthernet", "arp", "off"])?
            .ok()?;
        self.shell("ip neigh flush dev eth0")?;
        Ok(outside)
    }

    /// A server on the home network, and a user of Windows who is not elevated.
    pub(crate) fn outside(&self, ipv6: bool) -> Result<Outside<'_>> {
        self.windows().set_elevated(false)?;
        // One of its users runs WSL.
        self.request_mode("nat")?;
        let script = |place, script: &str| self.run(place, &["sh", "-ec", script], b"")?.ok();
        if ipv6 {
            script(Place::Lan, "ip addr add 2001:db8::20/64 dev eth0 nodad")?;
            script(
                Place::Windows,
                "ip addr add 2001:db8::10/64 dev Ethernet nodad
                ip -6 route add default via 2001:db8::20",
            )?;
        }
        let mut processes = Vec::new();
        let addresses = [Some(SERVER), ipv6.then_some(SERVER_V6)];
        for address in addresses.into_iter().flatten() {
            let argv = ["/init", ROLE, NET_SERVER, address];
            processes.push(self.spawn(Place::Lan, &argv, &[])?);
        }
        for server in &processes {
            until("a server", LIMIT, || {
                Ok(server.stdout()?.contains(READY).then_some(()))
            })
            .with_context(|| server.stderr().unwrap_or_default())?;
        }
        Ok(Outside { processes })
    }

    /// All that the tunnel may change and has to leave as it was. The address of eth0's own
    /// is new in a new world, and used once it is known to be the only one.
    pub(crate) fn ways(&self) -> Result<String> {
        self.shell(
            "for family in -4 -6; do
                ip $family route show table all | grep -v '^local fe80.* dev eth0'; echo; ip $family rule; echo
                ip $family -br addr show; echo
            done
            ls -l /etc/resolv.conf; cat /etc/resolv.conf
            ls /run/wslmesh-tunnel 2>/dev/null || true
            sysctl net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv6.conf.all.forwarding",
        )
    }

    /// Waits until they are those of before.
    pub(crate) fn ways_again(&self, before: &str, limit: Duration) -> Result<()> {
        let mut now = String::new();
        until("the routes of before", limit, || {
            now = self.ways()?;
            Ok((now == before).then_some(()))
        })
        .with_context(|| format!("before:\n{before}\nnow:\n{now}"))
    }

    /// A probe of [`crate::net_probe::PROBES`], which must succeed.
    pub(crate) fn passes(&self, name: &str, address: &str) -> Result<String> {
        self.try_probe(name, address)?
            .with_context(|| format!("{name} to {address}"))
    }

    /// The same; the inner error is the network's.
    pub(crate) fn try_probe(&self, name: &str, address: &str) -> Result<Result<String>> {
        let argv = ["/init", ROLE, NET_PROBE, name, address];
        let done = self.spawn_guest(&argv, &[])?.finish(LIMIT * 2)?;
        Ok(done.ok())
    }

    /// A connection that is used all the time.
    pub(crate) fn talks(&self, address: &str) -> Result<Process<'_>> {
        let at = format!("{address}:{}", port::ECHO);
        let argv = ["/init", ROLE, NET_CLIENT, TALK, &at, "10"];
        let client = self.spawn_guest(&argv, &[])?;
        until("a connection", LIMIT, || {
            Ok(client.stdout()?.contains("ready").then_some(()))
        })
        .with_context(|| client.stderr().unwrap_or_default())?;
        Ok(client)
    }

    /// What runs on Windows as the switch.
    pub(crate) fn switch(&self) -> Result<Option<RelayRun>> {
        Ok(self.windows().relay()?.filter(|run| run.switch))
    }

    /// Waits for a switch other than this one.
    pub(crate) fn next_switch(&self, last: u32) -> Result<RelayRun> {
        until("another switch", LIMIT, || {
            Ok(self.switch()?.filter(|run| run.pid != last))
        })
    }
}

/// Whether a member of a JSON object is this.
pub(crate) fn is(object: &Value, member: &str, expected: impl Into<Value>) -> bool {
    object.get(member) == Some(&expected.into())
}

/// `wslmesh tunnel run`; killed when this is dropped.
pub(crate) struct Tunneled<'w> {
    world: &'w World,
    notify: Notify,
    process: Process<'w>,
}

impl<'w> Tunneled<'w> {
    /// Starts it and waits until packets can pass.
    pub(crate) fn up(world: &'w World, arguments: &[&str]) -> Result<Self> {
        let tunnel = Self::start(world, arguments)?;
        tunnel.notified("READY=1")?;
        Ok(tunnel)
    }

    /// Starts it.
    pub(crate) fn start(world: &'w World, arguments: &[&str]) -> Result<Self> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let socket = format!("/run/lab/tunnel-{number}");
        let notify = Notify::listen(world, &socket)?;
        let argv: Vec<&str> = [AGENT, "tunnel", "run"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let env = [
            ("NOTIFY_SOCKET", socket.as_str()),
            ("RUNTIME_DIRECTORY", "/run/wslmesh-tunnel"),
            ("WSLMESH_LOG", "debug"),
        ];
        Ok(Self {
            world,
            notify,
            process: world.spawn_guest(&argv, &env)?,
        })
    }

    pub(crate) fn process(&self) -> &Process<'w> {
        &self.process
    }

    /// What systemd was sent so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.notify.heard()
    }

    /// Waits until systemd is sent a line with this.
    pub(crate) fn notified(&self, what: &str) -> Result<()> {
        until(&format!("{what:?}"), LIMIT, || {
            if let Some(status) = self.process.wait(Duration::ZERO)? {
                bail!("it ended: {status:?}");
            }
            let heard = self.heard();
            Ok(heard.iter().any(|line| line.contains(what)).then_some(()))
        })
        .with_context(|| format!("{:?}\n{}", self.heard(), self.log().unwrap_or_default()))
    }

    /// What it has said.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(self.process.stdout()? + &self.process.stderr()?)
    }

    /// Waits until it has said this.
    pub(crate) fn says(&self, what: &str) -> Result<()> {
        until(&format!("{what:?}"), LIMIT, || {
            Ok(self.log()?.contains(what).then_some(()))
        })
        .with_context(|| self.log().unwrap_or_default())
    }

    /// `wslmesh tunnel status --json`.
    pub(crate) fn status(&self) -> Result<Value> {
        let said = self.world.wslmesh(&["tunnel", "status", "--json"])?.stdout;
        serde_json::from_str(&said).context(said)
    }

    /// Waits until the file of its state is so.
    pub(crate) fn state(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        until(what, LIMIT, || {
            let path = Path::new("/run/wslmesh-tunnel/state.json");
            if !self.world.path(path).exists() {
                return Ok(None);
            }
            last = serde_json::from_str(&self.world.read(path)?)?;
            Ok(wanted(&last).then(|| last.clone()))
        })
        .with_context(|| format!("{last}\n{}", self.log().unwrap_or_default()))
    }

    /// SIGTERM, and a good end.
    pub(crate) fn stop(&self) -> Result<()> {
        self.process.stop(LIMIT)?.ok()?;
        Ok(())
    }
}
