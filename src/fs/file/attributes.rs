//! Gives a new file what the old one has: ACL, label, mode, owner and group.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

use crate::fs::file::{Fault, FileError};

const ACL: &str = "system.posix_acl_access";
const SELINUX_LABEL: &str = "security.selinux";

/// The size limit of an extended attribute (XATTR_SIZE_MAX in linux/limits.h).
const MAX_ATTRIBUTE: usize = 65536;

/// The permission bits with set-user-ID, set-group-ID and sticky.
const MODE: u32 = 0o7777;

/// Sets the permission bits, whatever the umask.
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// Copies everything from the old file to the new one, or fails: a file with
/// another owner or other rights could hide it from its readers or show it to
/// others.
pub(super) fn copy(old: &File, new: &File, path: &Path) -> Result<(), FileError> {
    let not_kept = |attribute: &'static str| {
        move |error| FileError {
            source: Some(error),
            ..FileError::new(path, Fault::NotKept(attribute))
        }
    };
    let wanted = old.metadata().map_err(not_kept("mode"))?;
    let made = new.metadata().map_err(not_kept("mode"))?;
    let mode = wanted.mode() & MODE;
    let differs = || -> io::Result<bool> { Ok(new.metadata()?.mode() & MODE != mode) };

    // The owner comes last: only the owner may do the rest, unless the process
    // has CAP_FOWNER.
    copy_label(old, new).map_err(not_kept("SELinux label"))?;
    copy_acl(old, new).map_err(not_kept("ACL"))?;
    set_mode(new, mode).map_err(not_kept("mode"))?;
    if made.uid() != wanted.uid() {
        fchown(new, Some(wanted.uid()), None).map_err(not_kept("owner"))?;
    }
    if made.gid() != wanted.gid() {
        fchown(new, None, Some(wanted.gid())).map_err(not_kept("group"))?;
    }
    // A change of owner clears set-user-ID and set-group-ID.
    if differs().map_err(not_kept("mode"))? {
        set_mode(new, mode).map_err(not_kept("mode"))?;
    }
    // chmod drops set-group-ID without an error for a group that is not ours.
    if differs().map_err(not_kept("mode"))? {
        return Err(not_kept("mode")(Errno::PERM.into()));
    }
    Ok(())
}

fn copy_acl(old: &File, new: &File) -> io::Result<()> {
    match (attribute(old, ACL)?, attribute(new, ACL)?) {
        (Some(acl), _) => fsetxattr(new, ACL, &acl, XattrFlags::empty())?,
        // The new file got it from the directory's default ACL.
        (None, Some(_)) => fremovexattr(new, ACL)?,
        (None, None) => {}
    }
    Ok(())
}

fn copy_label(old: &File, new: &File) -> io::Result<()> {
    let made = attribute(new, SELINUX_LABEL)?;
    let Some(label) = attribute(old, SELINUX_LABEL)?.filter(|label| made.as_ref() != Some(label))
    else {
        return Ok(());
    };
    match fsetxattr(new, SELINUX_LABEL, &label, XattrFlags::empty()) {
        // With SELinux on, every file has a label from the start. Without one
        // SELinux is off, as in WSL's kernel, and no one reads labels: a missing
        // right to write them must not keep the file from being written.
        Err(Errno::PERM | Errno::ACCESS) if made.is_none() => Ok(()),
        Err(Errno::OPNOTSUPP) => Ok(()),
        done => Ok(done?),
    }
}

/// An extended attribute; None where it or the file system's support is missing.
fn attribute(file: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; MAX_ATTRIBUTE];
    match fgetxattr(file, name, &mut value[..]) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
