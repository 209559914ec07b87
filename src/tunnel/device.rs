//! The tunnel's device.

use std::{
    fs::File,
    io::{self, ErrorKind},
    sync::Arc,
};

use rustix::io::Errno;
use wslmesh_relay::tun::{self, DEVICE, Kind};

use super::TunnelError;
use crate::netlink::index_of;

/// A device that is removed, with its addresses and routes, once the last clone of its file
/// is dropped.
#[derive(Debug)]
pub(super) struct Device {
    /// Reads and writes do not block.
    pub(super) file: Arc<File>,
    /// The link's.
    pub(super) index: u32,
}

impl Device {
    /// Makes it; its link is down.
    pub(super) fn open(name: &str, kind: Kind) -> Result<Self, TunnelError> {
        let file = tun::open(name, kind).map_err(|error| refused(name, error))?;
        let index = index_of(name).ok_or_else(|| {
            let gone = io::Error::from(ErrorKind::NotFound);
            TunnelError::Device(format!("{name} was removed at once"), gone)
        })?;
        Ok(Self {
            file: Arc::new(file),
            index,
        })
    }

    /// Whether one of this name can be made, without making one.
    pub(super) fn possible(name: &str) -> Result<(), TunnelError> {
        if index_of(name).is_some() {
            return Err(refused(name, ErrorKind::AlreadyExists.into()));
        }
        let opened = File::options().read(true).write(true).open(DEVICE);
        opened.map(drop).map_err(|error| refused(name, error))
    }
}

/// Why there is no device, with the fix.
fn refused(name: &str, error: io::Error) -> TunnelError {
    let errno = Errno::from_io_error(&error);
    let taken = index_of(name).is_some();
    let why = match error.kind() {
        _ if taken || errno == Some(Errno::BUSY) => format!(
            "the name {name} is taken: `ip -d link show {name}` shows by what; a second tunnel ends with `sudo wslmesh tunnel down`"
        ),
        ErrorKind::NotFound => format!(
            "{DEVICE} does not exist: `sudo modprobe tun`; a container has to be given the device"
        ),
        _ if matches!(errno, Some(Errno::NODEV | Errno::NXIO)) => {
            format!("{DEVICE} has no driver: `sudo modprobe tun`")
        }
        ErrorKind::PermissionDenied => format!(
            "no right to {DEVICE}: it needs root with CAP_NET_ADMIN, and in a unit DeviceAllow={DEVICE}"
        ),
        _ => format!("cannot make the device {name}"),
    };
    TunnelError::Device(why, error)
}
