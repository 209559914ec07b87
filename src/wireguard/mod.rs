//! WireGuard devices: reading them and their configuration, setting keepalives and
//! endpoints, sending a packet by one.
//!
//! Kernel devices go over generic netlink, userspace ones through their control
//! socket. Private and preshared keys are never kept or shown: the program's
//! allocator wipes the buffers that they came in, and [`read`] the stack.

mod config;
mod kernel;
mod packet;
mod uapi;

pub use config::{endpoint_names, networkd_devices};
pub use packet::send_into;

use std::{hint::black_box, io, net::SocketAddr};

use rustix::io::Errno;

use crate::model::{
    Device, EndpointChange, InterfaceName, KeepaliveChange, LinkKind, NewEndpoint, Peer, PublicKey,
    counted,
};

/// Why a device could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum WireGuardError {
    /// The device was removed.
    #[error("{0} was removed")]
    Removed(InterfaceName),
    /// The kernel or the daemon refused or failed.
    #[error("{name}: cannot {what}: {error}")]
    Failed {
        /// The device.
        name: InterfaceName,
        /// What failed, as a verb.
        what: &'static str,
        /// Its reason.
        error: io::Error,
    },
    /// Setting peers made some appear that were not there before.
    #[error("{name}: {} appeared while peers were being set", counted(*peers, "new peer"))]
    Moved {
        /// The device.
        name: InterfaceName,
        /// How many.
        peers: usize,
    },
    /// What was set reads back as something else.
    #[error("{name}: {peers} of the peers read back without what was set")]
    NotTaken {
        /// The device.
        name: InterfaceName,
        /// How many.
        peers: usize,
    },
}

/// That a device was removed is for the kernel to say: a daemon's ENODEV is about
/// something else.
fn failed(
    name: &InterfaceName,
    kind: LinkKind,
    what: &'static str,
) -> impl FnOnce(io::Error) -> WireGuardError {
    let name = name.clone();
    move |error| match Errno::from_io_error(&error) {
        Some(Errno::NODEV) if kind != LinkKind::WireGuardUserspace => WireGuardError::Removed(name),
        _ => WireGuardError::Failed { name, what, error },
    }
}

/// Reads a device. Blocks; run it where blocking is allowed.
///
/// # Errors
/// See [`WireGuardError`].
pub fn read(name: &InterfaceName, kind: LinkKind) -> Result<Device, WireGuardError> {
    let read = if kind == LinkKind::WireGuardUserspace {
        uapi::read(name).map_err(failed(name, kind, "read the device from its daemon"))
    } else {
        kernel::read(name).map_err(failed(name, kind, "read the device"))
    };
    wipe_stack();
    read
}

/// More than the frames of a read take.
const STACK: usize = 64 << 10;

/// Overwrites what the calls before have left on the stack: wireguard-control hands
/// private keys on by value, and the C library keeps the stacks of threads that have
/// ended.
#[inline(never)]
fn wipe_stack() {
    black_box(&[0_u8; STACK]);
}

/// Gives peers a keepalive and reads the device back. Peers that were removed or
/// have got a keepalive since are left out. Blocks.
///
/// Returns how many peers were set.
///
/// # Errors
/// See [`WireGuardError`].
pub fn set_keepalive(change: &KeepaliveChange) -> Result<usize, WireGuardError> {
    let (name, kind, seconds) = (&change.name, change.kind, change.seconds);
    let before = read(name, kind)?;
    let off = before.without_keepalive();
    let still: Vec<_> = off.filter(|peer| change.peers.contains(peer)).collect();
    if still.is_empty() {
        return Ok(0);
    }
    if kind == LinkKind::WireGuardUserspace {
        uapi::set_keepalive(name, &still, seconds).map_err(failed(
            name,
            kind,
            "set keepalives through its daemon",
        ))?;
    } else {
        kernel::set_keepalive(change.index, &still, seconds).map_err(failed(
            name,
            kind,
            "set keepalives",
        ))?;
    }
    let after = read(name, kind)?;
    let is_right = |_: &PublicKey, peer: &Peer| peer.keepalive == seconds;
    check(name, &before, &after, &still, is_right)?;
    Ok(still.len())
}

/// Gives peers other endpoints and reads the device back. One that was removed, or has
/// spoken since this was decided, keeps its own: WireGuard follows a peer that moves.
/// Blocks.
///
/// Returns the peers that were set.
///
/// # Errors
/// See [`WireGuardError`].
pub fn set_endpoints(change: &EndpointChange) -> Result<Vec<PublicKey>, WireGuardError> {
    let (name, kind) = (&change.link.name, change.link.kind);
    let before = read(name, kind)?;
    let is_same = |(key, to): &(&PublicKey, &NewEndpoint)| {
        let now = before.peers.get(*key);
        now.is_some_and(|now| (now.endpoint, now.handshake) == (to.was, to.handshake))
    };
    let set = change.peers.iter().filter(is_same);
    let set: Vec<(PublicKey, SocketAddr)> = set.map(|(key, to)| (*key, to.to)).collect();
    let keys: Vec<PublicKey> = set.iter().map(|(key, _)| *key).collect();
    if set.is_empty() {
        return Ok(keys);
    }
    let done = if kind == LinkKind::WireGuardUserspace {
        uapi::set_endpoints(name, &set)
    } else {
        kernel::set_endpoints(change.link.index, &set)
    };
    done.map_err(failed(name, kind, "set an endpoint"))?;
    let after = read(name, kind)?;
    // It may have spoken from elsewhere meanwhile.
    let is_right = |key: &PublicKey, peer: &Peer| {
        let to = change.peers.get(key);
        to.is_some_and(|to| peer.endpoint == Some(to.to) || peer.handshake != to.handshake)
    };
    check(name, &before, &after, &keys, is_right)?;
    Ok(keys)
}

/// Compares a device before and after peers were set.
fn check(
    name: &InterfaceName,
    before: &Device,
    after: &Device,
    set: &[PublicKey],
    is_right: impl Fn(&PublicKey, &Peer) -> bool,
) -> Result<(), WireGuardError> {
    let name = name.clone();
    let is_new = |peer: &&PublicKey| !before.peers.contains_key(peer);
    // A peer that was removed meanwhile is not missed.
    let is_wrong = |key: &&PublicKey| {
        let now = after.peers.get(key);
        now.is_some_and(|peer| !is_right(key, peer))
    };
    match (
        after.peers.keys().filter(is_new).count(),
        set.iter().filter(is_wrong).count(),
    ) {
        (0, 0) => Ok(()),
        (0, peers) => Err(WireGuardError::NotTaken { name, peers }),
        (peers, _) => Err(WireGuardError::Moved { name, peers }),
    }
}

/// Whether a userspace daemon serves this name: its control socket exists.
#[must_use]
pub fn has_control_socket(name: &InterfaceName) -> bool {
    uapi::socket(name).exists()
}

#[cfg(test)]
mod tests;
