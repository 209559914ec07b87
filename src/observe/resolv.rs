//! /etc/resolv.conf as it is on the disk.

use std::{
    fs::{self, FileType, Metadata},
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, OFlags, StatxAttributes, StatxFlags, statx},
    io::Errno,
};

use crate::{
    fs::open,
    model::{ResolvConf, ResolvFile, Resolver},
};

/// Where glibc reads it.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Most bytes of one.
const RESOLV_CONF_MOST: usize = 64 << 10;

/// Reads a file of this form. Nothing is waited for: a pipe is opened without the other
/// end, and nothing but a regular file is read.
#[must_use]
pub fn resolver(path: &Path) -> Resolver {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::empty());
    Resolver {
        file: read(path).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => ResolvFile::Missing,
            _ => ResolvFile::Unreadable(error.to_string()),
        }),
        link: fs::read_link(path).ok().map(|to| to.display().to_string()),
        immutable: found
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::IMMUTABLE)),
    }
}

fn read(path: &Path) -> io::Result<ResolvFile> {
    let file = match open(path, OFlags::empty()) {
        Err(error) => {
            // A socket, or a device without a driver (open(2)).
            let errno = Errno::from_io_error(&error);
            let kind = match errno {
                Some(Errno::NXIO | Errno::NODEV) => fs::metadata(path).ok(),
                _ => None,
            };
            return kind.and_then(|meta| other(&meta)).ok_or(error);
        }
        Ok(file) => file,
    };
    let meta = file.metadata()?;
    if let Some(other) = other(&meta) {
        return Ok(other);
    }
    let mut bytes = Vec::new();
    // One byte more tells a file that is too large from one that just fits.
    file.take(RESOLV_CONF_MOST as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(match bytes.len() > RESOLV_CONF_MOST {
        true => ResolvFile::TooLarge,
        false => ResolvFile::Read(ResolvConf::parse(&bytes)),
    })
}

/// What is no regular file.
fn other(meta: &Metadata) -> Option<ResolvFile> {
    let kind: FileType = meta.file_type();
    Some(ResolvFile::Other(match () {
        () if kind.is_file() => return None,
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

#[cfg(test)]
mod tests;
