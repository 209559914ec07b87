//! Gives a new file what the old one has: ACL, label, mode, owner and group.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use crate::fs::file::{Fault, FileError};

const ACL: &str = "system.posix_acl_access";
const SELINUX_LABEL: &str = "security.selinux";

/// The size limit of an extended attribute (XATTR_SIZE_MAX in linux/limits.h).
const MAX_ATTRIBUTE: usize = 65536;

/// The mode of a file that did not exist, whatever the umask.
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Copies everything from the old file to the new one, or fails: a file with
/// another owner or other rights could hide it from its readers or show it to
/// others.
pub(super) fn copy(old: &File, new: &File, path: &Path) -> Result<(), FileError> {
    let not_kept = |attribute: &'static str| {
        move |e: Errno| FileError {
            source: Some(e.into()),
            ..FileError::new(path, Fault::NotKept(attribute))
        }
    };
    let wanted = rustix::fs::fstat(old).map_err(not_kept("mode"))?;
    let made = rustix::fs::fstat(new).map_err(not_kept("mode"))?;

    // The owner comes last: only the owner may do the rest, unless the process
    // has CAP_FOWNER.
    copy_label(old, new).map_err(not_kept("SELinux label"))?;
    copy_acl(old, new).map_err(not_kept("ACL"))?;
    rustix::fs::fchmod(new, mode(&wanted)).map_err(not_kept("mode"))?;
    if made.st_uid != wanted.st_uid {
        rustix::fs::fchown(new, Some(Uid::from_raw(wanted.st_uid)), None)
            .map_err(not_kept("owner"))?;
    }
    if made.st_gid != wanted.st_gid {
        rustix::fs::fchown(new, None, Some(Gid::from_raw(wanted.st_gid)))
            .map_err(not_kept("group"))?;
    }
    // A change of owner clears set-user-ID and set-group-ID.
    let done = rustix::fs::fstat(new).map_err(not_kept("mode"))?;
    if mode(&done) != mode(&wanted) {
        rustix::fs::fchmod(new, mode(&wanted)).map_err(not_kept("mode"))?;
    }
    // chmod drops set-group-ID without an error for a group that is not ours.
    let done = rustix::fs::fstat(new).map_err(not_kept("mode"))?;
    if mode(&done) != mode(&wanted) {
        return Err(not_kept("mode")(Errno::PERM));
    }
    Ok(())
}

/// The permission bits with set-user-ID, set-group-ID and sticky.
fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn copy_acl(old: &File, new: &File) -> Result<(), Errno> {
    match (attribute(old, ACL)?, attribute(new, ACL)?) {
        (Some(acl), _) => rustix::fs::fsetxattr(new, ACL, &acl, XattrFlags::empty()),
        // The new file got it from the directory's default ACL.
        (None, Some(_)) => rustix::fs::fremovexattr(new, ACL),
        (None, None) => Ok(()),
    }
}

fn copy_label(old: &File, new: &File) -> Result<(), Errno> {
    let (wanted, made) = (
        attribute(old, SELINUX_LABEL)?,
        attribute(new, SELINUX_LABEL)?,
    );
    let Some(label) = wanted.filter(|wanted| made.as_ref() != Some(wanted)) else {
        return Ok(());
    };
    match rustix::fs::fsetxattr(new, SELINUX_LABEL, &label, XattrFlags::empty()) {
        // With SELinux on, every file has a label from the start. Without one
        // SELinux is off, as in WSL's kernel, and no one reads labels: a missing
        // right to write them must not keep the file from being written.
        Err(Errno::PERM | Errno::ACCESS) if made.is_none() => Ok(()),
        Err(Errno::OPNOTSUPP) => Ok(()),
        done => done,
    }
}

/// An extended attribute; None where it or the file system's support is missing.
fn attribute(file: &File, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; MAX_ATTRIBUTE];
    match rustix::fs::fgetxattr(file, name, &mut value[..]) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}
