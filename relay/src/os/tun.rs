//! A tun or tap device of this process: it ends with the last file that is open on it, and
//! the kernel removes its addresses and routes.

#![expect(unsafe_code, reason = "two ioctls have no safe interface")]

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    ptr::from_mut,
};

/// The kernel's file for making them.
pub const DEVICE: &str = "/dev/net/tun";

/// What the kernel computes for what is read, and what may be left to it in what is written:
/// checksums, and the cutting of TCP of both families into segments (`if_tun.h`).
const OFFLOADS: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;

/// What is read from a device and written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A virtio-net header and an IP packet.
    Tun,
    /// An Ethernet frame.
    Tap,
}

/// `struct ifreq` with its member `ifr_flags`.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Makes a device, whose reads and writes do not block. Its link is down.
///
/// # Errors
/// `NotFound` without [`DEVICE`], `PermissionDenied` without CAP_NET_ADMIN or access to it,
/// `ResourceBusy` where another device or process has the name, `InvalidInput` for a name of
/// more than 15 bytes.
pub fn open(name: &str, kind: Kind) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(DEVICE)?;
    let flags = match kind {
        Kind::Tun => libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR,
        Kind::Tap => libc::IFF_TAP | libc::IFF_NO_PI,
    } | libc::IFF_TUN_EXCL;
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: libc::c_short::from_ne_bytes(flags_of(flags)),
        rest: [0; 22],
    };
    let room = request.name.get_mut(..name.len());
    match room.filter(|room| (1..libc::IFNAMSIZ).contains(&room.len())) {
        Some(room) => room.copy_from_slice(name.as_bytes()),
        None => return Err(ErrorKind::InvalidInput.into()),
    }
    // SAFETY: the file is open, and the kernel writes at most a `struct ifreq` to what is as
    // long as one and lives.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, from_mut(&mut request)) };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    if kind == Kind::Tun {
        // SAFETY: the file is open; the argument is a number.
        let set = unsafe {
            libc::ioctl(
                file.as_raw_fd(),
                libc::TUNSETOFFLOAD,
                libc::c_ulong::from(OFFLOADS),
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(file)
}

/// The lower 16 bits, as the structure has them.
fn flags_of(flags: libc::c_int) -> [u8; 2] {
    let [low, high, ..] = flags.to_le_bytes();
    u16::from_le_bytes([low, high]).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_a_struct_ifreq() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
        assert_eq!(
            flags_of(libc::IFF_TUN_EXCL | libc::IFF_TUN),
            0x8001_u16.to_ne_bytes()
        );
    }

    #[test]
    fn names_are_checked() {
        if !std::path::Path::new(DEVICE).exists() {
            return;
        }
        for name in ["", "wslmesh-tunnel-0"] {
            let error = open(name, Kind::Tun).err().map(|error| error.kind());
            assert!(
                matches!(
                    error,
                    Some(ErrorKind::InvalidInput | ErrorKind::PermissionDenied)
                ),
                "{name}: {error:?}"
            );
        }
    }
}
