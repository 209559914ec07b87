//! A link's MTU.

use super::ApplyError;
use crate::{
    model::InterfaceName,
    netlink::{Netlink, NetlinkError, mtu_of},
};

/// Sets a link's MTU by index, so that a new link of the same name is not meant.
/// A link that is gone needs no MTU. Returns whether anything was changed.
///
/// # Errors
/// The kernel's refusal, or another MTU when it is read back.
pub async fn set(
    netlink: &Netlink,
    index: u32,
    name: &InterfaceName,
    to: u32,
) -> Result<bool, ApplyError> {
    let failed = |error| ApplyError::Mtu {
        name: name.to_string(),
        mtu: to,
        error,
    };
    let Some(before) = netlink.link(index).await.map_err(failed)? else {
        return Ok(false);
    };
    if mtu_of(&before) == Some(to) {
        return Ok(false);
    }
    match netlink.set_mtu(index, to).await {
        Err(error) if gone(&error) => return Ok(false),
        done => done.map_err(failed)?,
    }
    match netlink
        .link(index)
        .await
        .map_err(failed)?
        .as_ref()
        .and_then(mtu_of)
    {
        Some(found) if found != to => Err(ApplyError::MtuNotTaken {
            name: name.to_string(),
            wanted: to,
            found,
        }),
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

fn gone(error: &NetlinkError) -> bool {
    error.errno() == Some(rustix::io::Errno::NODEV.raw_os_error())
}
