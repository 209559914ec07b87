//! Three nested network namespaces: lan - windows - guest.
//!
//! ```text
//! lan eth0 192.168.50.20/24 --- Ethernet 192.168.50.10/24 windows
//! guest eth0 172.28.16.5/20 --- vEthernet 172.28.16.1/20  windows
//! ```

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::launch::Unavailable;

/// One of the three network namespaces of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// A client on the home network.
    Lan,
    /// The Windows host.
    Windows,
    /// The WSL2 distribution.
    Guest,
}

impl Place {
    /// The name `ip netns` knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Windows => "windows",
            Self::Guest => "guest",
        }
    }

    /// Moves the calling thread, and what it starts from now on, to this place.
    pub(crate) fn enter(self) -> Result<()> {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        let path = format!("/run/netns/{}", self.name());
        let namespace = std::fs::File::open(&path).with_context(|| format!("opening {path}"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("entering {path}"))
    }
}

/// The address Windows has on the home network.
pub(crate) const WINDOWS_ADDRESS: &str = "192.168.50.10";
/// The address Windows has towards the guest.
pub(crate) const GATEWAY: &str = "172.28.16.1";
/// The guest's first address, with the prefix length of WSL's NAT network.
pub(crate) const GUEST_ADDRESS: &str = "172.28.16.5/20";
/// The same without it.
pub(crate) const FIRST: &str = "172.28.16.5";
/// An address that the guest may get next, in the same network.
pub(crate) const SECOND: &str = "172.28.30.7";
/// And another.
pub(crate) const THIRD: &str = "172.28.19.200";

const NAMES: &str = "\
netns add lan
netns add windows
netns attach guest 1
link add eth0 netns lan type veth peer name Ethernet netns windows
link add eth0 type veth peer name vEthernet netns windows
link set lo up
addr add 172.28.16.5/20 dev eth0
link set eth0 up
";
const LAN: &str = "link set lo up\naddr add 192.168.50.20/24 dev eth0\nlink set eth0 up\n";
const WINDOWS: &str = "\
link set lo up
addr add 192.168.50.10/24 dev Ethernet
link set Ethernet up
addr add 172.28.16.1/20 dev vEthernet
link set vEthernet up
";
// Only possible once the other end is up.
const ROUTE: &str = "route add default via 172.28.16.1\n";

/// Makes the namespaces, links, addresses and routes. The calling process is in
/// what becomes the guest.
pub(crate) fn build() -> Result<()> {
    batch(NAMES)?;
    elsewhere(Place::Lan, LAN)?;
    elsewhere(Place::Windows, WINDOWS)?;
    batch(ROUTE)
}

/// In a thread that moves there: `ip -n` would mount a /sys of its own, which
/// the kernel refuses once the machine's is out of sight.
fn elsewhere(place: Place, lines: &'static str) -> Result<()> {
    let there = std::thread::spawn(move || place.enter().and_then(|()| batch(lines)));
    there
        .join()
        .unwrap_or_else(|_| bail!("setting up {place:?} panicked"))
}

fn batch(lines: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.env_clear().envs(crate::launch::environment());
    let mut child = command
        .spawn()
        .map_err(|e| Unavailable(format!("the program ip of iproute2 is needed: {e}")))?;
    // Dropped at the end of the statement, which is the end of the input for ip.
    child
        .stdin
        .take()
        .context("ip has no standard input")?
        .write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "ip -batch failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
