//! Sockets that listen at the ports of `[discovery]`, by sock_diag(7).
//!
//! The kernel has no event for listen(2), so this is asked whenever a socket can have come or
//! gone: it filters the ports itself, and answers with the few that count of the many that
//! there may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rtnetlink::packet_core::NlasIterator;

use super::sockets::{AF_INET, AF_INET6, Families, each_socket, is_ipv6_only};
use crate::{
    config::Discovery,
    model::{Listener, PortRange, Protocol, plain_within},
};

/// What the kernel says of who has a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The socket's inode number in /proc/PID/fd.
    inode: u32,
    /// The inode number of its cgroup's folder; 0 where the kernel does not say.
    cgroup: u64,
}

/// What the kernel is asked: the protocols, each with the ports as a filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    filters: Vec<(Protocol, Vec<u8>)>,
    /// Whether what only this machine reaches counts.
    loopback: bool,
}

impl Question {
    /// What listens at the ports of `[discovery]`?
    #[must_use]
    pub fn new(discovery: &Discovery) -> Self {
        let ports = [Protocol::Tcp, Protocol::Udp].map(|one| (one, discovery.ports(one)));
        Self {
            loopback: discovery.loopback,
            ..Self::of(ports)
        }
    }

    fn of(ports: impl IntoIterator<Item = (Protocol, Vec<PortRange>)>) -> Self {
        let ports = ports.into_iter().filter(|(_, ports)| !ports.is_empty());
        let filters = ports.map(|(protocol, ports)| (protocol, filter(&ports)));
        Self {
            filters: filters.collect(),
            loopback: true,
        }
    }

    /// The protocols that it is about.
    pub(super) fn protocols(&self) -> impl Iterator<Item = Protocol> {
        self.filters.iter().map(|(protocol, _)| *protocol)
    }

    fn ask(&self) -> io::Result<BTreeMap<Listener, Owner>> {
        let mut found = BTreeMap::new();
        for (protocol, filter) in &self.filters {
            let protocol = *protocol;
            let mut take = |answer: &[u8]| found.extend(listener(protocol, answer));
            match protocol {
                Protocol::Tcp => each_socket(Families::All, protocol, 0, filter, take)?,
                Protocol::Udp => {
                    each_socket(Families::One(AF_INET), protocol, 0, filter, &mut take)?;
                    each_socket(Families::One(AF_INET6), protocol, 0, filter, take)?;
                }
            }
        }
        Ok(found)
    }
}

/// What listens, but for what only this machine reaches where that does not count.
///
/// # Errors
/// The kernel's refusal.
pub(super) fn listeners(question: &Question) -> io::Result<BTreeMap<Listener, Owner>> {
    let mut found = question.ask()?;
    found.retain(|listener, _| question.loopback || !listener.address.is_loopback());
    Ok(found)
}

/// Who has the sockets at these ports: [`owners`] of this machine.
#[must_use]
pub fn owners_at(
    ports: &[(Protocol, NonZeroU16)],
) -> BTreeMap<(Protocol, NonZeroU16), Vec<String>> {
    let of = |protocol| {
        let its = ports.iter().filter(move |(one, _)| *one == protocol);
        (protocol, its.map(|(_, port)| (*port).into()).collect())
    };
    let found = Question::of([Protocol::Tcp, Protocol::Udp].map(of)).ask();
    let found = found.unwrap_or_default();
    let names = owners(Path::new("/"), &found.values().copied().collect());
    let mut by_port: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (at, owner) in found {
        by_port
            .entry((at.protocol, at.port))
            .or_default()
            .extend(names.get(&owner).cloned());
    }
    by_port
}

/// Of a filter (include/uapi/linux/inet_diag.h): a comparison of the socket's own port, and
/// a jump.
const PORT_AT_LEAST: u8 = 2;
const PORT_AT_MOST: u8 = 3;
const JUMP: u8 = 1;

/// A program that accepts these ports and no other. Where a comparison fails, the kernel
/// goes on `no` bytes further; beyond the end by four is a refusal, and the end accepts.
fn filter(ports: &[PortRange]) -> Vec<u8> {
    const OPERATION: usize = 4;
    const COMPARISON: usize = 2 * OPERATION;
    let operation = |code: u8, yes: u8, no: usize| {
        let no = u16::try_from(no).unwrap_or(u16::MAX).to_ne_bytes();
        [code, yes, no[0], no[1]]
    };
    let mut program = Vec::new();
    for (index, range) in ports.iter().enumerate() {
        let left = ports.len() - index - 1;
        // Two comparisons and the jump over the ranges that are left; the last has none.
        let next = 2 * COMPARISON + OPERATION;
        for (code, port, passed) in [
            (PORT_AT_LEAST, range.first(), 0),
            (PORT_AT_MOST, range.last(), COMPARISON),
        ] {
            program.extend(operation(code, 8, next - passed));
            program.extend(operation(0, 0, usize::from(port.get())));
        }
        if left > 0 {
            let rest = left * next - OPERATION;
            program.extend(operation(JUMP, 4, OPERATION + rest));
        }
    }
    program
}

/// The attribute of an answer with the socket's cgroup.
const INET_DIAG_CGROUP_ID: u16 = 21;

/// A struct inet_diag_msg with its attributes.
fn listener(protocol: Protocol, answer: &[u8]) -> Option<(Listener, Owner)> {
    let [family, _, _, _, high, low, _, _, address @ ..] = answer.first_chunk::<24>()?;
    let number = |from: usize| {
        let bytes = answer.get(from..)?.first_chunk().copied();
        bytes.map(u32::from_ne_bytes)
    };
    let address: IpAddr = match *family {
        AF_INET => Ipv4Addr::from(*address.first_chunk::<4>()?).into(),
        _ => IpAddr::from(Ipv6Addr::from(*address)).to_canonical(),
    };
    let attributes = NlasIterator::new(answer.get(72..)?).flatten();
    let mut cgroups = attributes.filter(|one| one.kind() == INET_DIAG_CGROUP_ID);
    let cgroup = cgroups.find_map(|one| one.value().try_into().ok());
    let listener = Listener {
        protocol,
        port: u16::from_be_bytes([*high, *low]).try_into().ok()?,
        address,
        ipv6_only: address.is_ipv6() && is_ipv6_only(answer) == Some(true),
        interface: number(40).filter(|index| *index != 0),
    };
    let owner = Owner {
        inode: number(68)?,
        cgroup: cgroup.map_or(0, u64::from_ne_bytes),
    };
    Some((listener, owner))
}

/// Most open files and cgroups that are looked at for the names of owners.
const LOOKED_AT: usize = 20_000;
/// Longest name of an owner.
const NAME: usize = 40;

/// The programs that have these sockets, or their units, on the machine below this root; as
/// far as they can be seen: a service that is kept from other processes' files sees the
/// units alone.
#[must_use]
pub fn owners(root: &Path, wanted: &BTreeSet<Owner>) -> BTreeMap<Owner, String> {
    let mut names = BTreeMap::new();
    if wanted.is_empty() {
        return names;
    }
    let mut left = LOOKED_AT;
    let inodes: BTreeMap<String, Owner> = (wanted.iter())
        .map(|owner| (format!("socket:[{}]", owner.inode), *owner))
        .collect();
    for process in folder(&root.join("proc")) {
        let its = process.file_name();
        if its
            .as_encoded_bytes()
            .first()
            .is_none_or(|one| !one.is_ascii_digit())
        {
            continue;
        }
        for file in folder(&process.path().join("fd")).take(left) {
            left -= 1;
            let target = fs::read_link(file.path()).unwrap_or_default();
            let owner = target.to_str().and_then(|target| inodes.get(target));
            if let Some(owner) = owner
                && let Ok(name) = fs::read_to_string(process.path().join("comm"))
            {
                names.insert(*owner, plain_within(name.trim_end(), NAME));
            }
        }
        if left == 0 {
            break;
        }
    }
    let nameless = wanted.iter().filter(|owner| owner.cgroup != 0);
    let nameless: Vec<Owner> = nameless
        .filter(|owner| !names.contains_key(owner))
        .copied()
        .collect();
    if !nameless.is_empty() {
        let units = units(root);
        names.extend(
            nameless
                .iter()
                .filter_map(|owner| Some((*owner, units.get(&owner.cgroup)?.clone()))),
        );
    }
    names
}

/// The names of all cgroups by the inode numbers of their folders.
fn units(root: &Path) -> BTreeMap<u64, String> {
    let mut units = BTreeMap::new();
    let mounts = ["sys/fs/cgroup/unified", "sys/fs/cgroup"].map(|mount| root.join(mount));
    let is_version_2 = |mount: &&std::path::PathBuf| mount.join("cgroup.controllers").exists();
    let mut folders = Vec::from_iter(mounts.iter().find(is_version_2).cloned());
    let mut left = LOOKED_AT;
    while let Some(next) = folders.pop() {
        for entry in folder(&next) {
            left = left.saturating_sub(1);
            if left == 0 {
                return units;
            }
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if let Ok(metadata) = entry.metadata() {
                let name = entry.file_name();
                let name = plain_within(&name.to_string_lossy(), NAME);
                units.insert(metadata.ino(), name);
            }
            folders.push(entry.path());
        }
    }
    units
}

/// The entries of a folder, as far as it can be read.
fn folder(path: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(path).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests;
