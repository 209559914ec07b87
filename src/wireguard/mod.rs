//! WireGuard devices: reading them, setting keepalives, and nothing else.
//!
//! Kernel devices go over generic netlink, userspace ones through their control
//! socket. Private and preshared keys are never kept or shown.

mod kernel;
mod uapi;

use std::{io, path::Path};

use crate::model::{Device, DeviceDetails, InterfaceName, LinkKind, PublicKey};

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
    /// Setting keepalives made something appear that was not there before.
    #[error("{name}: {what} while keepalives were being set")]
    Moved {
        /// The device.
        name: InterfaceName,
        /// What appeared.
        what: String,
    },
    /// The keepalives read back as something else.
    #[error("{name}: {peers} of the peers read back without the keepalive that was set")]
    NotTaken {
        /// The device.
        name: InterfaceName,
        /// How many.
        peers: usize,
    },
}

/// Reads a device. Blocks; run it where blocking is allowed.
///
/// # Errors
/// See [`WireGuardError`].
pub fn read(name: &InterfaceName, kind: LinkKind) -> Result<Device, WireGuardError> {
    details(name, kind).map(Device::from)
}

/// Reads a device with what it knows of its peers. Blocks.
///
/// # Errors
/// See [`WireGuardError`].
pub fn details(name: &InterfaceName, kind: LinkKind) -> Result<DeviceDetails, WireGuardError> {
    if kind == LinkKind::WireGuardUserspace {
        uapi::read(name)
    } else {
        kernel::read(name)
    }
}

/// Gives peers a keepalive and reads the device back. Peers that were removed or
/// have got a keepalive since are left out. Blocks.
///
/// Returns how many peers were set.
///
/// # Errors
/// See [`WireGuardError`].
pub fn set_keepalive(
    name: &InterfaceName,
    index: u32,
    kind: LinkKind,
    peers: &[PublicKey],
    seconds: u16,
) -> Result<usize, WireGuardError> {
    let before = read(name, kind)?;
    let still: Vec<PublicKey> = peers
        .iter()
        .filter(|peer| before.peers.get(peer) == Some(&0))
        .copied()
        .collect();
    if still.is_empty() {
        return Ok(0);
    }
    if kind == LinkKind::WireGuardUserspace {
        uapi::set_keepalive(name, &still, seconds)?;
    } else {
        kernel::set_keepalive(name, index, &still, seconds)?;
    }
    let after = read(name, kind)?;
    check(name, &before, &after, &still, seconds)?;
    Ok(still.len())
}

/// Compares a device before and after its keepalives were set.
fn check(
    name: &InterfaceName,
    before: &Device,
    after: &Device,
    set: &[PublicKey],
    seconds: u16,
) -> Result<(), WireGuardError> {
    let appeared = after
        .peers
        .keys()
        .filter(|peer| !before.peers.contains_key(peer))
        .count();
    if appeared > 0 {
        let peers = if appeared == 1 { "peer" } else { "peers" };
        return Err(WireGuardError::Moved {
            name: name.clone(),
            what: format!("{appeared} new {peers} appeared"),
        });
    }
    // A peer that was removed meanwhile is not missed.
    let wrong = set
        .iter()
        .filter(|peer| after.peers.get(peer).is_some_and(|now| *now != seconds))
        .count();
    if wrong > 0 {
        Err(WireGuardError::NotTaken {
            name: name.clone(),
            peers: wrong,
        })
    } else {
        Ok(())
    }
}

/// Whether a userspace daemon serves this name: its control socket exists.
#[must_use]
pub fn has_control_socket(name: &InterfaceName) -> bool {
    Path::new(uapi::FOLDER)
        .join(format!("{name}.sock"))
        .exists()
}

#[cfg(test)]
mod tests;
