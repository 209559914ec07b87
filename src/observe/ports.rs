//! The ports of WireGuard in the kernel, and which of them were claimed from Windows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use super::sockets;
use crate::{
    fs::file,
    model::{DeviceReading, InterfaceName, KernelPorts, Link, LinkKind, ModeState},
};

/// The file in the runtime directory with the sockets whose ports were claimed: a restart
/// of the agent claims none of them again, and a boot, which forgets the claims, forgets
/// the file.
pub const CLAIMED: &str = "claimed-ports.json";

/// Reads them where the mode is or may be one in which they matter.
pub(super) fn kernel_ports(
    mode: &ModeState,
    links: &[Link],
    wireguard: &BTreeMap<InterfaceName, DeviceReading>,
    runtime: &Path,
) -> KernelPorts {
    let matters = match mode {
        ModeState::Known(mode) => mode.shares_ports(),
        ModeState::Pending | ModeState::Unknown(_) => true,
    };
    let in_kernel = links
        .iter()
        .filter(|link| link.kind == LinkKind::WireGuard)
        .filter_map(|link| wireguard.get(&link.name)?.device()?.listen_port);
    let ports: BTreeSet<u16> = in_kernel.collect();
    if !matters || ports.is_empty() {
        return KernelPorts::default();
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let found = ports
        .into_iter()
        .map(|port| Ok((port, sockets::udp_cookie(port)?)));
    let found: io::Result<Vec<_>> = found.collect();
    let unreadable = found.as_ref().err().map(ToString::to_string);
    let found = found.unwrap_or_default().into_iter();
    KernelPorts {
        range: range.ok().and_then(|text| two_ports(&text)),
        sockets: found
            .filter_map(|(port, socket)| Some((port, socket?)))
            .collect(),
        unreadable,
        claimed: claimed(&runtime.join(CLAIMED)),
    }
}

/// The sockets of such a file; none where it cannot be read.
#[must_use]
pub fn claimed(file: &Path) -> BTreeSet<u64> {
    let text = file::read(file).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Two numbers with a tab between, as the kernel prints a range.
fn two_ports(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_kernel_prints_them() {
        assert_eq!(two_ports("32768\t60999\n"), Some((32768, 60999)));
        assert_eq!(two_ports("32768"), None);
        assert_eq!(two_ports("a b"), None);
    }
}
